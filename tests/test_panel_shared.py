"""A panel among others: cells, observers, tools and other views that use its Chat at the same time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from panel_server import PanelServer
from test_panel import View, server, view  # noqa: F401 - fixtures

import helix_nb as hx
from helix_nb.notebook.panel.transcript import bundles
from helix_nb.notebook.panel.widget import ChatPanel

# ruff: noqa: F811 - a fixture's name is also a parameter's


def test_what_only_one_view_asked_for_goes_to_it(view: View) -> None:
    """The undone prompt and the exported file are for the view that asked, not for every one."""
    view.ask("one")
    view.request("export", view="me")
    assert view.until(lambda: view.said("file"))[0]["to"] == "me"
    view.request("undo", view="me")
    assert view.until(lambda: view.said("draft"))[0]["to"] == "me"


def test_restore_after_an_edit(view: View) -> None:
    """Turns that an edit dropped can be restored, and nothing is there twice."""
    for number in range(3):
        view.ask(f"q{number}", f"t{number}")
    view.request("delete", id="t2")
    view.request("edit", id="t0", text="other")
    view.until(lambda: list(view.turns) == ["t0"])
    assert view.ended("t0")["answer"]["source"] == "other"
    notice = view.said("notice")[-1]
    assert "later turn is dropped" in notice["text"] and notice["action"]["send"] == {"do": "restore"}
    view.request("restore")
    view.until(lambda: list(view.turns) == ["t0", "t1"])
    assert [m["content"] for m in view.panel.chat.messages] == ["q0", "q0", "q1", "q1"]


def test_restore_keeps_a_newer_answer(view: View) -> None:
    """Restoring a deleted turn leaves alone what was answered anew since."""
    view.ask("q0", "t0")
    view.ask("q1", "t1")
    view.request("delete", id="t0")
    view.request("edit", id="t1", text="newer")
    view.until(lambda: view.turns.get("t1", {}).get("prompt") == "newer")
    view.ended("t1")
    view.request("restore")
    view.until(lambda: list(view.turns) == ["t0", "t1"])
    assert [m["content"] for m in view.panel.chat.messages] == ["q0", "q0", "newer", "newer"]


def test_restore_while_busy_can_be_tried_again(view: View, server: PanelServer) -> None:
    """While an answer is under way nothing is restored, and the notice still offers it."""
    view.ask("q0", "t0")
    view.request("delete", id="t0")
    view.request("settings", settings={"model": "held"})
    view.request("send", id="t1", text="x")
    view.request("restore")
    view.until(lambda: len(view.said("notice")) == 2)
    refused = view.said("notice")[1]
    assert refused["level"] == "error" and refused["action"]["send"] == {"do": "restore"}
    server.release.set()
    view.ended("t1")
    view.request("restore")
    view.until(lambda: list(view.turns) == ["t0", "t1"])


def test_a_lost_send_does_not_keep_its_view_waiting(view: View) -> None:
    """Stop of a turn that never reached the kernel tells the view how things stand."""
    view.heard.clear()
    view.request("stop", id="lost", view="me")
    told = view.until(lambda: view.said("snapshot"))[0]
    assert told["to"] == "me" and told["turns"] == [] and not told["state"]["busy"]


def test_a_cells_turn_comes_as_one_more_turn(view: View) -> None:
    """A turn that a cell adds at the end replaces nothing that the views show."""
    view.ask("q0", "t0")
    view.heard.clear()
    view.panel.chat.ask("from a cell")
    view.until(lambda: len(view.turns) == 2 and not view.state["busy"])
    assert view.said("snapshot") == [] and next(iter(view.turns)) == "t0"


def test_a_cells_failure_is_a_failed_turn(view: View) -> None:
    """A cell's exchange that fails at once is shown as one that a view asked for would be."""
    view.panel.chat.model = "refuses"
    with pytest.raises(hx.HelixError, match="refuses every request"):
        view.panel.chat.ask("from a cell")
    view.until(lambda: [turn["answer"]["status"] for turn in view.turns.values()] == ["error"])
    (turn,) = view.turns.values()
    assert turn["prompt"] == "from a cell" and "refuses every request" in turn["answer"]["strip"]["text"]


def test_a_turn_restored_at_once_stays(view: View) -> None:
    """What the Chat tells of a turn's removal, late, does not take away a turn that is back."""
    view.ask("q0", "t0")
    view.ask("q1", "t1")
    view.request("delete", id="t0")
    view.request("restore")
    view.ask("q2", "t2")
    assert list(view.turns) == ["t0", "t1", "t2"] and len(view.panel.chat.turns) == 3


def test_a_rerun_cells_turn_keeps_its_place(view: View) -> None:
    """The panel shows a rerun cell's turn where the Chat has it, a failed one behind its predecessor."""
    chat = view.panel.chat
    chat.start("first", "cell-1").result()
    chat.ask("second")
    view.ask("fails", "t0", files=[{"name": "x.png"}], buffers=[b"no image"])
    chat.start("first again", "cell-1").result()
    wanted = ["first again", "second", "fails"]
    view.until(lambda: [turn["prompt"] for turn in view.turns.values()] == wanted)
    assert [m["content"] for m in chat.messages if m["role"] == "user"] == ["first again", "second"]


