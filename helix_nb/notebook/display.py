"""An answer shown while it streams: one output, updated at a pace its size allows.

Every frame holds the whole answer, so the pace is what keeps a long one from flooding the wire:
an interval of max(50 ms, bytes of the last frame / 40,000 s). A slow model gets a slower pace too
(1/24 of the time it has streamed, at most 1 s), so an answer costs about 24 times its size at any speed.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..markdown import plain
from ..messages import Reply
from .facts import metadata, quiet_line
from .frames import Look, html, shown_text, text
from .surface import Surface

if TYPE_CHECKING:
    from ..running import Running

SHORTEST_S = 0.05
LONGEST_S = 1.0
BYTES_PER_S = 40_000
FRAMES = 24
PATIENCE_S = 1.0


class View:
    """The one output of a cell, on whatever surface there is."""

    def __init__(self, surface: Surface, look: Look, facts: dict[str, Any] | None = None) -> None:
        self.surface, self.look, self.facts = surface, look, facts or {}
        self._display_id: str | None = None
        self._due = time.monotonic()
        self._started = self._due
        self._first_frame: float | None = None
        self._printed = 0

    def wait_s(self) -> float:
        """How long to wait before there can be something to do, in seconds."""
        if self.surface == "final":
            return LONGEST_S
        return max(self._due - time.monotonic(), 0.0) or SHORTEST_S

    def update(self, running: Running) -> None:
        """Show the answer so far, if it is time to."""
        if self.surface == "final" or time.monotonic() < self._due:
            return
        reply = running.reply
        if self.surface == "terminal":
            self._print(reply)
        elif reply.text or reply.reasoning or running.tool_calls:
            self._frame({"text/html": html(reply, self.look, calls(running), last=False)})
        elif self._display_id is None and time.monotonic() - self._started > PATIENCE_S:
            self._frame(
                {"text/html": html(reply.having(text=""), self.look, [_waiting(running)], last=False)}
            )

    def finish(self, running: Running, reply: Reply) -> None:
        """Show the last frame, with both kinds of text, the quiet line and the facts."""
        called = calls(running)
        if self.surface == "terminal":
            self._print(reply, called, last=True)
        elif reply.text or reply.reasoning or called or self._display_id or reply.status == "ok":
            frame = {
                "text/html": html(reply, self.look, called, last=True),
                "text/plain": text(reply, self.look, called),
            }
            self._publish(frame, metadata(reply, **self.facts))

    def _frame(self, data: dict[str, str]) -> None:
        self._publish(data, {})
        now = time.monotonic()
        self._first_frame = self._first_frame or now
        slow_s = min((now - self._first_frame) / FRAMES, LONGEST_S)
        self._due = now + max(SHORTEST_S, len(data["text/html"].encode()) / BYTES_PER_S, slow_s)

    def _publish(self, data: dict[str, str], facts: dict[str, Any]) -> None:
        from IPython.display import publish_display_data

        first = self._display_id is None
        self._display_id = self._display_id or uuid4().hex
        transient = {"display_id": self._display_id} if self.surface == "live" else None
        publish_display_data(data, facts, transient=transient, update=not first)  # type: ignore[no-untyped-call]

    def _print(self, reply: Reply, called: tuple[str, ...] = (), *, last: bool = False) -> None:
        if last or self.look.format in ("markdown", "text"):
            cleaned = plain(shown_text(reply, self.look))
            sys.stdout.write(cleaned[self._printed :])
            self._printed = len(cleaned)
        if last:
            lines = [*called, *reply.notes, quiet_line(reply, self.look.extra)]
            sys.stdout.write(plain("\n" * bool(self._printed) + "\n".join(lines)) + "\n")
        sys.stdout.flush()
        self._due = time.monotonic() + SHORTEST_S


def calls(running: Running) -> tuple[str, ...]:
    """The tool calls so far, one line each."""
    return tuple(_call_line(call.name, call.arguments, result) for call, result in running.tool_calls)


def _call_line(name: str, arguments: str, result: str) -> str:
    return f"called {name}({_short(arguments)}) → {_short(result)}"


def _short(said: str) -> str:
    said = " ".join(said.split())
    return said if len(said) <= 120 else said[:117] + "..."


def _waiting(running: Running) -> str:
    asked = running.asked
    return " · ".join(part for part in (f"waiting for {asked.connection.name}", asked.request.model) if part)


def watch(running: Running, view: View) -> Reply:
    """Show a Running until it is done, and return its Reply or raise what it failed with.

    Tools the model asks for run here, on the cell's own thread. An interrupt stops the exchange
    and leaves the text so far on display; it goes on as KeyboardInterrupt.
    """
    try:
        while not running.done:
            running.changed(view.wait_s())
            running.serve_calls()
            view.update(running)
    except BaseException:
        view.finish(running, running.cancel())
        raise
    try:
        reply = running.outcome()
    except BaseException:
        view.finish(running, running.reply)
        raise
    view.finish(running, reply)
    return reply
