"""`%%helix -m a -m b`: one prompt to several models at once, the answers side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING
from uuid import uuid4

from ...chat.ask import prepare
from ...errors import HelixError
from ...replies import incomplete_reason, quiet_line_html
from ...text import printable
from ..display.facts import cost_text, join_facts, metadata_facts, token_counts
from ..display.output import MIN_INTERVAL_S, Output, output_for
from ..display.render import Frame, RenderOptions, answer_html, answer_text
from .run import with_parsed_json

if TYPE_CHECKING:
    import pandas as pd

    from ...chat.pending import PendingReply
    from ..session import NotebookSession
    from .request import CellRequest

GRID_STYLE = (
    "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20em,100%),1fr));gap:1em;align-items:start"
)
HEAD_STYLE = "font-weight:bold;margin-bottom:.4em"


def answer_side_by_side(session: NotebookSession, request: CellRequest) -> None:
    """Ask every model, show the answers as they come, and put a DataFrame into the variable of `-o`.

    Each answer is a row of its own in the log; their tag `side_by_side` is the same.

    Raises:
        HelixError: every model failed; it is the first one's error.
    """
    options = request.options
    origin = session.cell.origin("cell", log=options.log, tags={"side_by_side": uuid4().hex[:12]})
    keywords = [{**request.keywords, "model": model} for model in options.models]
    columns = [Column(prepare(request.prompt, origin, **each), request) for each in keywords]
    output = output_for(session.shell, streaming=request.keywords["stream"])
    try:
        _watch(columns, None if request.quiet else Grid(output, columns, request))
    finally:
        if options.out:
            session.shell.user_ns[options.out] = frame_of(columns, parsed=request.wants_data)
    errors = [column.error for column in columns if column.error is not None]
    if len(errors) == len(columns):
        raise errors[0]


class Column:
    """The answer of one model: its Reply so far, and what it failed with."""

    def __init__(self, pending: PendingReply, request: CellRequest) -> None:
        self.pending, self.reply, self._request = pending, pending.reply, request
        self.error: HelixError | None = None
        self._ended = False

    @property
    def done(self) -> bool:
        return self.pending.done

    @property
    def name(self) -> str:
        return self.pending.prepared.request.model or self.reply.model or "?"

    def read(self) -> None:
        """Take in what has arrived; an answer that is not the data asked for is an error as well."""
        if self._ended:
            return
        self.reply = self.pending.reply
        if not self.done:
            return
        self._ended = True
        try:
            reply = self.pending.final_reply()
            self.reply = with_parsed_json(self._request, reply) if reply.status == "ok" else reply
        except HelixError as error:
            self.error = error

    def footer(self) -> list[str]:
        """Return the lines below the answer: notes, then its error or its facts."""
        reply, error = self.reply, self.error
        if error is not None and reply.status != "truncated":
            return [*reply.notes, f"{type(error).__name__}: {error}"]
        seconds = None if reply.duration_ms is None else f"{reply.duration_ms / 1000:.1f} s"
        facts = join_facts(token_counts(reply.usage), seconds, cost_text(reply), incomplete_reason(reply))
        return [*reply.notes, facts]


class Grid:
    """The one output that holds the answers of several models."""

    def __init__(self, output: Output, columns: Sequence[Column], request: CellRequest) -> None:
        self.output, self.columns = output, columns
        self.options, self.sent_along = RenderOptions(request.format), request.sent_along

    def update(self) -> None:
        """Show the answers so far, if the output takes another frame now."""
        if self.output.takes_html and not self.output.pause_s():
            for column in self.columns:
                column.read()
            self.output.show(Frame(self._html(final=False)))

    def finish(self) -> None:
        """Show the last frame."""
        html = self._html(final=True) if self.output.takes_html else ""
        facts = [metadata_facts(column.reply) for column in self.columns]
        self.output.finish(Frame(html, below=(self._text(),)), {"answers": facts})

    def _html(self, *, final: bool) -> str:
        columns = "".join(f"<div>{self._column_html(column, final=final)}</div>" for column in self.columns)
        sent_along = quiet_line_html(" · ".join(self.sent_along)) if final and self.sent_along else ""
        return f'<div style="{GRID_STYLE}">{columns}</div>{sent_along}'

    def _column_html(self, column: Column, *, final: bool) -> str:
        head = f'<div style="{HEAD_STYLE}">{escape(printable(column.name))}</div>'
        footer = "".join(map(quiet_line_html, column.footer())) if column.done else ""
        return head + answer_html(column.reply, self.options, final=final) + footer

    def _text(self) -> str:
        answers = [
            "\n".join([f"{column.name}:", answer_text(column.reply, self.options), *column.footer()])
            for column in self.columns
        ]
        return "\n\n".join([*answers, *self.sent_along])


def frame_of(columns: Sequence[Column], *, parsed: bool) -> pd.DataFrame:
    """Return one row per model.

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
    frame = pd.DataFrame([_row(column) for column in columns], columns=list(dtypes)).astype(dtypes)
    values = [column.reply.parsed for column in columns]
    return frame.assign(parsed=pd.Series(values, dtype=object)) if parsed else frame


def _row(column: Column) -> tuple[object, ...]:
    reply, usage, error = column.reply, column.reply.usage, column.error
    unfit = error is not None and reply.status == "ok"  # a whole answer, which is not the data asked for
    return (
        *(column.name, reply.endpoint, reply.text),
        *("error" if unfit else reply.status, str(error) if unfit else reply.error, reply.finish_reason),
        *(usage.prompt_tokens, usage.completion_tokens),
        *(reply.duration_ms, reply.time_to_first_token_ms, reply.cost, reply.exchange_id),
    )


def _watch(columns: Sequence[Column], grid: Grid | None) -> None:
    """Send all, and show them until the last one is done; leaving early stops those under way."""
    try:
        for column in columns:
            column.pending.begin()
        while not all(column.done for column in columns):
            slowest = next(column for column in columns if not column.done)
            slowest.pending.wait_for_change(MIN_INTERVAL_S)
            if grid:
                grid.update()
            time.sleep(MIN_INTERVAL_S / 10)
    finally:
        for column in columns:
            column.pending.cancel()
            column.read()
        if grid:
            grid.finish()
