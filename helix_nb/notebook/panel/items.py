"""A turn on the screen: what was asked, the exchange that answers it, and how both are shown."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ...chat.pending import PendingReply
from ...chat.turns import Turn
from ...redaction import redact
from ...replies import Reply
from ...runtime.loop import background_loop
from ...text import printable
from ..display.facts import call_line, facts_of, strip_of
from ..display.transcript import TranscriptTurn, calls_in, reply_of
from .files import File, prompt_of
from .protocol import AnswerView, ToolUse, TurnView, ViewMessage
from .stream import Rendering

ACTIVITY_S = 0.5  # between two looks at what a local model does before it answers


def new_id() -> str:
    """Return an id for an item on screen; it means nothing outside its panel."""
    return f"k{secrets.token_hex(6)}"


@dataclass(eq=False)
class TurnItem:
    """A turn of the panel, with its place in the Chat once the exchange has joined it.

    A turn that failed, was stopped or was cut has no such place: it is shown, but the model will
    not see it.
    """

    prompt: str
    files: Sequence[File] = ()
    past_reply: Reply = field(default_factory=Reply)  # the answer, where no exchange here gives it
    exchange: PendingReply | None = None
    turn: Turn | None = None
    id: str = field(default_factory=new_id)
    rendering: Rendering = field(default_factory=Rendering)
    ended: bool = False  # the views have been told the end of the stream
    activity: str = ""  # what a local model does before it can answer

    @classmethod
    def of_turn(cls, turn: Turn) -> TurnItem:
        """Make the item of a turn that something else than this panel added to the Chat."""
        prompt, files = prompt_of(turn.messages[0])
        return cls(prompt, files, reply_of(turn), turn=turn)

    @classmethod
    def of_exchange(cls, exchange: PendingReply) -> TurnItem:
        """Make the item of an exchange that a cell has started on the same Chat."""
        prompt, files = prompt_of(exchange.prepared.request.messages[-1])
        return cls(prompt, files, exchange=exchange)

    @property
    def reply(self) -> Reply:
        """The Reply as it stands now: the exchange may be further than the views were told."""
        if self.exchange is None:
            return self.past_reply
        return self.exchange.reply if self.pending else _ended_reply(self.exchange)

    @property
    def pending(self) -> bool:
        """Whether its exchange is under way."""
        return self.exchange is not None and not self.exchange.done

    def view(self, *, with_text: bool = True) -> TurnView:
        """Return the turn for a view; without `with_text` it lacks what the stream has sent."""
        return {
            "id": self.id,
            "prompt": redact(printable(self.prompt)),
            "files": [file.view() for file in self.files],
            "answer": self._answer_view(with_text=with_text),
        }

    def transcript_turn(self) -> TranscriptTurn:
        """Return the turn as it is to be read when its answer has ended."""
        calls = [call_line(use["name"], use["arguments"], use["result"]) for use in self._tool_uses()]
        files = [file.label for file in self.files]
        return TranscriptTurn(self.prompt, self.reply, tuple(files), tuple(calls))

    def _answer_view(self, *, with_text: bool) -> AnswerView:
        reply, pending = self.reply, self.exchange is not None and not self.ended
        if with_text and not pending:
            self.rendering.step(reply, final=True)
        answer: AnswerView = self.rendering.answer_view() if with_text else {}
        answer["status"] = "pending" if pending else reply.status
        answer["who"] = printable(reply.model or reply.model_requested or reply.endpoint or "")
        answer["thought"] = _thinking_heading(reply, pending=pending)
        answer["tools"] = self._tool_uses()
        has_facts = reply.status != "error" or reply.text or reply.usage.completion_tokens is not None
        answer["facts"] = facts_of(reply) if has_facts and not pending else []
        if pending:
            answer["waits"] = self.activity
        else:
            answer["strip"] = strip_of(reply)
            answer["source"] = printable(reply.text)
        return answer

    def _tool_uses(self) -> list[ToolUse]:
        """Return the calls made by this kernel with their results, else those the model asked for."""
        calls: list[tuple[str, str, str | None]] = []
        if self.exchange is not None:
            calls = [(call.name, call.arguments, redact(text)) for call, text in self.exchange.tool_calls]
        if not calls and not self.pending:
            in_turn = calls_in(self.turn.messages) if self.turn is not None else []
            asked_for = in_turn or [(call, None) for call in self.reply.tool_calls]
            calls = [(call.name, call.arguments, text) for call, text in asked_for]
        return [
            {
                "name": printable(name),
                "arguments": printable(arguments),
                "result": None if result is None else printable(result),
            }
            for name, arguments, result in calls
        ]


def _ended_reply(exchange: PendingReply) -> Reply:
    """Return the final Reply; one that is whole, but of an ask that failed, says what it failed with."""
    try:
        return exchange.final_reply()
    except Exception as error:  # noqa: BLE001 - whatever it is, only the panel can show it
        reply = exchange.reply
        if reply.status not in ("ok", "pending"):
            return reply
        sentence = redact(printable(str(error)))
        return replace(reply, status="error", error=sentence, error_type=type(error).__name__)


def _thinking_heading(reply: Reply, *, pending: bool) -> str:
    if pending and not reply.text:
        return "Thinking…"
    tokens = reply.usage.reasoning_tokens
    return f"Thought for {tokens:,} tokens" if tokens else "Thoughts"


def follow_activity(item: TurnItem, emit: Callable[[ViewMessage], None]) -> None:
    """Tell the views what a local model does until its answer begins: a download would look stuck."""
    if item.exchange is not None and item.exchange.prepared.connection.kind == "local":
        background_loop().call_later(ACTIVITY_S, _emit_activity, item, emit)


def _emit_activity(item: TurnItem, emit: Callable[[ViewMessage], None]) -> None:
    from ...endpoints.local.progress import activity

    if not item.pending or item.reply.text or item.reply.reasoning:
        item.activity = ""
        return
    text = printable(activity() or "")
    if text != item.activity:
        item.activity = text
        emit({"t": "waits", "id": item.id, "text": text})
    background_loop().call_later(ACTIVITY_S, _emit_activity, item, emit)
