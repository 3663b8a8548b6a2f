"""The panel without a browser: what its views are told, and what they may ask for."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from panel_server import PanelServer

import helix_nb as hx
from helix_nb.config.registry import resolve
from helix_nb.notebook.display.facts import facts_of, totals_of
from helix_nb.notebook.panel.stream import Rendering
from helix_nb.notebook.panel.transcript import bundles
from helix_nb.notebook.panel.widget import ChatPanel
from helix_nb.prompts.images import MAX_BYTES
from helix_nb.runtime.loop import run_sync

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def server() -> Iterator[PanelServer]:
    """A chat server, connected as the endpoint `lab`."""
    started = PanelServer()
    hx.connect(started.url, key="canary-key-0123456789", name="lab", model="echo")
    yield started
    started.close()


class View:
    """What a browser's view does, in Python: it sends requests and keeps the page that it was told of."""

    def __init__(self, panel: ChatPanel) -> None:
        self.panel = panel
        self.heard: list[dict[str, Any]] = []
        self.turns: dict[str, dict[str, Any]] = {}
        self.state: dict[str, Any] = {}
        panel._conversation.emit = self.hear
        self.request("hello", view="me")
        self.until(lambda: self.state)

    def hear(self, message: dict[str, Any]) -> None:
        json.dumps(message)
        self.heard.append(message)
        if message["t"] == "snapshot":
            self.turns = {turn["id"]: turn for turn in message["turns"]}
            self.state = message["state"]
        elif message["t"] == "turn":
            turn = message["turn"]
            old = self.turns.get(turn["id"], {"answer": {}})["answer"]
            self.turns[turn["id"]] = turn | {"answer": old | turn["answer"]}
        elif message["t"] == "stream":
            self._step(self.turns[message["id"]]["answer"], message)
        elif message["t"] == "drop":
            for one in message["ids"]:
                self.turns.pop(one, None)
        elif message["t"] == "state":
            self.state = message

    @staticmethod
    def _step(answer: dict[str, Any], step: dict[str, Any]) -> None:
        assert step["seq"] == answer["seq"] + 1
        answer["seq"] = step["seq"]
        answer["blocks"] = ([] if step.get("reset") else answer["blocks"]) + step.get("blocks", [])
        if tail := step.get("tail"):
            kept = answer["tail"].encode("utf-16-le")[: 2 * tail["keep"]].decode("utf-16-le")
            answer["tail"] = kept + tail["add"]
        answer["thinking"] += step.get("think", "")

    def request(self, do: str, buffers: list[bytes] | None = None, **message: Any) -> None:
        self.panel._receive(self.panel, {"do": do, **message}, buffers or [])

    def until(self, true: Callable[[], Any], patience_s: float = 20) -> Any:
        deadline = time.monotonic() + patience_s
        while not (value := true()):
            assert time.monotonic() < deadline, f"never happened; told last: {self.heard[-3:]}"
            time.sleep(0.005)
        return value

    def idle(self) -> None:
        self.until(lambda: not self.state["busy"])

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["t"] == kind]

    def ask(self, text: str, number: str = "a", **more: Any) -> dict[str, Any]:
        """Send from the view and return the turn when its answer has ended."""
        self.request("send", id=number, text=text, **more)
        return self.ended(number)

    def ended(self, number: str, patience_s: float = 20) -> dict[str, Any]:
        self.until(
            lambda: self.turns.get(number, {}).get("answer", {}).get("status", "pending") != "pending",
            patience_s,
        )
        self.idle()
        return self.turns[number]


@pytest.fixture
def view(server: PanelServer) -> View:
    """A view of a new panel that asks `lab`."""
    return View(ChatPanel(endpoint="lab"))


def test_streams_blocks(view: View) -> None:
    """An answer arrives block by block; the pieces together are the whole, and the Chat holds it."""
    text = "# Title\n\n" + "\n\n".join(f"Paragraph {n} with *stress* and 😀." for n in range(30)) + "\n"
    turn = view.ask(text)
    whole = Rendering()
    whole.step(hx.Reply(text=text), final=True)
    assert "".join(turn["answer"]["blocks"]) == "".join(whole.answer_view()["blocks"])
    assert turn["answer"]["tail"] == ""
    assert turn["answer"]["source"] == text
    assert view.panel.chat.messages[-1] == {"role": "assistant", "content": text}


