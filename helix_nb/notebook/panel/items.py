"""One turn on the screen: what was asked, the exchange that answers it, and how both are shown."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...chat.pending import PendingReply
from ...chat.turns import Turn
from ...redaction import redact
from ...replies import Reply
from ...text import printable
from ..display.facts import call_line, facts_of, strip_of
from ..display.transcript import TranscriptTurn, calls_in, reply_of
from .files import File, prompt_of
from .protocol import AnswerView, ToolUse, TurnView
from .stream import Rendering


def new_id() -> str:
    """Return an id for an item on screen; it means nothing outside its panel."""
    return f"k{secrets.token_hex(6)}"


@dataclass(eq=False)
class Item:
    """A turn of the panel. `turn` is its place in the Chat, once the exchange has joined it.

    A turn that failed, was stopped or was cut has no such place: it is shown, but the model will
    not see it.
    """

    prompt: str
    files: Sequence[File] = ()
    kept: Reply = field(default_factory=Reply)
    running: PendingReply | None = None
    turn: Turn | None = None
    id: str = field(default_factory=new_id)
    rendering: Rendering = field(default_factory=Rendering)
    ended: bool = False  # the views have been told the end of the stream
    waits_for: str = ""  # what a local model does before it can answer

    @classmethod
    def of_turn(cls, turn: Turn) -> Item:
        """A turn that something else than this panel added to the Chat."""
        prompt, files = prompt_of(turn.messages[0])
        return cls(prompt, files, reply_of(turn), turn=turn)

    @classmethod
    def of_running(cls, running: PendingReply) -> Item:
        """An exchange that a cell has started on the same Chat."""
        prompt, files = prompt_of(running.prepared.request.messages[-1])
        return cls(prompt, files, running=running)

    @property
    def reply(self) -> Reply:
        """The Reply as it stands now: the exchange may be further than the views were told."""
        if self.running is None:
            return self.kept
        return self.running.reply if self.pending else _ended(self.running)

    @property
    def pending(self) -> bool:
        return self.running is not None and not self.running.done

    def view(self, *, whole: bool = True) -> TurnView:
        """The turn for a view; without `whole` the answer's text, which the stream has sent, is left out."""
        return {
            "id": self.id,
            "prompt": redact(printable(self.prompt)),
            "files": [file.view() for file in self.files],
            "answer": self._answer(whole=whole),
        }

    def _answer(self, *, whole: bool) -> AnswerView:
        reply, pending = self.reply, self.running is not None and not self.ended
        if whole and not pending:
            self.rendering.step(reply, last=True)
        answer: AnswerView = self.rendering.whole(reply) if whole else {}
        answer["status"] = "pending" if pending else reply.status
        answer["who"] = printable(reply.model or reply.model_requested or reply.endpoint or "")
        answer["thought"] = _thought(reply, pending=pending)
        answer["tools"] = self._tools()
        told = reply.status != "error" or reply.text or reply.usage.completion_tokens is not None
        answer["facts"] = facts_of(reply) if told and not pending else []
        if pending:
            answer["waits"] = self.waits_for
        else:
            answer["strip"] = strip_of(reply)
            answer["source"] = printable(reply.text)
        return answer

    def _tools(self) -> list[ToolUse]:
        """Calls made by this kernel with their results, else those the model asked for."""
        made = self.running.tool_calls if self.running is not None else []
        uses: list[ToolUse] = [
            {
                "name": printable(call.name),
                "arguments": printable(call.arguments),
                "result": printable(redact(result)),
            }
            for call, result in made
        ]
        if uses or self.pending:
            return uses
        calls = calls_in(self.turn.messages) if self.turn is not None else []
        return [
            {
                "name": printable(call.name),
                "arguments": printable(call.arguments),
                "result": None if result is None else printable(result),
            }
            for call, result in calls or [(call, None) for call in self.reply.tool_calls]
        ]

    def transcript_turn(self) -> TranscriptTurn:
        """Return the turn as it is to be read when its answer has ended."""
        calls = [call_line(use["name"], use["arguments"], use["result"]) for use in self._tools()]
        return TranscriptTurn(self.prompt, self.reply, tuple(file.label for file in self.files), tuple(calls))


def in_order(items: Sequence[Item], turns: Sequence[Turn]) -> list[Item]:
    """The items in the order of a Chat's turns; those that are none stay behind the one before them."""
    place = {id(turn): at for at, turn in enumerate(turns)}
    places, last = [], -1
    for item in items:
        last = place.get(id(item.turn), last)
        places.append(last)
    return [items[at] for at in sorted(range(len(items)), key=places.__getitem__)]


def _ended(running: PendingReply) -> Reply:
    """The final Reply; one that is whole, but of an ask that failed, says what it failed with."""
    try:
        return running.final_reply()
    except Exception as error:  # noqa: BLE001 - whatever it is, only the panel can show it
        reply = running.reply
        if reply.status not in ("ok", "pending"):
            return reply
        said = redact(printable(str(error)))
        return replace(reply, status="error", error=said, error_type=type(error).__name__)


def _thought(reply: Reply, *, pending: bool) -> str:
    if pending and not reply.text:
        return "Thinking…"
    tokens = reply.usage.reasoning_tokens
    return f"Thought for {tokens:,} tokens" if tokens else "Thoughts"
