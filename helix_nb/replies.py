"""What an endpoint sends back: Deltas, with Usage and ToolCalls, and the Reply that they make.

Frozen plain data. Times are UTC datetimes, durations milliseconds (`_ms`), token counts ints, and
None always means "unknown".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from html import escape
from typing import Any, Literal, NamedTuple

from .markdown import to_html
from .text import printable, shorten

Status = Literal["pending", "ok", "truncated", "interrupted", "error"]
QUIET_STYLE = "font-size:85%;opacity:.65;margin-top:.4em"
INCOMPLETE_STATUSES = {
    "interrupted": "interrupted",
    "truncated": "ended before it was finished",
    "error": "failed",
    "pending": "not finished",
}
CUT_REASONS = {"length": "cut at max_tokens", "content_filter": "cut by the content filter"}


def restore_fields(instance: Any, values: Sequence[Any]) -> None:
    """Set the fields of an unpickled dataclass with slots; those later than its pickle get their defaults."""
    for position, field in enumerate(fields(instance)):
        value = values[position] if position < len(values) else field.default
        object.__setattr__(instance, field.name, value)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function, as the model asks for it."""

    id: str
    name: str  # of the function
    arguments: str  # the JSON text that the model wrote

    def to_wire(self) -> dict[str, Any]:
        """Return the call as the wire spells it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one exchange; None is unknown, never 0 for unknown.

    `prompt_tokens` includes `cached_tokens`, `completion_tokens` includes `reasoning_tokens`.
    `source` says who counted: "server", "local" (this machine's model), "replay", or None.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: Literal["server", "local", "replay"] | None = None


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call; empty strings mean "nothing new"."""

    index: int  # of the call among those of the answer
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(NamedTuple):  # made for every token: a frozen dataclass takes five times as long
    """One step of an answer: what it adds, and facts that became known with it."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    finished: bool = False  # the endpoint said that the answer is complete
    usage: Usage | None = None
    model: str | None = None
    response_id: str | None = None
    http_status: int | None = None
    cost: float | None = None
    currency: str | None = None
    replay_of: str | None = None  # the exchange that a replayed answer repeats
    endpoint: str | None = None  # of a replayed answer: the endpoint that gave it
    note: str | None = None  # a sentence worth showing once


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and the facts about it; `str(reply)` is the answer, and it displays as safe HTML.

    `status` is "ok" (finished; `finish_reason` says how), "truncated" (it ended without a finish),
    "interrupted" (the user stopped it), "error", or "pending" while it streams. `parsed` is the
    validated object when a schema was asked for. `notes` are sentences worth showing once.
    Shown on its own, a Reply has them below, and the reason where it is not a whole answer.
    """

    text: str = ""
    reasoning: str = ""
    parsed: Any = None
    status: Status = "pending"
    finish_reason: str | None = None
    usage: Usage = Usage()
    model: str | None = None
    response_id: str | None = None
    exchange_id: str | None = None
    duration_ms: float | None = None
    time_to_first_token_ms: float | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    model_requested: str | None = None
    endpoint: str | None = None
    base_url: str | None = None
    started_at: datetime | None = None
    first_token_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0  # at sending the request
    http_status: int | None = None
    error_type: str | None = None
    error: str | None = None
    cost: float | None = None
    currency: str | None = None
    cost_source: str | None = None
    replay_of: str | None = None  # the exchange that it repeats
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = shorten(self.text, 60)
        return f"Reply({text!r}, status={self.status!r}, model={self.model!r})"

    def __format__(self, spec: str) -> str:
        return format(self.text, spec)

    @property
    def cut(self) -> bool:
        """Whether the answer is finished but not whole (max_tokens or a content filter)."""
        return self.finish_reason in ("length", "content_filter")

    __setstate__ = restore_fields

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return mime_bundle(self)


def incomplete_reason(reply: Reply) -> str:
    """Return why an answer is not a whole one, in words; an empty text where it is whole."""
    return INCOMPLETE_STATUSES.get(reply.status, CUT_REASONS.get(reply.finish_reason or "", ""))


def quiet_line_html(line: str) -> str:
    """Return a line under an answer as HTML."""
    return f'<div style="{QUIET_STYLE}">{escape(printable(line))}</div>'


def mime_bundle(reply: Reply) -> dict[str, str]:
    """Return a Reply as HTML and plain text, with its notes and the reason where it is not whole."""
    lines_below = [line for line in (*reply.notes, reply.error or incomplete_reason(reply)) if line]
    html = to_html(reply.text) + "".join(map(quiet_line_html, lines_below))
    text = "\n".join([*([reply.text] if reply.text or not lines_below else []), *lines_below])
    return {"text/html": html, "text/plain": printable(text)}