def test_closed_blocks_go_out_once() -> None:
    """Whatever the pieces, each closed block is sent once and the tail is rebuilt exactly."""
    text = (
        "# T😀\n\n- one\n- *two*\n\n```python\nx = '😀'\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nlast $x^2$"
    )
    rendering, answer = Rendering(), {"seq": 0, "blocks": [], "tail": "", "thinking": ""}
    for end in range(1, len(text) + 1):
        step = rendering.step(hx.Reply(text=text[:end]))
        if step:
            View._step(answer, dict(step))
        assert answer["tail"] == rendering.answer_view()["tail"]
        assert answer["blocks"] == rendering.answer_view()["blocks"]
    View._step(answer, dict(rendering.step(hx.Reply(text=text), final=True) or {}))
    fresh = Rendering()
    fresh.step(hx.Reply(text=text), final=True)
    assert answer["blocks"] == fresh.answer_view()["blocks"]


def test_stop_keeps_the_partial_answer(view: View, server: PanelServer) -> None:
    """Stop closes the socket, shows what arrived, and leaves the turn out of the model's history."""
    view.request("settings", settings={"model": "slow"})
    view.request("send", id="a", text="go")
    view.until(lambda: view.turns.get("a") and view.turns["a"]["answer"].get("tail"))
    assert view.panel.busy and view.panel.chat.busy
    view.request("stop", id="a")
    turn = view.ended("a")
    assert server.left.acquire(timeout=10)
    assert turn["answer"]["status"] == "interrupted" and "word0" in turn["answer"]["source"]
    assert not view.panel.busy and view.panel.chat.messages == []
    assert view.panel.frame()["status"].tolist() == ["interrupted"]


def test_stop_overtakes_send(view: View, server: PanelServer) -> None:
    """A Stop that arrives before its Send means that nothing is sent."""
    view.request("stop", id="early")
    turn = view.ask("hello", "early")
    assert turn["answer"]["status"] == "interrupted" and server.requests == []


def test_edit_and_regenerate(view: View, server: PanelServer) -> None:
    """Editing asks the new text in the old one's place; regenerating asks again; later turns go."""
    for number, text in enumerate(["one", "two", "three"]):
        view.ask(text, f"t{number}")
    view.request("edit", id="t1", text="zwei")
    view.until(lambda: "t2" not in view.turns)
    assert view.ended("t1")["answer"]["source"] == "zwei"
    contents = [message["content"] for message in server.requests[-1]["messages"]]
    assert contents == ["one", "one", "zwei"]
    view.request("regenerate", id="t0")
    view.until(lambda: list(view.turns) == ["t0"])
    view.ended("t0")
    assert [m["content"] for m in view.panel.chat.messages] == ["one", "one"]
    frame = view.panel.frame()
    assert frame["prompt"].tolist() == ["one", "two", "three", "zwei", "one"]
    assert frame["parent_id"].isna().tolist() == [True, False, False, False, True]


def test_delete_undo_clear_restore(view: View) -> None:
    """Turns can be deleted, undone into the composer, cleared, and brought back."""
    for number in range(3):
        view.ask(f"q{number}", f"t{number}")
    chat = view.panel.chat
    view.request("delete", id="t1")
    view.until(lambda: len(chat.turns) == 2)
    assert [m["content"] for m in chat.messages] == ["q0", "q0", "q2", "q2"]
    view.request("restore")
    view.until(lambda: list(view.turns) == ["t0", "t1", "t2"])
    assert len(chat.turns) == 3
    view.request("undo")
    view.until(lambda: view.said("draft"))
    assert view.said("draft")[0]["text"] == "q2" and len(chat.turns) == 2
    thread = chat.thread_id
    view.request("clear")
    view.until(lambda: not view.turns)
    assert chat.messages == [] and chat.thread_id != thread
    view.request("restore")
    view.until(lambda: len(view.turns) == 2)
    assert chat.thread_id == thread and len(chat.turns) == 2


def test_failures_look_like_failures(view: View, server: PanelServer) -> None:
    """A refusal, a cut answer and a wrong endpoint each say so in a sentence and offer Retry."""
    view.request("settings", settings={"model": "refuses"})
    refused = view.ask("x", "t0")["answer"]
    assert refused["status"] == "error" and "refuses every request" in refused["strip"]["text"]
    view.request("settings", settings={"model": "cut"})
    cut = view.ask("x", "t1")["answer"]
    assert (
        cut["status"] == "truncated" and cut["strip"]["retry"] and cut["blocks"] == ["<p>Half an answer</p>"]
    )
    view.panel.chat.endpoint = "nowhere"
    wrong = view.ask("x", "t2")["answer"]
    assert wrong["status"] == "error" and "nowhere" in wrong["strip"]["text"]
    view.request("settings", settings={"endpoint": "lab", "model": "echo"})
    view.request("regenerate", id="t2")
    view.until(lambda: view.turns.get("t2", {}).get("answer", {}).get("status") == "ok")
    assert len(view.panel.chat.turns) == 1


