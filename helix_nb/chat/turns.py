"""The turns of a conversation, and how many of them the log can rebuild.

A row of the log holds only the new messages of its request; its parent holds the rest, as long as
the conversation only grows. After a turn in the middle was removed or replaced, the parent of the
next row is the last exchange whose messages are still right, and the row holds all later ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..messages import Message
from ..replies import Reply

if TYPE_CHECKING:
    from ..records.reading.threads import Thread


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and the messages that followed it."""

    messages: tuple[Message, ...]
    exchange_id: str | None = None
    key: str | None = None  # of the cell that it belongs to
    reply: Reply | None = None
    past_digest: str | None = (
        ""  # of the turns before it, when it was asked; None: its row holds more than it
    )


def digest_turns(turns: Sequence[Turn]) -> str:
    """Return a text that differs for any other turns or order; without turns it is empty."""
    return reduce(_extend_digest, turns, "")


def _extend_digest(digest: str, turn: Turn) -> str:
    return blake2b(f"{digest} {turn.exchange_id or id(turn)}".encode(), digest_size=12).hexdigest()


def logged_prefix_length(turns: Sequence[Turn]) -> int:
    """Return the length of the longest prefix that the log can rebuild."""
    digest, length = "", 0
    for count, turn in enumerate(turns, 1):
        if turn.exchange_id and turn.past_digest == digest:
            length = count
        digest = _extend_digest(digest, turn)
    return length


def turns_of(thread: Thread) -> list[Turn]:
    """Return the turns of a logged conversation; rounds of tool calls belong to the turn that they serve."""
    turns: list[Turn] = []
    for exchange in thread.exchanges:
        messages = exchange.messages
        if turns and not any(message.role == "user" for message in messages):
            messages = (*turns.pop().messages, *messages)
        *earlier, last = _split_by_question(messages)
        turns += [Turn(part) for part in earlier]
        reply, past_digest = exchange.reply, digest_turns(turns)
        turns.append(Turn(last, reply.exchange_id, reply=reply, past_digest=past_digest))
    return turns


def _split_by_question(messages: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """Split messages before each question that follows an answer."""
    part: list[Message] = []
    for message in messages:
        if message.role == "user" and any(earlier.role == "assistant" for earlier in part):
            yield tuple(part)
            part = []
        part.append(message)
    yield tuple(part)
