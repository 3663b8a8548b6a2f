"""An answer shown while it streams, on whatever surface there is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ...replies import Reply
from ...text import printable, shorten
from .facts import metadata, quiet_line
from .output import LONGEST_S, SHORTEST_S, CellOutput
from .render import RenderOptions, html, shown_text, text
from .surface import DisplayMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...chat.pending import PendingReply

PATIENCE_S = 1.0


class View:
    """The one output of a cell that asks one model."""

    def __init__(self, surface: DisplayMode, look: RenderOptions) -> None:
        self.screen, self.look = CellOutput(surface), look
        self._started = time.monotonic()
        self._terminal = Terminal(look)
        self._said: str | None = None

    def update(self, running: PendingReply) -> None:
        """Show the answer so far, if it is time to."""
        if self.screen.surface == "final" or not self.screen.due():
            return
        reply = running.reply
        if self.screen.surface == "terminal":
            self._terminal.print(reply)
            self.screen.rest(SHORTEST_S)
        elif reply.text or reply.reasoning or running.tool_calls:
            self.screen.frame(html(reply, self.look, calls(running), last=False))
        elif time.monotonic() - self._started > PATIENCE_S and (said := _waiting(running)) != self._said:
            self._said = said
            self.screen.publish({"text/html": html(reply, self.look, [said], last=False)}, {})

    def finish(self, running: PendingReply, reply: Reply) -> None:
        """Show the last frame, with both kinds of text, the quiet line and the facts."""
        called = calls(running)
        if not (reply.text or reply.reasoning or called or self.screen.opened or reply.status == "ok"):
            return
        if self.screen.surface == "terminal":
            self._terminal.finish(reply, called)
        else:
            facts = metadata(reply, thread_id=running.prepared.request.origin.thread_id)
            page = html(reply, self.look, called, last=True)
            self.screen.last(page, text(reply, self.look, called), facts)


class Terminal:
    """An answer printed as it arrives, without control characters."""

    def __init__(self, look: RenderOptions) -> None:
        self.look = look
        self._exchange: str | None = None
        self._printed = 0

    def print(self, reply: Reply) -> None:
        """Print what is new; code and JSON wait for the end."""
        if self.look.format in ("markdown", "text"):
            self._more(reply)
            sys.stdout.flush()

    def finish(self, reply: Reply, called: tuple[str, ...]) -> None:
        """Print the rest, what tools did, and the quiet line."""
        self._more(reply)
        lines = [*called, *reply.notes, quiet_line(reply, self.look.extra)]
        sys.stdout.write(printable("\n" * bool(self._printed) + "\n".join(lines)) + "\n")
        sys.stdout.flush()

    def _more(self, reply: Reply) -> None:
        if self._exchange not in (None, reply.exchange_id) and self._printed:
            sys.stdout.write("\n")
            self._printed = 0
        self._exchange = reply.exchange_id
        cleaned = printable(shown_text(reply, self.look))
        sys.stdout.write(cleaned[self._printed :])
        self._printed = max(self._printed, len(cleaned))


def calls(running: PendingReply) -> tuple[str, ...]:
    """The tool calls so far, one line each."""
    return tuple(_call_line(call.name, call.arguments, result) for call, result in running.tool_calls)


def _call_line(name: str, arguments: str, result: str) -> str:
    return f"called {name}({_short(arguments)}) → {_short(result)}"


def _short(said: str) -> str:
    return shorten(" ".join(said.split()), 120)


def _waiting(running: PendingReply) -> str:
    asked, busy = running.prepared, None
    if asked.connection.kind == "local":
        from ...endpoints.local.progress import activity

        busy = activity()
    waiting = f"waiting for {asked.connection.name}"
    return " · ".join(part for part in (waiting, busy or asked.request.model) if part)


def watch(running: PendingReply, view: View | None, finished: Callable[[Reply], Reply]) -> Reply:
    """Start a Running, show it until it is done, and return its Reply or raise what it failed with.

    Tools the model asks for run here, on the cell's own thread. An interrupt stops the exchange
    and leaves the text so far on display; it goes on as KeyboardInterrupt.
    """
    try:
        running.begin()
        while not running.done:
            pause_s = view.screen.pause_s() if view else LONGEST_S
            if pause_s:
                running.wait_for_event(pause_s)
            else:
                running.wait_for_change(SHORTEST_S)
            running.serve_calls()
            if view:
                view.update(running)
        reply = finished(running.final_reply())
    except BaseException:
        stopped = running.cancel()
        if view:
            view.finish(running, stopped)
        raise
    if view:
        view.finish(running, reply)
    return reply