def test_requests_that_fail_are_shown(view: View) -> None:
    """A request that cannot be granted is answered by a sentence in the panel, never by silence."""
    view.request("settings", settings={"temperature": 7})
    view.request("delete", id="none such")
    view.request("send", id="a", text="x", files=[{"name": "x.png"}], buffers=[b"no image"])
    view.until(lambda: len(view.said("notice")) == 2)
    texts = [message["text"] for message in view.said("notice")]
    assert "temperature is a number from 0 to 2" in texts[0] and "no longer part" in texts[1]
    assert view.ended("a")["answer"]["status"] == "error"


def test_settings_go_out(view: View, server: PanelServer) -> None:
    """Model, system prompt and parameters of the panel are those of the Chat, and of the request."""
    view.request(
        "settings", settings={"system": "Be brief.", "temperature": 0.5, "top_p": 0.9, "max_tokens": 50}
    )
    view.ask("x")
    request = server.requests[-1]
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.5, 0.9, 50)
    assert view.state["settings"] | {"system": "Be brief.", "max_tokens": 50} == view.state["settings"]
    view.request("settings", settings={"temperature": None})
    view.until(lambda: view.state["settings"]["temperature"] is None)
    assert "temperature" not in view.panel.chat.params


def test_models_are_listed(view: View) -> None:
    """The picker gets the endpoint's models; an endpoint that cannot be asked gives a sentence."""
    view.request("models", view="me", endpoint="lab")
    view.until(lambda: view.said("models"))
    assert {"id": "slow", "about": ""} in view.said("models")[0]["items"]
    hx.connect("http://127.0.0.1:9", name="closed", retries=0)
    view.request("models", view="me", endpoint="closed")
    view.until(lambda: len(view.said("models")) == 2)
    assert view.said("models")[1]["items"] == [] and "type the name" in view.said("models")[1]["note"]


def test_thinking_and_facts(view: View) -> None:
    """Thinking comes apart from the answer, as text; the facts say tokens, and "-" where unknown."""
    view.request("settings", settings={"model": "thinks"})
    answer = view.ask("x", "t0")["answer"]
    assert answer["thinking"] == "Let me see. It is <b>42</b>." and answer["blocks"] == [
        "<p>The answer is 42.</p>"
    ]
    shown = [fact["v"] for fact in answer["facts"]]
    assert shown[:3] == ["thinks", "in 24", "out 8"] and shown[-1] == "cost -"
    view.request("settings", settings={"model": "plain"})
    assert [fact["v"] for fact in view.ask("x", "t1")["answer"]["facts"]][1:3] == ["in -", "out -"]
    assert view.state["totals"]["text"] == "2 turns · 24+ in · 8+ out"
    assert "1 of 2 answers came without token counts" in view.state["totals"]["tip"]


def test_facts_format() -> None:
    """Times, speeds and costs have units and enough digits; unknown is "-", never 0."""
    usage = hx.Usage(prompt_tokens=1204, completion_tokens=101, total_tokens=1305)
    reply = hx.Reply(
        status="ok", model="m", usage=usage, duration_ms=3000, time_to_first_token_ms=1000, cost=0.00042,
        currency="USD",
    )  # fmt: skip
    shown = [fact["v"] for fact in facts_of(reply)]
    assert shown == ["m", "in 1,204", "out 101", "first 1.0 s", "50 tok/s", "cost $0.000420"]
    assert [fact["v"] for fact in facts_of(hx.Reply(status="ok"))][1:] == [
        "in -", "out -", "first -", "- tok/s", "cost -",
    ]  # fmt: skip
    assert totals_of([reply, reply])["text"] == "2 turns · 2,408 in · 202 out · $0.000840"


def test_attachments(view: View, server: PanelServer) -> None:
    """Text files join the prompt in a fence they cannot close; images go beside it as data."""
    files = [{"name": "a.py", "text": True}, {"name": "dot.png", "mime": "image/png"}]
    turn = view.ask("Look.", "a", files=files, buffers=[b"x = '''\n```\n'''", PNG])
    content = server.requests[-1]["messages"][-1]["content"]
    assert content[0]["text"] == "Look.\n\nFile a.py:\n````\nx = '''\n```\n'''\n````"
    assert content[1]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert [file["name"] for file in turn["files"]] == ["a.py", "dot.png"] and turn["prompt"] == "Look."
    view.request("regenerate", id="a")
    view.until(lambda: len(server.requests) == 2)
    view.ended("a")
    assert server.requests[1]["messages"] == server.requests[0]["messages"]


