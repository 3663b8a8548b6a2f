"""How far a model's download is: told to whoever listens, else drawn where someone can see it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Listener = Callable[[str, int, int | None], None]

listener: Listener | None = None
_bars: dict[str, Any] = {}


def listen(new: Listener | None) -> None:
    """Tell `new(model, done_bytes, total_bytes)` from now on, on a thread of its own; None stops that."""
    global listener
    listener = new


def show(model: str, done_bytes: int, total_bytes: int | None) -> None:
    """Pass on how far the download of a model is."""
    if listener is not None:
        listener(model, done_bytes, total_bytes)
    elif sys.stderr.isatty():
        _draw(model, done_bytes, total_bytes)


def _draw(model: str, done_bytes: int, total_bytes: int | None) -> None:
    from tqdm import tqdm

    bar = _bars.get(model)
    if bar is None:
        bar = _bars[model] = tqdm(desc=model, unit="B", unit_scale=True)
    bar.total, bar.n = total_bytes, done_bytes
    bar.refresh()
    if total_bytes and done_bytes >= total_bytes:
        bar.close()
        del _bars[model]
