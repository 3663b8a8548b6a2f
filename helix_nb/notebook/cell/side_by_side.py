"""`%%helix -m a -m b`: one question to several models at once, the answers side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING
from uuid import uuid4

from ...chat.ask import prepare
from ...errors import HelixError
from ...replies import incomplete_reason
from ...text import printable
from ..display.facts import metadata, price, tokens
from ..display.output import SHORTEST_S, CellOutput
from ..display.render import RenderOptions, answer_html, shown_text
from ..display.surface import surface
from .run import formatted

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    from ...chat.pending import PendingReply
    from ..session import RunningCell
    from .request import CellRequest

GRID = (
    "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20em,100%),1fr));gap:1em;align-items:start"
)
HEAD = "font-weight:bold;margin-bottom:.4em"
FOOT = "font-size:85%;opacity:.65;margin-top:.4em"


def answers(shell: InteractiveShell, cells: RunningCell, question: CellRequest) -> None:
    """Ask every model, show the answers as they come, and put a DataFrame into `-o`.

    Each answer is a row of its own in the log; their tag `side_by_side` is the same. Raises the
    first error when every model failed.
    """
    options = question.options
    origin = cells.origin("cell", log=options.log, tags={"side_by_side": uuid4().hex[:12]})
    keywords = [{**question.keywords, "model": model} for model in options.models]
    columns = [Column(prepare(question.prompt, origin, **one), question) for one in keywords]
    page = Page(CellOutput(surface(shell, streaming=question.keywords["stream"])), columns, question)
    try:
        _watch(columns, None if question.quiet else page)
    finally:
        if options.out:
            shell.user_ns[options.out] = frame(columns, parsed=question.wants_data)
    errors = [column.error for column in columns if column.error is not None]
    if len(errors) == len(columns):
        raise errors[0]


class Column:
    """The answer of one model: its Reply so far, and what it failed with."""

    def __init__(self, running: PendingReply, question: CellRequest) -> None:
        self.running, self.reply, self._question = running, running.reply, question
        self.error: HelixError | None = None
        self._ended = False

    @property
    def done(self) -> bool:
        return self.running.done

    @property
    def name(self) -> str:
        return self.running.prepared.request.model or self.reply.model or "?"

    def read(self) -> None:
        """Take in what has arrived; an answer that is not the data asked for is an error as well."""
        if self._ended:
            return
        self.reply = self.running.reply
        if not self.done:
            return
        self._ended = True
        try:
            reply = self.running.final_reply()
            self.reply = formatted(self._question, reply) if reply.status == "ok" else reply
        except HelixError as error:
            self.error = error


class Page:
    """The one output that holds the answers of several models."""

    def __init__(self, screen: CellOutput, columns: Sequence[Column], question: CellRequest) -> None:
        self.screen, self.columns = screen, columns
        self.look, self.sent = RenderOptions(question.format), question.sent_along

    def update(self) -> None:
        """Show the answers so far, if it is time to."""
        if self.screen.surface == "live" and self.screen.due():
            for column in self.columns:
                column.read()
            self.screen.frame(self._html(last=False))

    def finish(self) -> None:
        """Show the last frame."""
        facts = [metadata(column.reply)["helix_nb"] for column in self.columns]
        self.screen.last(self._html(last=True), self._text(), {"helix_nb": {"answers": facts}})

    def _html(self, *, last: bool) -> str:
        cells = "".join(f"<div>{self._column(column, last=last)}</div>" for column in self.columns)
        sent = (
            f'<div style="{FOOT}">{escape(printable(" · ".join(self.sent)))}</div>'
            if last and self.sent
            else ""
        )
        return f'<div style="{GRID}">{cells}</div>{sent}'

    def _column(self, column: Column, *, last: bool) -> str:
        feet = "".join(_line(said, FOOT) for said in _feet(column)) if column.done else ""
        return _line(column.name, HEAD) + answer_html(column.reply, self.look, last=last) + feet

    def _text(self) -> str:
        parts = [
            "\n".join([f"{column.name}:", shown_text(column.reply, self.look), *_feet(column)])
            for column in self.columns
        ]
        return printable("\n\n".join([*parts, *self.sent]))


def frame(columns: Sequence[Column], *, parsed: bool) -> pd.DataFrame:
    """One row per model.

    Columns: `model endpoint answer status error finish_reason` str, `prompt_tokens
    completion_tokens` Int64, `duration_ms time_to_first_token_ms cost` Float64, `exchange_id` str;
    where data was asked for also `parsed` object, None where there is none.
    """
    import pandas as pd

    dtypes = {
        **dict.fromkeys(("model", "endpoint", "answer", "status", "error", "finish_reason"), "str"),
        **dict.fromkeys(("prompt_tokens", "completion_tokens"), "Int64"),
        **dict.fromkeys(("duration_ms", "time_to_first_token_ms", "cost"), "Float64"),
        "exchange_id": "str",
    }
    table = pd.DataFrame([_row(column) for column in columns], columns=list(dtypes)).astype(dtypes)
    values = [column.reply.parsed for column in columns]
    return table.assign(parsed=pd.Series(values, dtype=object)) if parsed else table


def _watch(columns: Sequence[Column], page: Page | None) -> None:
    try:
        for column in columns:
            column.running.begin()
        while not all(column.done for column in columns):
            waited_for = next(column for column in columns if not column.done)
            waited_for.running.wait_for_change(SHORTEST_S)
            if page:
                page.update()
            time.sleep(SHORTEST_S / 10)
    finally:
        for column in columns:
            column.running.cancel()
            column.read()
        if page:
            page.finish()


def _row(column: Column) -> tuple[object, ...]:
    reply, usage, error = column.reply, column.reply.usage, column.error
    failed = error is not None and reply.status == "ok"  # a good answer, which is not the data asked for
    return (
        *(column.name, reply.endpoint, reply.text),
        *("error" if failed else reply.status, str(error) if failed else reply.error, reply.finish_reason),
        *(usage.prompt_tokens, usage.completion_tokens),
        *(reply.duration_ms, reply.time_to_first_token_ms, reply.cost, reply.exchange_id),
    )


def _feet(column: Column) -> list[str]:
    reply, error = column.reply, column.error
    if error is not None and reply.status != "truncated":
        return [*reply.notes, f"{type(error).__name__}: {error}"]
    seconds = "" if reply.duration_ms is None else f"{reply.duration_ms / 1000:.1f} s"
    facts = (tokens(reply.usage), seconds, price(reply), incomplete_reason(reply))
    return [*reply.notes, " · ".join(part for part in facts if part)]


def _line(said: str, style: str) -> str:
    return f'<div style="{style}">{escape(printable(said))}</div>'
