"""What the log says of a conversation whose past was changed: what was sent, and nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from batch_server import BatchServer
from panel_server import PanelServer

import helix_nb as hx
from helix_nb.chat.turns import turns_of
from helix_nb.records.reading.threads import thread_of


@pytest.fixture
def server() -> Iterator[PanelServer]:
    """A chat server, connected as the endpoint `lab`, whose model `echo` gives the prompt back."""
    started = PanelServer()
    hx.connect(started.url, name="lab", model="echo")
    yield started
    started.close()


def _prompts(chat: hx.Chat) -> list[str]:
    """The prompts of the conversation, as it would be taken up from the log."""
    thread = thread_of(chat.thread_id)
    assert thread is not None
    turns = turns_of(thread)
    for turn in turns:
        assert [message.role for message in turn.messages] == ["user", "assistant"]
        assert turn.messages[0].text == turn.messages[1].text
    return [turn.messages[0].text for turn in turns]


def _asked(*prompts: str) -> hx.Chat:
    chat = hx.Chat(endpoint="lab", system="Echo.")
    for prompt in prompts:
        chat.ask(prompt)
    return chat


def test_a_removed_turn_stays_removed(server: PanelServer) -> None:
    """Once the conversation goes on, the log knows a removed turn only as a row of its own."""
    chat = _asked("q0", "q1", "q2")
    chat.remove(1)
    chat.ask("q3")
    assert _prompts(chat) == ["q0", "q2", "q3"]
    chat.ask("q4")
    assert _prompts(chat) == ["q0", "q2", "q3", "q4"]
    assert hx.log()["prompt"].tolist() == ["q0", "q1", "q2", "q3", "q4"]
    chain = hx.log().set_index("id")["parent_id"].tolist()
    ids = hx.log()["id"].tolist()
    assert chain[1:] == [ids[0], ids[1], ids[0], ids[3]]


def test_without_the_first_turn_nothing_is_its_parent(server: PanelServer) -> None:
    """After the first turn was removed the next row holds all that was sent."""
    chat = _asked("q0", "q1")
    chat.remove(0)
    chat.ask("q2")
    assert _prompts(chat) == ["q1", "q2"] and hx.log()["parent_id"].isna().tolist() == [True, False, True]


def test_a_replaced_turn_is_replaced_in_what_follows(server: PanelServer) -> None:
    """A rerun cell's turn stands, in the log too, where its predecessor stood."""
    chat = hx.Chat(endpoint="lab")
    chat.start("q0", "cell").result()
    chat.ask("q1")
    chat.start("other", "cell").result()
    chat.ask("q2")
    assert _prompts(chat) == ["other", "q1", "q2"]
    assert [m["content"] for m in server.requests[-1]["messages"][::2]] == ["other", "q1", "q2"]


def test_a_transcript_tells_each_message_once(server: PanelServer) -> None:
    """What a row only carried on is not told again; what was really said twice is."""
    chat = _asked("q0", "yes", "yes")
    chat.remove(0)
    chat.ask("q3")
    told = hx.transcript(chat.thread_id)
    assert told[told["role"] == "user"]["content"].tolist() == ["q0", "yes", "yes", "q3"]


def test_undo_and_copies_keep_the_chain(server: PanelServer) -> None:
    """After undo, in a fork and in a pickled copy a row's parent is the turn before it."""
    chat = _asked("q0", "q1")
    chat.undo()
    for other in (chat, chat.fork(), pickle.loads(pickle.dumps(chat))):
        other.ask("next")
    log = hx.log()
    assert set(log["parent_id"].iloc[2:]) == {log["id"].iloc[0]}


def test_a_conversation_taken_up_again_goes_on(server: PanelServer) -> None:
    """A conversation with a removed turn, taken up from the log, goes on without it."""
    chat = _asked("q0", "q1", "q2")
    chat.remove(1)
    chat.ask("q3")
    thread = thread_of(chat.thread_id)
    assert thread is not None
    again = hx.Chat(endpoint="lab", system="Echo.")
    again.thread_id = thread.thread_id
    again.turns.extend(turns_of(thread))
    again.ask("q4")
    assert [m["content"] for m in server.requests[-1]["messages"][1::2]] == ["q0", "q2", "q3", "q4"]
    assert _prompts(again) == ["q0", "q2", "q3", "q4"]


def test_a_repair_is_not_sent_on() -> None:
    """A conversation goes on without the answer that did not fit its schema, and the log says so."""

    def answer(body: dict[str, Any]) -> str:
        return "nope" if body["messages"][-1]["content"] == "a?" else '{"a": 1}'

    with BatchServer(answer=answer) as repairing:
        hx.connect(repairing.url, name="repairing", model="m")
        chat = hx.Chat(endpoint="repairing")
        chat.ask("a?", schema={"a": int})
        for prompt in ("b?", "c?"):
            chat.ask(prompt)
    thread = thread_of(chat.thread_id)
    assert thread is not None
    told = [message.text for turn in turns_of(thread) for message in turn.messages]
    assert told == [message["content"] for message in chat.messages]
    assert told == ["a?", '{"a": 1}', "b?", '{"a": 1}', "c?", '{"a": 1}']
