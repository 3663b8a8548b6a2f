"""What a local model is busy with before it can answer: a download or loading that would look stuck."""

from __future__ import annotations

from collections.abc import Callable

from ...runtime.loop import background_loop
from ...text import printable
from .items import Item
from .protocol import ViewMessage

LOOK_S = 0.5


def follow(item: Item, emit: Callable[[ViewMessage], None]) -> None:
    """Say what a turn waits for until its answer begins; only for local models. Runs on the loop."""
    if item.running is not None and item.running.prepared.connection.kind == "local":
        background_loop().call_later(LOOK_S, _look, item, emit)


def _look(item: Item, emit: Callable[[ViewMessage], None]) -> None:
    from ...endpoints.local.progress import activity

    if not item.pending or item.reply.text or item.reply.reasoning:
        item.waits_for = ""
        return
    now = printable(activity() or "")
    if now != item.waits_for:
        item.waits_for = now
        emit({"t": "waits", "id": item.id, "text": now})
    background_loop().call_later(LOOK_S, _look, item, emit)