def test_what_the_panel_lets_through_can_be_sent(view: View, server: PanelServer) -> None:
    """Panel, script and prompts have one size limit: an image is refused before a turn, or it arrives."""
    image = [{"name": "large.png", "mime": "image/png"}]
    assert f"const MAX_BYTES = {MAX_BYTES};" in str(ChatPanel._esm)
    refused = view.ask("Look.", "a", files=image, buffers=[PNG.ljust(MAX_BYTES + 100_000, b"\0")])
    assert refused["answer"]["strip"]["text"] == "The attachments are larger than 7 MB; nothing was sent."
    sent = view.ask("Look.", "b", files=image, buffers=[PNG.ljust(MAX_BYTES, b"\0")])
    assert sent["answer"]["status"] == "ok" and len(server.requests) == 1


def test_a_cell_and_the_panel_share_a_chat(server: PanelServer) -> None:
    """Turns, undo and reset of a cell on the same Chat appear in the panel; a panel's in the cell."""
    chat = hx.Chat(endpoint="lab")
    chat.ask("from before")
    view = View(ChatPanel(chat))
    assert [turn["prompt"] for turn in view.turns.values()] == ["from before"]
    chat.ask("from a cell")
    view.until(lambda: len(view.turns) == 2)
    view.idle()
    assert [fact["v"] for fact in list(view.turns.values())[1]["answer"]["facts"]][1] == "in 24"
    view.ask("from the panel", "p")
    assert len(chat.turns) == 3
    chat.undo()
    view.until(lambda: list(view.turns) and "p" not in view.turns)
    chat.reset()
    view.until(lambda: not view.turns)


def test_a_cells_answer_streams_into_the_panel_and_can_be_stopped_there(server: PanelServer) -> None:
    """While a cell's exchange runs, the panel shows it, is busy, refuses another, and can stop it."""
    view = View(ChatPanel(endpoint="lab"))
    pending = view.panel.chat.start("go", model="slow")
    view.until(lambda: view.turns and next(iter(view.turns.values()))["answer"].get("tail"))
    assert view.panel.busy
    with pytest.raises(hx.ChatBusy):
        view.panel.send("another")
    view.request("stop")
    assert pending.result().status == "interrupted"
    view.idle()


def test_late_views_catch_up(view: View, server: PanelServer) -> None:
    """A view that comes in mid-stream gets a snapshot, and goes on with the next steps."""
    view.request("settings", settings={"model": "held"})
    view.request("send", id="a", text="x")
    view.until(lambda: view.turns.get("a") and "first part" in str(view.turns["a"]["answer"]))
    view.heard.clear()
    view.request("hello", view="late")
    late = view.until(lambda: view.said("snapshot"))[0]
    assert late["to"] == "late" and late["state"]["busy"]
    assert (
        "first part" in str(late["turns"][0]["answer"]) and late["turns"][0]["answer"]["status"] == "pending"
    )
    server.release.set()
    answer = view.ended("a")["answer"]
    assert answer["blocks"] == ["<h1>Before</h1>", "<p>The first part. And the second part.</p>"]


def test_many_turns_come_in_parts(server: PanelServer) -> None:
    """A snapshot holds the newest turns; earlier ones are sent when a view asks for them."""
    chat = hx.Chat(endpoint="lab")
    for number in range(27):
        chat.ask(f"q{number}")
    view = View(ChatPanel(chat))
    view.until(lambda: view.said("snapshot"))
    assert [turn["prompt"] for turn in view.turns.values()] == [f"q{n}" for n in range(7, 27)]
    view.request("older", view="me", before=next(iter(view.turns)))
    older = view.until(lambda: view.said("older"))[0]
    assert [turn["prompt"] for turn in older["turns"]] == [f"q{n}" for n in range(7)] and older["more"] == 0


