"""`%%helix -m a -m b`: one question to several models at once, the answers side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING
from uuid import uuid4

from .. import faces
from ..errors import HelixError
from ..markdown import plain
from .facts import metadata, price, tokens
from .frames import Look, answer_html, shown_text
from .screen import SHORTEST_S, Screen
from .surface import surface

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    from ..running import Running
    from .cells import Cells
    from .question import Question

GRID = (
    "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20em,100%),1fr));gap:1em;align-items:start"
)
HEAD = "font-weight:bold;margin-bottom:.4em"
FOOT = "font-size:85%;opacity:.65;margin-top:.4em"


def answers(shell: InteractiveShell, cells: Cells, question: Question) -> None:
    """Ask every model, show the answers as they come, and put a DataFrame into `-o`.

    Each answer is a row of its own in the log; their tag `side_by_side` is the same. Raises the
    first error when every model failed.
    """
    options = question.options
    origin = cells.origin("cell", log=options.log, tags={"side_by_side": uuid4().hex[:12]})
    keywords = [{**question.keywords, "model": model} for model in options.models]
    all_running = [faces.prepare(question.prompt, None, None, origin, **one) for one in keywords]
    columns = Columns(
        Screen(surface(shell, streaming=question.keywords["stream"])),
        all_running,
        Look(question.format),
        question.sent_along,
    )
    try:
        _watch(all_running, None if question.quiet else columns)
    finally:
        if options.out:
            shell.user_ns[options.out] = frame(all_running)
    errors = [error for running in all_running if (error := _error(running)) is not None]
    if len(errors) == len(all_running):
        raise errors[0]


class Columns:
    """The one output that holds the answers of several models."""

    def __init__(
        self, screen: Screen, all_running: Sequence[Running], look: Look, sent: Sequence[str]
    ) -> None:
        self.screen, self.all_running, self.look, self.sent = screen, all_running, look, sent

    def update(self) -> None:
        """Show the answers so far, if it is time to."""
        if self.screen.surface == "live" and self.screen.due():
            self.screen.frame(self._html(last=False))

    def finish(self) -> None:
        """Show the last frame."""
        facts = [metadata(running.reply)["helix_nb"] for running in self.all_running]
        self.screen.last(self._html(last=True), self._text(), {"helix_nb": {"answers": facts}})

    def _html(self, *, last: bool) -> str:
        cells = "".join(f"<div>{self._column(running, last=last)}</div>" for running in self.all_running)
        sent = (
            f'<div style="{FOOT}">{escape(plain(" · ".join(self.sent)))}</div>' if last and self.sent else ""
        )
        return f'<div style="{GRID}">{cells}</div>{sent}'

    def _column(self, running: Running, *, last: bool) -> str:
        reply = running.reply
        foot = _line(_foot(running), FOOT) if running.done else ""
        return _line(_name(running), HEAD) + answer_html(reply, self.look, last=last) + foot

    def _text(self) -> str:
        parts = [
            f"{_name(running)}:\n{shown_text(running.reply, self.look)}\n{_foot(running)}"
            for running in self.all_running
        ]
        return plain("\n\n".join([*parts, *self.sent]))


def frame(all_running: Sequence[Running]) -> pd.DataFrame:
    """One row per model.

    Columns: `model endpoint answer status error finish_reason` str, `prompt_tokens
    completion_tokens` Int64, `duration_ms time_to_first_token_ms cost` Float64, `exchange_id` str.
    """
    import pandas as pd

    dtypes = {
        **dict.fromkeys(("model", "endpoint", "answer", "status", "error", "finish_reason"), "str"),
        **dict.fromkeys(("prompt_tokens", "completion_tokens"), "Int64"),
        **dict.fromkeys(("duration_ms", "time_to_first_token_ms", "cost"), "Float64"),
        "exchange_id": "str",
    }
    return pd.DataFrame([_row(running) for running in all_running], columns=list(dtypes)).astype(dtypes)


def _watch(all_running: Sequence[Running], columns: Columns | None) -> None:
    try:
        for running in all_running:
            running.begin()
        while not all(running.done for running in all_running):
            waited_for = next(running for running in all_running if not running.done)
            waited_for.changed(SHORTEST_S)
            if columns:
                columns.update()
            time.sleep(SHORTEST_S / 10)
    finally:
        for running in all_running:
            running.cancel()
        if columns:
            columns.finish()


def _row(running: Running) -> tuple[object, ...]:
    reply, usage = running.reply, running.reply.usage
    return (
        *(_name(running), reply.endpoint, reply.text, reply.status, reply.error, reply.finish_reason),
        *(usage.prompt_tokens, usage.completion_tokens),
        *(reply.duration_ms, reply.time_to_first_token_ms, reply.cost, reply.exchange_id),
    )


def _name(running: Running) -> str:
    return running.asked.request.model or running.reply.model or "?"


def _foot(running: Running) -> str:
    reply = running.reply
    if reply.error and reply.status == "error":
        return f"{reply.error_type}: {reply.error}"
    seconds = "" if reply.duration_ms is None else f"{reply.duration_ms / 1000:.1f} s"
    ended = "" if reply.status == "ok" else reply.status
    return " · ".join(part for part in (tokens(reply.usage), seconds, price(reply), ended) if part)


def _line(said: str, style: str) -> str:
    return f'<div style="{style}">{escape(plain(said))}</div>'


def _error(running: Running) -> HelixError | None:
    try:
        running.outcome()
    except HelixError as error:
        return error
    return None
