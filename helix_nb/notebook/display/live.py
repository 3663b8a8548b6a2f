"""An answer shown while it streams, on whatever output there is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...replies import Reply
from .facts import call_line, join_facts, metadata_facts
from .output import MAX_INTERVAL_S, MIN_INTERVAL_S, Output
from .render import RenderOptions, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...chat.pending import PendingReply

PATIENCE_S = 1.0  # before a cell says what it waits for


class LiveAnswer:
    """The answer of one model, on the one output of its cell."""

    def __init__(self, output: Output, options: RenderOptions) -> None:
        self.output, self.options = output, options
        self._started_s = time.monotonic()
        self._status: str | None = None

    def update(self, pending: PendingReply) -> None:
        """Show the answer so far, if the output takes another frame now."""
        if self.output.pause_s():
            return
        reply = pending.reply
        if reply.text or reply.reasoning or pending.tool_calls:
            self.output.show(render(reply, self.options, call_lines(pending), final=False))
        elif time.monotonic() - self._started_s > PATIENCE_S and self._status != (now := _status(pending)):
            self._status = now
            self.output.show_status(now)

    def finish(self, pending: PendingReply, reply: Reply) -> None:
        """Show the last frame; where there is nothing of an answer, leave the place to its error."""
        calls = call_lines(pending)
        if reply.text or reply.reasoning or calls or self.output.opened or reply.status == "ok":
            facts = metadata_facts(reply, thread_id=pending.prepared.request.origin.thread_id)
            self.output.finish(render(reply, self.options, calls, final=True), facts)


def watch(pending: PendingReply, answer: LiveAnswer | None, check: Callable[[Reply], Reply]) -> Reply:
    """Send a prompt, show its answer until it is whole, and return the Reply or raise what it failed with.

    Tools that the model calls run here, on the cell's own thread. An interrupt stops the exchange
    and leaves the text so far on display; it goes on as KeyboardInterrupt.

    Args:
        pending: the exchange, not begun.
        answer: where to show it; None shows nothing.
        check: is given the final Reply and returns the one to show, or raises HelixError.
    """
    try:
        pending.begin()
        while not pending.done:
            pause_s = answer.output.pause_s() if answer else MAX_INTERVAL_S
            if pause_s:
                pending.wait_for_event(pause_s)
            else:
                pending.wait_for_change(MIN_INTERVAL_S)
            pending.serve_calls()
            if answer:
                answer.update(pending)
        reply = check(pending.final_reply())
    except BaseException:
        partial = pending.cancel()
        if answer:
            answer.finish(pending, partial)
        raise
    if answer:
        answer.finish(pending, reply)
    return reply


def call_lines(pending: PendingReply) -> tuple[str, ...]:
    """Return the tool calls made so far, one line each."""
    return tuple(call_line(call.name, call.arguments, result) for call, result in pending.tool_calls)


def _status(pending: PendingReply) -> str:
    """Return what is waited for: the endpoint, and what it does or which model it was asked for."""
    prepared = pending.prepared
    detail = prepared.request.model
    if prepared.connection.kind == "local":
        from ...endpoints.local.progress import activity

        detail = activity() or detail
    return join_facts(f"waiting for {prepared.connection.name}", detail)