def test_recent_conversations(view: View, server: PanelServer) -> None:
    """A conversation of the log can be found by its words, opened, and gone on with."""
    view.request("settings", settings={"system": "Be brief.", "temperature": 0.5})
    view.ask("the first about owls", "t0")
    view.ask("the second", "t1")
    view.request("regenerate", id="t1")
    view.until(lambda: len(server.requests) == 3)
    view.ended("t1")
    thread = view.panel.chat.thread_id
    view.request("clear")
    view.until(lambda: not view.turns)
    other = View(ChatPanel(endpoint="demo"))
    other.request("threads", view="me", search="OWLS")
    items = other.until(lambda: other.said("threads"))[0]["items"]
    assert [(item["id"], item["title"]) for item in items] == [(thread, "the first about owls")]
    other.request("open", thread=thread)
    other.until(lambda: len(other.turns) == 2)
    assert other.state["settings"]["system"] == "Be brief." and other.state["settings"]["temperature"] == 0.5
    assert other.state["place"]["text"] == "lab · echo"
    other.ask("the third", "t2")
    assert [m["content"] for m in server.requests[-1]["messages"][1::2]] == [
        "the first about owls", "the second", "the third",
    ]  # fmt: skip
    assert other.panel.frame()["parent_id"].iloc[-1] == other.panel.frame()["id"].iloc[-2]


def test_tools_run_and_are_shown(server: PanelServer) -> None:
    """A tool given to the panel is called on a thread of its own, and its call is shown."""

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    view = View(ChatPanel(endpoint="lab", model="calls", tools=[add]))
    answer = view.ask("x")["answer"]
    assert answer["tools"] == [{"name": "add", "arguments": '{"a": 20, "b": 22}', "result": "42"}]
    assert answer["blocks"] == ["<p>42</p>"]
    thread = view.panel.chat.thread_id
    other = View(ChatPanel(endpoint="lab"))
    other.request("open", thread=thread)
    other.until(lambda: other.turns)
    assert next(iter(other.turns.values()))["answer"]["tools"] == answer["tools"]


def test_send_from_python(view: View) -> None:
    """`panel.send` asks like a view; `busy` can be observed; the panel's text is stable."""
    seen: list[bool] = []
    view.panel.observe(lambda change: seen.append(change["new"]), "busy")
    assert repr(view.panel) == "ChatPanel(0 turns)"
    assert view.panel.send("hello").result().text == "hello"
    view.until(lambda: len(seen) == 2)
    assert seen == [True, False] and repr(view.panel) == "ChatPanel(1 turn)"
    with pytest.raises(hx.ConfigError, match="empty"):
        view.panel.send("  ")
    with pytest.raises(hx.ConfigError, match="not both"):
        ChatPanel(view.panel.chat, model="x")


def test_transcript_and_export(view: View, server: PanelServer) -> None:
    """The transcript is safe, complete and the same for the same answers; the export is Markdown."""
    view.ask("Is <script>alert(1)</script> *bold*?\nA second line.", "t0")
    view.request("settings", settings={"model": "cut"})
    view.ask("and then", "t1")
    html = bundles(view.panel._conversation.items, 1)[0]["text/html"]
    assert "<script" not in html and "&lt;script&gt;" in html and "<em>bold</em>" in html
    assert "lab · 24 tokens in, 8 out" in html and "ended before" in html
    view.request("export")
    text = view.until(lambda: view.said("file"))[0]["text"]
    assert text == view.panel.markdown()
    assert text.startswith("# Conversation\n\n## You\n\nIs <script>alert(1)</script> *bold*?")


def test_no_secret_leaves_the_kernel(view: View) -> None:
    """A known key is in no synced trait, no message, no transcript, even when a user typed it."""
    key = "canary-key-0123456789"
    view.ask(f"my key is {key}, keep it")
    view.request("export")
    view.until(lambda: view.said("file"))
    told = json.dumps(view.heard) + json.dumps(view.panel.get_state(), default=str)
    (shown,) = bundles(view.panel._conversation.items, 1)
    assert key not in told + shown["text/html"] + shown["text/plain"] and "[key]" in told
    synced = {name for name in view.panel.keys if not name.startswith("_")}
    assert synced <= {"layout", "tabbable", "tooltip", "comm"}, "the conversation is never a synced trait"


def test_the_module_is_small() -> None:
    """The module stays under 40 kB, and loads nothing from anywhere."""
    source = str(ChatPanel._esm)
    assert len(source.encode()) < 40_000
    assert "import " not in source.replace("important", "") and "http" not in source.replace(
        "http://www.w3.org", ""
    )


def test_closing_goes_on(view: View) -> None:
    """A closed panel leaves its Chat usable, and later changes of it raise nothing."""
    view.panel.close()
    assert view.panel.chat.ask("still there").text == "still there"
    run_sync(_nothing())
    assert resolve("lab").has_key


async def _nothing() -> None:
    """Let the loop run what was queued before."""
