"""What local models are busy with before they can answer: for whoever shows that somebody waits."""

from __future__ import annotations

import sys
from typing import Any

from .models import GB

_doing: dict[str, str] = {}
_bars: dict[str, Any] = {}


def activity() -> str | None:
    """Return what is going on now, as "downloading NAME, 1.2 of 4.3 GB" or "loading NAME"; else None.

    May be called at any time, from any thread.
    """
    return "; ".join(list(_doing.values())) or None


def show_loading(model: str) -> None:
    """A model is being read into memory."""
    _doing[model] = f"loading {model}"
    _close(model)


def show_download(model: str, done_bytes: int, total_bytes: int | None) -> None:
    """So much of a model is here; a terminal shows a bar."""
    size = (
        f"{done_bytes / GB:.1f} of {total_bytes / GB:.1f} GB" if total_bytes else f"{done_bytes / GB:.1f} GB"
    )
    _doing[model] = f"downloading {model}, {size}"
    if sys.stderr is not None and sys.stderr.isatty():
        _draw(model, done_bytes, total_bytes)


def show_end(model: str) -> None:
    """A model is ready, or will never be."""
    _doing.pop(model, None)
    _close(model)


def _draw(model: str, done_bytes: int, total_bytes: int | None) -> None:
    from tqdm import tqdm

    bar = _bars.get(model)
    if bar is None:
        bar = _bars[model] = tqdm(desc=model, unit="B", unit_scale=True)
    bar.total, bar.n = total_bytes, done_bytes
    bar.refresh()


def _close(model: str) -> None:
    if (bar := _bars.pop(model, None)) is not None:
        bar.close()
