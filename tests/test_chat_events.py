"""What a Chat tells its watchers: that an exchange started, and which turns came, went or were replaced."""

from __future__ import annotations

import pytest

import helix_nb as hx
from helix_nb.chat.chat import ChatEvent


@pytest.fixture
def chat() -> hx.Chat:
    """A chat with the demo endpoint."""
    return hx.Chat(endpoint="demo")


@pytest.fixture
def events(chat: hx.Chat) -> list[ChatEvent]:
    """What that chat tells."""
    heard: list[ChatEvent] = []
    chat.on_change(heard.append)
    return heard


def kinds(events: list[ChatEvent]) -> list[str]:
    return [event.kind for event in events]


def test_an_ask_starts_and_adds_its_turn(chat: hx.Chat, events: list[ChatEvent]) -> None:
    """Both events name the exchange, and the second one the turn that it became."""
    pending = chat.start("one")
    pending.result()
    assert kinds(events) == ["started", "turn_added"]
    assert [event.pending for event in events] == [pending, pending]
    assert events[1].turn is chat.turns[0] and events[1].removed == ()


def test_a_failed_ask_only_starts(chat: hx.Chat, events: list[ChatEvent]) -> None:
    """What does not end well joins no conversation, and no turn is told of."""
    with pytest.raises(hx.TruncatedReply):
        chat.ask("Count to 20", model="demo-truncates")
    assert kinds(events) == ["started"]


def test_a_rerun_cell_replaces_its_turn(chat: hx.Chat, events: list[ChatEvent]) -> None:
    """The event holds the turn that went and the one in its place."""
    chat.start("one", "the cell").result()
    chat.ask("two")
    first = chat.turns[0]
    events.clear()
    chat.start("one again", "the cell").result()
    assert kinds(events) == ["started", "turn_replaced"]
    assert events[1].removed == (first,) and events[1].turn is chat.turns[0]


def test_what_is_forgotten_is_named(chat: hx.Chat, events: list[ChatEvent]) -> None:
    """Undo, remove and rewind name their turns; where nothing is forgotten nothing is told."""
    for prompt in ("one", "two", "three", "four"):
        chat.ask(prompt)
    one, two, three, four = chat.turns
    events.clear()
    chat.undo()
    chat.remove(1)
    chat.rewind(0)
    chat.rewind(0)
    assert chat.undo() is None
    assert kinds(events) == ["turns_removed"] * 3
    assert [event.removed for event in events] == [(four,), (two,), (one, three)]


def test_another_thread_is_a_reset(chat: hx.Chat, events: list[ChatEvent]) -> None:
    """After reset and replace_turns everything may be different: one event each, after the change."""
    chat.ask("one")
    turns, thread_id = list(chat.turns), chat.thread_id
    events.clear()
    seen: list[tuple[str, int]] = []
    chat.on_change(lambda event: seen.append((chat.thread_id, len(chat.turns))))
    chat.reset()
    chat.replace_turns(turns, thread_id)
    assert kinds(events) == ["reset", "reset"]
    assert seen[0][1] == 0 and seen[0][0] != thread_id and seen[1] == (thread_id, 1)