def test_observers_of_busy_may_ask_and_wait(view: View) -> None:
    """An observer runs on a thread of its own, where it can send the next question and await it."""
    panel, queue, answers = view.panel, ["b", "c"], []

    def chain(change: dict[str, Any]) -> None:
        if not change["new"] and queue:
            answers.append(panel.send(queue.pop(0)).result().text)

    panel.observe(chain, "busy")
    assert panel.send("a").result().text == "a"
    view.until(lambda: answers == ["b", "c"])
    assert len(panel.chat.turns) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_observer_that_fails_spoils_nothing(view: View) -> None:
    """What an observer raises reaches neither the caller of `send` nor the panel."""
    panel, seen = view.panel, []

    def boom(change: dict[str, Any]) -> None:
        seen.append(change["new"])
        raise RuntimeError("boom")

    panel.observe(boom, "busy")
    assert panel.send("hello").result().text == "hello"
    view.until(lambda: seen == [True, False] and not view.state["busy"])
    assert view.said("notice") == []


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return a + b


def test_async_tools(server: PanelServer) -> None:
    """A panel calls async tools too."""
    view = View(ChatPanel(endpoint="lab", model="calls", tools=[add]))
    answer = view.ask("x")["answer"]
    assert answer["tools"][0]["result"] == "42" and answer["blocks"] == ["<p>42</p>"]


def test_tools_of_a_cell_run_in_the_cell(server: PanelServer) -> None:
    """A panel that shows a cell's exchange leaves calling its tools to the cell."""
    view = View(ChatPanel(endpoint="lab", model="calls"))
    threads: set[str] = set()

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        threads.add(threading.current_thread().name)
        return a + b

    for _ in range(5):
        assert view.panel.chat.ask("x", tools=[add]).text == "42"
    assert threads == {threading.current_thread().name}


def test_an_ask_that_fails_after_whole_answers_says_so(server: PanelServer) -> None:
    """An answer that misses its schema looks like a failure, keeps its text and facts, and offers Retry."""
    view = View(ChatPanel(endpoint="lab", schema={"n": int}))
    answer = view.ask("no number")["answer"]
    assert answer["status"] == "error" and answer["strip"]["retry"]
    assert "does not follow the schema" in answer["strip"]["text"]
    assert "no number" in answer["source"] or answer["source"]
    assert [fact["v"] for fact in answer["facts"]][1:3] == ["in 24", "out 8"]
    (shown,) = bundles(view.panel._conversation.items, 1)
    assert "does not follow the schema" in shown["text/html"]


def test_no_part_of_a_key_in_titles_and_file_names(view: View) -> None:
    """A key is masked before a title is cut to its length, and in the name of an attachment."""
    key = "canary-key-0123456789"
    files = [{"name": f"{key}.txt", "text": True}]
    turn = view.ask("x" * 70 + f" {key}", "a", files=files, buffers=[b"text"])
    assert view.state["title"] == "x" * 70 + " [key]" and turn["files"][0]["name"] == "[key].txt"
    view.request("clear")
    view.ask("\x1b\nonly a control character before", "b")
    assert view.state["title"] == "New conversation"


def test_numbers_out_of_range_are_named_in_full(view: View) -> None:
    """The sentence about a setting out of range says its limits as people write them."""
    view.request("settings", settings={"max_tokens": 99_999_999_999})
    notice = view.until(lambda: view.said("notice"))[0]
    assert "max_tokens is a number from 1 to 10,000,000" in notice["text"]


def test_a_picker_without_an_endpoint_says_so(view: View) -> None:
    """Asking for the models of an endpoint that has gone ends the picker's waiting with a sentence."""
    view.request("models", view="me", endpoint="nowhere")
    told = view.until(lambda: view.said("models"))[0]
    assert told["items"] == [] and "nowhere" in told["note"]


def test_views_hear_of_a_new_endpoint(view: View) -> None:
    """After a cell the views are told where the next question goes, once, and only if that changed."""
    other = hx.connect("http://127.0.0.1:9/v1", name="other", model="big")
    view.panel.chat.endpoint = None
    view.heard.clear()
    view.panel._conversation.refresh()
    assert view.said("state")[0]["place"]["text"] == "other · big" and other.name == "other"
    view.panel._conversation.refresh()
    assert len(view.said("state")) == 1


def test_texts_of_files_lose_their_byte_order_mark(view: View, server: PanelServer) -> None:
    """A text file is sent as its text, without the mark that some editors put before it."""
    view.ask("Look.", "a", files=[{"name": "a.txt", "text": True}], buffers=["\ufeffhello".encode()])
    assert server.requests[-1]["messages"][-1]["content"] == "Look.\n\nFile a.txt:\n```\nhello\n```"
