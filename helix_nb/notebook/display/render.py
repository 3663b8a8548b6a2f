"""One frame of an answer: what a cell's output looks like at a moment, as HTML and as text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ...markdown import fences, to_html
from ...replies import Reply, quiet_line_html
from ...text import printable
from .facts import quiet_line

FOLDED = "font-size:90%;opacity:.75;margin-bottom:.5em"


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How an answer is to look: its format, and what else its quiet line says."""

    format: str = "markdown"
    extra: tuple[str, ...] = ()


def html(reply: Reply, look: RenderOptions, calls: Sequence[str] = (), *, last: bool) -> str:
    """The frame as a safe HTML fragment; only the last one is highlighted and has the quiet line."""
    parts = [*(quiet_line_html(call) for call in calls), answer_html(reply, look, last=last)]
    if last:
        parts += [quiet_line_html(note) for note in reply.notes]
        parts.append(quiet_line_html(quiet_line(reply, look.extra)))
    return "".join(parts)


def answer_html(reply: Reply, look: RenderOptions, *, last: bool) -> str:
    """The answer alone, its thinking folded before it."""
    return _thinking(reply.reasoning, bool(reply.text)) + _body(reply, look, last=last)


def text(reply: Reply, look: RenderOptions, calls: Sequence[str] = ()) -> str:
    """The last frame as plain text."""
    body = shown_text(reply, look)
    lines = [*calls, *([body, ""] if body else []), *reply.notes, quiet_line(reply, look.extra)]
    return printable("\n".join(lines))


def shown_text(reply: Reply, look: RenderOptions) -> str:
    """The answer as its format shows it in text."""
    if look.format == "code":
        return code_of(reply.text)
    if look.format == "json":
        return _json(reply)
    return reply.text.strip("\n")


def code_of(answer: str) -> str:
    """The code blocks of an answer, or all of it when it has none."""
    blocks = [code.rstrip("\n") for _, code in fences(answer) if code.strip()]
    return "\n\n".join(blocks) if blocks else answer.strip("\n")


def _body(reply: Reply, look: RenderOptions, *, last: bool) -> str:
    if not reply.text:
        return ""
    if look.format == "text":
        return f'<pre style="white-space:pre-wrap">{escape(printable(reply.text))}</pre>'
    if look.format == "code":
        language = next((language for language, _ in fences(reply.text)), "") or "python"
        return to_html(_fenced(code_of(reply.text), language), highlight=last)
    if look.format == "json":
        return to_html(_fenced(_json(reply) if last else reply.text, "json"), highlight=last)
    return to_html(reply.text, highlight=last)


def _fenced(code: str, language: str) -> str:
    ticks = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", code))])
    return f"{ticks}{language}\n{code}\n{ticks}"


def _json(reply: Reply) -> str:
    if reply.parsed is None:
        return reply.text.strip("\n")
    try:
        return json.dumps(plain_data(reply.parsed), indent=2, ensure_ascii=False)
    except (TypeError, ValueError):
        return reply.text.strip("\n")


def plain_data(value: object) -> object:
    """A validated object as JSON data."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    from dataclasses import asdict, is_dataclass

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _thinking(reasoning: str, answered: bool) -> str:
    if not reasoning:
        return ""
    opened = "" if answered else " open"
    said = escape(printable(reasoning.strip()))
    return (
        f'<details{opened} style="{FOLDED}"><summary>thinking</summary>'
        f'<div style="white-space:pre-wrap">{said}</div></details>'
    )
