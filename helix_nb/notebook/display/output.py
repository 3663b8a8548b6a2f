"""One output of a cell, updated at a pace its size allows.

Every frame holds the whole answer, so the pace is what keeps a long one from flooding the wire:
an interval of max(50 ms, bytes of the last frame / 40,000 s). A slow model gets a slower pace too
(1/20 of the time it has streamed, at most 1 s), so that an answer costs about 20 times its size
at any speed.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from .surface import DisplayMode

SHORTEST_S = 0.05
LONGEST_S = 1.0
BYTES_PER_S = 40_000
FRAMES = 20


class CellOutput:
    """Where frames go: updates of one live output, or nothing but the last one."""

    def __init__(self, surface: DisplayMode) -> None:
        self.surface = surface
        self.opened = False
        self._display_id = uuid4().hex
        self._due = time.monotonic()
        self._first: float | None = None

    def due(self) -> bool:
        """Whether another frame may be shown now."""
        return time.monotonic() >= self._due

    def pause_s(self) -> float:
        """Seconds until another frame may be shown; 0 where one may be now."""
        return LONGEST_S if self.surface == "final" else max(self._due - time.monotonic(), 0.0)

    def frame(self, html: str) -> None:
        """Show a frame that is not the last one; such frames are HTML alone."""
        self.publish({"text/html": html}, {})
        now = time.monotonic()
        self._first = self._first or now
        slow_s = min((now - self._first) / FRAMES, LONGEST_S)
        self._due = now + max(SHORTEST_S, len(html.encode()) / BYTES_PER_S, slow_s)

    def rest(self, seconds: float) -> None:
        """Show nothing for that long."""
        self._due = time.monotonic() + seconds

    def last(self, html: str, text: str, metadata: dict[str, Any]) -> None:
        """Show the last frame: HTML, plain text, and the facts."""
        if self.surface == "terminal":
            print(text, flush=True)
        else:
            self.publish({"text/html": html, "text/plain": text}, metadata)

    def publish(self, data: dict[str, str], metadata: dict[str, Any]) -> None:
        """Send the output, or its update."""
        from IPython.display import publish_display_data

        transient = {"display_id": self._display_id} if self.surface == "live" else None
        publish_display_data(data, metadata, transient=transient, update=self.opened)  # type: ignore[no-untyped-call]
        self.opened = True
