"""A conversation to read, for cells and the panel: as safe HTML for a notebook, as Markdown for a file.

The HTML reads well where its style is stripped (GitHub), needs no kernel, and holds nothing that
differs between two runs with the same answers: no ids, no times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...chat.turns import Turn
from ...messages import Message
from ...redaction import redact
from ...replies import Reply, ToolCall, incomplete_reason
from ...text import printable
from .facts import call_line, cost_text, join_facts, token_counts

if TYPE_CHECKING:
    from ...chat.chat import Chat

STYLE = ".helix-nb .hx-said{white-space:pre-wrap}.helix-nb .hx-about{color:var(--jp-ui-font-color2,#666)}"


@dataclass(frozen=True, slots=True)
class TranscriptTurn:
    """A turn as people read it: the prompt as it was written, the answer as Markdown."""

    prompt: str
    reply: Reply
    files: tuple[str, ...] = ()  # the names of what was attached
    calls: tuple[str, ...] = ()  # the tool calls, one line each

    @property
    def speaker(self) -> str:
        """The model that answered, else its endpoint."""
        reply = self.reply
        return printable(reply.model or reply.model_requested or reply.endpoint or "Answer")

    @property
    def about(self) -> str:
        """Endpoint, tokens and cost of the answer, and why it is not whole."""
        reply = self.reply
        tokens, reason = token_counts(reply.usage), reply.error or incomplete_reason(reply)
        return printable(join_facts(reply.endpoint, tokens, cost_text(reply), reason))


class Transcript:
    """A Chat to read in a cell; it displays as safe HTML, and prints as Markdown."""

    def __init__(self, name: str, chat: Chat) -> None:
        self.name, self.system = name, chat.system
        self.messages = [Message.of(message) for message in chat.messages]
        self.turns = [transcript_turn(turn) for turn in chat.turns]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from ...markdown.style import CODE, LAYOUT

        system = [literal_html("System", self.system)] if self.system else []
        body = "<hr>".join([*system, *map(turn_html, self.turns)])
        html = f'<div class="helix-nb"><style>{LAYOUT}{CODE}{STYLE}</style>{body}</div>'
        return {"text/html": html, "text/plain": str(self)}

    def __str__(self) -> str:
        system = ["## System", _clean(self.system)] if self.system else []
        return markdown_document([f"# {self.name}", *system], self.turns)

    def __repr__(self) -> str:
        return f"<Transcript of chat {self.name}: {len(self.turns)} turns>"


def transcript_turn(turn: Turn) -> TranscriptTurn:
    """Return a turn of a Chat as it is to be read."""
    prompt = turn.messages[0]
    parts = prompt.content if isinstance(prompt.content, tuple) else ()
    files = ["image" for part in parts if part.get("type") == "image_url"]
    calls = [call_line(call.name, call.arguments, result) for call, result in calls_in(turn.messages)]
    return TranscriptTurn(prompt.text, reply_of(turn), tuple(files), tuple(calls))


def calls_in(messages: Sequence[Message]) -> list[tuple[ToolCall, str | None]]:
    """Return the tool calls in these messages, each with the text it got, or None."""
    results = {message.tool_call_id: message.text for message in messages if message.role == "tool"}
    return [(call, results.get(call.id)) for message in messages for call in message.tool_calls]


def reply_of(turn: Turn) -> Reply:
    """Return the Reply of a turn, or what is known of it where only its messages are."""
    if turn.reply is not None:
        return turn.reply
    texts = [message.text for message in turn.messages if message.role == "assistant"]
    return Reply(text=texts[-1] if texts else "", status="ok", exchange_id=turn.exchange_id)


def render_answer(answer: str) -> str:
    """Render an answer; its headings stay out of the notebook's table of contents."""
    from ...markdown.render import render

    return re.sub("<h([1-6])>", r'<h\1 class="jp-toc-ignore">', render(printable(answer)))


def turn_html(turn: TranscriptTurn, answer_html: Callable[[str], str] = render_answer) -> str:
    """Render a turn; `answer_html` renders its answer."""
    from ...markdown.formulas import escape_text

    calls = "".join(f'<p class="hx-about"><small>{escape_text(line)}</small></p>' for line in turn.calls)
    prompt = literal_html("You", turn.prompt, turn.files)
    return (
        f"{prompt}<p><strong>{escape_text(turn.speaker)}</strong></p>{calls}"
        f"{answer_html(turn.reply.text)}"
        f'<p class="hx-about"><small>{escape_text(turn.about)}</small></p>'
    )


def literal_html(speaker: str, words: str, files: Iterable[str] = ()) -> str:
    """Render what a person wrote, as it was written."""
    from ...markdown.formulas import escape_text

    shown = escape_text(_clean(words)).replace("\n", "<br>")
    names = "".join(f"<br><em>[{escape_text(name)}]</em>" for name in files)
    return f'<p><strong>{speaker}</strong></p><p class="hx-said">{shown}{names}</p>'


def markdown_document(opening: Sequence[str], turns: Iterable[TranscriptTurn]) -> str:
    """Write turns as Markdown below some opening lines, the answers as they were written."""
    parts = [*opening]
    for turn in turns:
        parts += ["## You", _clean(turn.prompt), *(f"*[{name}]*" for name in turn.files)]
        parts += [f"## {turn.speaker}", *(f"`{line}`" for line in turn.calls)]
        parts += [printable(turn.reply.text), f"*{turn.about}*"]
    return "\n\n".join(part for part in parts if part) + "\n" * bool(parts)


def _clean(words: str) -> str:
    return redact(printable(words))
