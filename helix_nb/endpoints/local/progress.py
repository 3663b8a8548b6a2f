"""What keeps local models from answering yet, a download or a load, for displays that wait for them."""

from __future__ import annotations

import sys
from typing import Any

from .models import GB

_activities: dict[str, str] = {}  # by model
_bars: dict[str, Any] = {}


def activity() -> str | None:
    """Return what is going on now, as "downloading NAME, 1.2 of 4.3 GB" or "loading NAME"; else None.

    May be called at any time, from any thread.
    """
    return "; ".join(list(_activities.values())) or None


def show_loading(model: str) -> None:
    """Note that a model is being read into memory."""
    _activities[model] = f"loading {model}"
    _close_bar(model)


def show_download(model: str, done_bytes: int, total_bytes: int | None) -> None:
    """Note how much of a model is here; a terminal shows a bar."""
    total = f" of {total_bytes / GB:.1f}" if total_bytes else ""
    _activities[model] = f"downloading {model}, {done_bytes / GB:.1f}{total} GB"
    if sys.stderr is not None and sys.stderr.isatty():
        _draw_bar(model, done_bytes, total_bytes)


def show_end(model: str) -> None:
    """Note that a model is ready, or will never be."""
    _activities.pop(model, None)
    _close_bar(model)


def _draw_bar(model: str, done_bytes: int, total_bytes: int | None) -> None:
    from tqdm import tqdm

    bar = _bars.get(model)
    if bar is None:
        bar = _bars[model] = tqdm(desc=model, unit="B", unit_scale=True)
    bar.total, bar.n = total_bytes, done_bytes
    bar.refresh()


def _close_bar(model: str) -> None:
    if (bar := _bars.pop(model, None)) is not None:
        bar.close()
