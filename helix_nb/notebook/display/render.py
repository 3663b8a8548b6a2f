"""One frame of an answer: what a cell shows of it at a moment, as HTML and as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ...markdown import fences, to_html
from ...replies import Reply, quiet_line_html
from ...text import printable
from .facts import quiet_line

FOLDED_STYLE = "font-size:90%;opacity:.75;margin-bottom:.5em"
PRE_STYLE = "white-space:pre-wrap"


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How an answer is to look."""

    format: str = "markdown"  # one of cell.options.FORMATS
    extra: tuple[str, ...] = ()  # what else the quiet line says
    html: bool = True  # whether HTML is wanted; a terminal shows the text alone


@dataclass(frozen=True, slots=True)
class Frame:
    """What an output shows at a moment."""

    html: str = ""  # a safe fragment with everything in it; "" where no HTML is wanted
    answer: str = ""  # the answer as text; while it streams only where its format grows at the end
    above: tuple[str, ...] = ()  # lines before it: tool calls
    below: tuple[str, ...] = ()  # lines after it: notes and the quiet line; none while it streams
    exchange_id: str | None = None  # another one means that the answer has begun anew

    @property
    def text(self) -> str:
        """All of the last frame as plain text."""
        answer = (self.answer, "") if self.answer else ()
        return printable("\n".join([*self.above, *answer, *self.below]))


def render(reply: Reply, options: RenderOptions, calls: Sequence[str] = (), *, final: bool) -> Frame:
    """Render a Reply so far, or the `final` one, which is highlighted and has notes and quiet line."""
    below = (*reply.notes, quiet_line(reply, options.extra)) if final else ()
    html = ""
    if options.html:
        parts = [*map(quiet_line_html, calls), answer_html(reply, options, final=final)]
        html = "".join([*parts, *map(quiet_line_html, below)])
    answer = answer_text(reply, options) if final or options.format in ("markdown", "text") else ""
    return Frame(html, answer, tuple(calls), below, reply.exchange_id)


def answer_html(reply: Reply, options: RenderOptions, *, final: bool) -> str:
    """Render the answer alone, its thinking folded before it."""
    body = _HTML[options.format](reply, final) if reply.text else ""
    return _thinking(reply.reasoning, answered=bool(reply.text)) + body


def answer_text(reply: Reply, options: RenderOptions) -> str:
    """Return the answer alone, as its format shows it in text."""
    return _TEXT[options.format](reply)


def code_of(answer: str) -> str:
    """Return the code blocks of an answer, or all of it where it has none."""
    blocks = [code.rstrip("\n") for _, code in fences(answer) if code.strip()]
    return "\n\n".join(blocks) if blocks else answer.strip("\n")


def _markdown_html(reply: Reply, final: bool) -> str:
    return to_html(reply.text, highlight=final)


def _text_html(reply: Reply, final: bool) -> str:
    return f'<pre style="{PRE_STYLE}">{escape(printable(reply.text))}</pre>'


def _code_html(reply: Reply, final: bool) -> str:
    language = next((language for language, _ in fences(reply.text)), "") or "python"
    return to_html(_fenced(code_of(reply.text), language), highlight=final)


def _json_html(reply: Reply, final: bool) -> str:
    return to_html(_fenced(_json_text(reply) if final else reply.text, "json"), highlight=final)


def _plain_text(reply: Reply) -> str:
    return reply.text.strip("\n")


def _json_text(reply: Reply) -> str:
    """Indent the parsed value; an answer that was not parsed, or whose value is no JSON, stays as it is."""
    if reply.parsed is not None:
        try:
            return json.dumps(_json_data(reply.parsed), indent=2, ensure_ascii=False)
        except (TypeError, ValueError):
            pass
    return _plain_text(reply)


_HTML: dict[str, Callable[[Reply, bool], str]] = {
    "markdown": _markdown_html,
    "text": _text_html,
    "code": _code_html,
    "json": _json_html,
}
_TEXT: dict[str, Callable[[Reply], str]] = {
    "markdown": _plain_text,
    "text": _plain_text,
    "code": lambda reply: code_of(reply.text),
    "json": _json_text,
}


def _fenced(code: str, language: str) -> str:
    ticks = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", code))])
    return f"{ticks}{language}\n{code}\n{ticks}"


def _json_data(value: object) -> object:
    """Return a validated object (pydantic model, dataclass) as JSON data."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    from dataclasses import asdict, is_dataclass

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _thinking(reasoning: str, *, answered: bool) -> str:
    if not reasoning:
        return ""
    opened = "" if answered else " open"
    thoughts = escape(printable(reasoning.strip()))
    return (
        f'<details{opened} style="{FOLDED_STYLE}"><summary>thinking</summary>'
        f'<div style="{PRE_STYLE}">{thoughts}</div></details>'
    )
