"""The turns of a conversation, and how many of them the log can put together again.

A row of the log holds what was new in its request; its parent holds the rest. That is right as long
as the conversation only grows. After a turn in the middle was removed or replaced, the next row
hangs where the log is still right, and holds all that came after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..messages import Message
from ..replies import Reply

if TYPE_CHECKING:
    from ..records.reading.threads import Thread


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and what followed it. `key` is the cell it belongs to, if any.

    `upon` is the digest of the turns that it was asked upon; None where the log holds more for it.
    """

    messages: tuple[Message, ...]
    exchange_id: str | None = None
    key: str | None = None
    reply: Reply | None = None
    upon: str | None = ""


def digest_of(turns: Sequence[Turn]) -> str:
    """Tell turns in their order from any others; without turns an empty text."""
    digest = ""
    for turn in turns:
        digest = _after(digest, turn)
    return digest


def _after(digest: str, turn: Turn) -> str:
    return blake2b(f"{digest} {turn.exchange_id or id(turn)}".encode(), digest_size=12).hexdigest()


def held_by_log(turns: Sequence[Turn]) -> int:
    """How many of these turns, from the first, the row of the last one of them and its parents hold."""
    digest, held = "", 0
    for count, turn in enumerate(turns, 1):
        if turn.exchange_id and turn.upon == digest:
            held = count
        digest = _after(digest, turn)
    return held


def turns_of(thread: Thread) -> list[Turn]:
    """The turns of a conversation out of the log; rounds of tool calls belong to the turn they serve."""
    turns: list[Turn] = []
    for exchange in thread.exchanges:
        messages = exchange.messages
        if turns and not any(message.role == "user" for message in messages):
            messages = (*turns.pop().messages, *messages)
        *earlier, last = _split(messages)
        turns += [Turn(part) for part in earlier]
        upon = digest_of(turns)
        turns.append(Turn(last, exchange.reply.exchange_id, reply=exchange.reply, upon=upon))
    return turns


def _split(messages: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """Messages by the questions that they answer; an answer stands before each but the first."""
    part: list[Message] = []
    for message in messages:
        if message.role == "user" and any(one.role == "assistant" for one in part):
            yield tuple(part)
            part = []
        part.append(message)
    yield tuple(part)
