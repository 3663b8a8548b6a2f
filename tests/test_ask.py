"""ask, aask, stream, astream and Chat against the embedded endpoint: what returns, raises and is recorded."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from wire_server import Answer, WireServer
from wire_transcripts import PARIS, chunk, sse

import helix_nb as hx
from helix_nb.chat.ask import prepare
from helix_nb.chat.request import build_request

FRANCE = "What is the capital of France?"
HELPFUL = "You are a helpful assistant."


def row() -> Any:
    """The newest row of this test's log."""
    return hx.log().iloc[-1]


def test_the_example_of_the_specification_comes_back_word_for_word() -> None:
    """Text, status, usage and the row of the log all tell the same story."""
    reply = hx.ask(FRANCE, system=HELPFUL)
    assert (str(reply), reply.status, reply.finish_reason) == (
        "The capital of France is Paris.",
        "ok",
        "stop",
    )
    usage = reply.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (24, 8, 32)
    assert (usage.cached_tokens, usage.source) == (None, "server")
    assert hx.last is not None and hx.last.exchange_id == reply.exchange_id
    recorded = row()
    assert (recorded["id"], recorded["status"], recorded["source"]) == (reply.exchange_id, "ok", "api")
    assert (recorded["prompt"], recorded["system"], recorded["response"]) == (FRANCE, HELPFUL, str(reply))
    assert (recorded["total_tokens"], recorded["attempts"], recorded["http_status"]) == (32, 1, 200)


@pytest.mark.parametrize("stream", [True, False])
def test_one_answer_whole_or_streamed(stream: bool) -> None:
    """stream=False asks for one whole answer; the Reply is the same, without a first-token time."""
    reply = hx.ask(FRANCE, stream=stream)
    assert str(reply) == "The capital of France is Paris."
    assert (reply.time_to_first_token_ms is not None) is stream
    assert bool(row()["stream"]) is stream


def test_a_list_of_messages_is_sent_in_order() -> None:
    """A conversation can be the prompt; it then carries its own system message."""
    past = [
        {"role": "system", "content": HELPFUL},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello, Ada."},
        {"role": "user", "content": "What is my name?"},
    ]
    assert "Ada" in str(hx.ask(past))
    with pytest.raises(hx.ConfigError, match="system"):
        hx.ask(past, system="Another")


@pytest.mark.parametrize(
    ("prompt", "options", "word"),
    [
        (
            [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text"}]}],
            {},
            "holds no text",
        ),
        ("", {}, "empty"),
        ("  \n", {}, "empty"),
        ([], {}, "empty"),
        ([{"role": "user", "content": ""}], {}, "empty"),
        ([{"role": "user", "content": "  \n"}, {"role": "assistant", "content": " "}], {}, "empty"),
        ([{"role": "user", "content": []}], {}, "empty"),
        ([{"role": "user", "content": [{"type": "text", "text": " "}]}], {}, "empty"),
        ([{"role": "system", "content": HELPFUL}], {}, "empty"),
        (None, {}, "NoneType"),
        (3, {}, "int"),
        (["hello"], {}, "mappings"),
        ([{"role": "robot", "content": "x"}], {}, "role"),
        ([{"role": "user"}], {}, "content"),
        ("x", {"timeout": 0}, "timeout"),
        ("x", {"model": ""}, "model"),
        ("x", {"system": 3}, "system"),
        ("x", {"endpoint": "nowhere"}, "nowhere"),
        ("x", {"images": ["missing.png"]}, "missing.png"),
        ("x", {"tools": [3]}, "tool"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_nothing_is_sent(
    prompt: Any, options: dict[str, Any], word: str
) -> None:
    """ConfigError names what is wrong before any row is written."""
    with pytest.raises(hx.ConfigError, match=word) as failed:
        hx.ask(prompt, **options)
    assert "\n" not in str(failed.value)
    assert len(hx.log()) == 0


def test_half_an_answer_is_truncated_and_keeps_its_text() -> None:
    """An answer that ends without a finish raises TruncatedReply, and the log says truncated."""
    with pytest.raises(hx.TruncatedReply) as failed:
        hx.ask(FRANCE, model="demo-truncates")
    reply = failed.value.reply
    assert reply is not None and reply.text and reply.status == "truncated"
    recorded = row()
    assert (recorded["status"], recorded["error_type"], recorded["response"]) == (
        "truncated",
        "TruncatedReply",
        reply.text,
    )
    assert recorded[["prompt_tokens", "completion_tokens", "total_tokens"]].isna().all()


def test_a_rate_limit_is_waited_out() -> None:
    """A 429 with Retry-After is tried again; the row counts the attempts."""
    assert hx.ask(FRANCE, model="demo-429").status == "ok"
    assert row()["attempts"] == 2


def test_the_total_timeout_covers_the_log_too() -> None:
    """While another program holds the log, timeout= ends the call; nothing was sent, and the row follows."""
    with WireServer(Answer(PARIS)) as server:
        hx.connect(server.url, name="s")
        hx.ask("first", model="m")
        path = hx.logbook.info().path
        assert path is not None
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(hx.TimedOut, match="timeout="):
                hx.ask("second", model="m", timeout=0.2)
            other.execute("ROLLBACK")
        assert [got.json["messages"][0]["content"] for got in server.asked()] == ["first"]
    recorded = row()
    assert (recorded["prompt"], recorded["status"], recorded["error_type"]) == ("second", "error", "TimedOut")


def test_the_total_timeout_keeps_what_arrived() -> None:
    """timeout= bounds the whole call, stalls included, and the partial text is in error and row."""
    with pytest.raises(hx.TimedOut, match=r"0\.5 seconds") as failed:
        hx.ask(FRANCE, model="demo-stalls", timeout=0.5)
    assert failed.value.reply is not None and failed.value.reply.text
    assert (row()["status"], row()["response"]) == ("error", failed.value.reply.text)


def test_the_total_timeout_is_one_for_all_rounds() -> None:
    """Rounds of tools and the repair of an answer share timeout=; after it nothing more is sent."""

    def slow() -> str:
        """Take a while."""
        time.sleep(0.6)
        return "done"

    call = {"index": 0, "id": "c", "function": {"name": "slow", "arguments": "{}"}}
    with WireServer(Answer(sse(chunk({"tool_calls": [call]}, finish="tool_calls")))) as server:
        hx.connect(server.url, name="rounds", retries=0)
        with pytest.raises(hx.TimedOut, match="1 seconds") as failed:
            hx.ask("?", model="m", tools=[slow], timeout=1)
        assert failed.value.reply is not None and failed.value.reply.tool_calls
        assert len(server.got) == 2 and list(hx.log()["status"]) == ["ok", "ok"]
    with WireServer(lambda got: Answer(PARIS, pause_s=0.3, piece_bytes=150)) as server:
        hx.connect(server.url, name="repair", retries=0)
        with pytest.raises(hx.TimedOut, match="2 seconds"):
            hx.ask("?", model="m", schema={"city": str}, timeout=2)
        assert len(server.got) == 2 and row()["error_type"] == "TimedOut"


def test_an_answer_that_is_complete_is_no_timeout() -> None:
    """Once the finish arrived, timeout= ends only the wait for token counts."""
    with WireServer(Answer(PARIS, hang_at=len(PARIS) - 150)) as server:
        hx.connect(server.url, name="late", retries=0)
        reply = hx.ask("?", model="m", timeout=0.5)
    assert (reply.text, reply.status, reply.usage.total_tokens) == ("Paris", "ok", None)


def test_pieces_of_a_stream_make_the_answer() -> None:
    """Pieces put together are the text, and the Reply is final after the last one."""
    with hx.stream(FRANCE) as s:
        assert s.reply.status == "pending"
        pieces = list(s)
    assert len(pieces) > 1
    assert "".join(pieces) == s.reply.text == "The capital of France is Paris."
    assert s.reply.status == "ok"


def test_what_fails_before_text_raises_on_entering() -> None:
    """A refused request fails at the `with`, never inside the loop."""
    entered = False
    with pytest.raises(hx.HelixError), hx.stream(FRANCE, model="demo-fails"):
        entered = True
    assert not entered


def test_what_fails_later_raises_after_the_last_piece() -> None:
    """The pieces of a truncated answer arrive first, then TruncatedReply."""
    pieces = []
    with pytest.raises(hx.TruncatedReply), hx.stream(FRANCE, model="demo-truncates") as s:
        pieces.extend(s)
        pytest.fail("the loop ended as if the answer were whole")
    assert "".join(pieces) == s.reply.text != ""


def test_a_stream_is_entered_once() -> None:
    """Entering again would send, and pay for, another exchange: it is an error, and nothing is sent."""
    with hx.stream(FRANCE) as once:
        text = "".join(once)
    with pytest.raises(hx.ConfigError, match="entered before"):
        once.__enter__()
    assert (list(once), once.reply.text, len(hx.log())) == ([], text, 1)

    async def twice() -> None:
        async with hx.astream(FRANCE) as once:
            with pytest.raises(hx.ConfigError, match="entered before"):
                await once.__aenter__()

    asyncio.run(twice())
    assert len(hx.log()) == 2


@pytest.mark.parametrize("stream", ["yes", "no", 0, 1, None])
def test_whether_to_stream_is_a_truth_value(stream: object) -> None:
    """A text would always count as true; numpy's booleans are as good as Python's."""
    with pytest.raises(hx.ConfigError, match="stream= is True or False"):
        hx.ask(FRANCE, stream=stream)
    assert hx.log().empty
    assert hx.ask(FRANCE, stream=np.bool_(False)).time_to_first_token_ms is None


def test_leaving_a_stream_early_records_interrupted() -> None:
    """Breaking out raises nothing, keeps the partial text, and says so in the log."""
    with hx.stream("Show me Markdown") as s:
        for _ in s:
            break
    assert s.reply.status == "interrupted"
    assert (row()["status"], row()["response"]) == ("interrupted", s.reply.text)


def test_ctrl_c_keeps_the_partial_text_and_stays_ctrl_c() -> None:
    """An interrupt during ask is a KeyboardInterrupt; the row is interrupted; the next ask works."""

    def interrupt() -> None:
        while hx.last is None and not any(hx.log()["response"].fillna("")):
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    with hx.stream(FRANCE, model="demo-stalls") as s:
        next(iter(s))
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            for _ in s:
                pass
    assert (s.reply.status, row()["status"]) == ("interrupted", "interrupted")
    assert row()["response"] == s.reply.text != ""
    assert hx.ask(FRANCE).status == "ok"


def test_awaited_faces_work_in_any_loop() -> None:
    """aask and astream run in a loop of the caller's, together."""

    async def main() -> list[str]:
        async with hx.astream(FRANCE) as s:
            pieces = [piece async for piece in s]
        both = await asyncio.gather(hx.aask(FRANCE), hx.aask("Hello"))
        return ["".join(pieces), str(both[0])]

    assert asyncio.run(main()) == ["The capital of France is Paris."] * 2
    assert list(hx.log()["status"]) == ["ok"] * 3


def test_a_cancelled_await_records_interrupted() -> None:
    """Cancelling the awaiting task stops the exchange and finishes its row."""

    async def main() -> None:
        task = asyncio.create_task(hx.aask(FRANCE, model="demo-stalls"))
        async with hx.astream(FRANCE, model="demo-stalls") as other:
            async for _ in other:
                break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert list(hx.log()["status"]) == ["interrupted", "interrupted"]


def test_a_chat_remembers_and_links_its_rows() -> None:
    """Each turn sends the conversation, and its row points to the one before."""
    chat = hx.Chat(system=HELPFUL)
    chat.ask("My name is Ada.")
    assert str(chat.ask("What is my name?")) == "Your name is Ada."
    assert [m["role"] for m in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    rows = hx.log()
    assert list(rows["thread_id"]) == [chat.thread_id] * 2
    assert rows["parent_id"].iloc[1] == rows["id"].iloc[0]
    assert rows["source"].eq("chat").all()


def test_only_a_finished_exchange_joins_a_chat() -> None:
    """A failed turn leaves the conversation as it was."""
    chat = hx.Chat()
    chat.ask("My name is Ada.")
    before = chat.messages
    for model in ("demo-fails", "demo-truncates"):
        with pytest.raises(hx.HelixError):
            chat.ask("And now?", model=model)
    assert chat.messages == before


def test_a_chat_that_is_answering_forgets_nothing() -> None:
    """undo and reset are ChatBusy then, in its first turn too."""
    chat = hx.Chat()
    with chat.stream("What is the capital of France?"):
        for change in (chat.undo, chat.reset):
            with pytest.raises(hx.ChatBusy):
                change()


def test_undo_reset_and_fork() -> None:
    """A fork goes its own way; undo takes back one turn; reset starts a new thread."""
    chat = hx.Chat()
    chat.ask("My name is Ada.")
    other = chat.fork()
    other.ask("What is my name?")
    assert (len(chat.messages), len(other.messages)) == (2, 4)
    assert other.undo() == "What is my name?"
    assert other.messages == chat.messages
    thread = chat.thread_id
    chat.reset()
    assert chat.messages == [] and chat.thread_id != thread
    assert chat.undo() is None


def test_a_chat_does_one_thing_at_a_time() -> None:
    """A second prompt while one is answered is ChatBusy, and harms nothing."""
    chat = hx.Chat(model="demo-stalls")
    with chat.stream(FRANCE) as s:
        next(iter(s))
        with pytest.raises(hx.ChatBusy):
            chat.ask("Hello")
        with pytest.raises(hx.ChatBusy):
            chat.reset()
    assert not chat.busy


def test_a_chat_works_with_the_log_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversation is the Chat's own; no log is needed for it."""
    monkeypatch.setenv("HELIX_NB_LOG", "off")
    chat = hx.Chat()
    chat.ask("My name is Ada.")
    assert str(chat.ask("What is my name?")) == "Your name is Ada."
    assert len(hx.log()) == 0


def test_the_same_cell_replaces_its_turn() -> None:
    """Starting again under a turn's key replaces that turn."""
    chat = hx.Chat()
    chat.start("My name is Ada.", "cell-1").result()
    chat.start("What is my name?", "cell-2").result()
    chat.start("My name is Grace.", "cell-1").result()
    assert [m["content"] for m in chat.messages if m["role"] == "user"] == [
        "My name is Grace.",
        "What is my name?",
    ]
    assert chat.holds("cell-2") and not chat.holds("cell-3")


def test_a_schema_gives_a_validated_object() -> None:
    """schema= fills Reply.parsed, for a plain mapping of names to types too."""
    reply = hx.ask("Ada is 36 years old.", schema={"name": str, "age": int})
    assert reply.parsed["age"] == 36


def test_a_tool_runs_only_because_it_was_named() -> None:
    """The model's call runs the function on this thread, its result goes back, each round is a row."""
    ran_on = []

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        ran_on.append(threading.current_thread())
        return a + b

    reply = hx.ask("Use add on 20 and 22.", tools=[add])
    assert ran_on == [threading.main_thread()]
    assert "42" in str(reply)
    rows = hx.log()
    assert list(rows["status"]) == ["ok", "ok"]
    assert rows["parent_id"].iloc[1] == rows["id"].iloc[0]


def test_nothing_configured_is_said_once() -> None:
    """The first answer says that the demo answered and how to connect a real endpoint."""
    assert "HELIX_API_KEY" in hx.ask(FRANCE).notes[0]
    assert hx.ask(FRANCE).notes == ()


def test_scripts_end_by_themselves(tmp_path: Path) -> None:
    """A script that asks, forks, and asks again in both exits with 0 and leaves two rows more."""
    code = """
        import os, helix_nb as hx
        assert hx.ask("What is the capital of France?").status == "ok"
        child = os.fork()
        print(hx.ask("What is the capital of France?"), flush=True)
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert list(hx.log("all")["status"]) == ["ok"] * 3
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HELIX_NB_LOG": str(tmp_path / "fork.db")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The capital of France is Paris.\n" * 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"images": 3}, "An image is"),
        ({"attachments": [3]}, "takes texts"),
        ({"tools": 3}, "A tool is"),
        ({"max_rounds": 0}, "from 1 up"),
        ({"max_rounds": "many"}, "from 1 up"),
        ({"timeout": np.int64(0)}, "above 0"),
        ({"prompt": [{"role": "assistant", "tool_calls": "abc"}]}, "tool_calls is a list"),
        ({"prompt": [{"role": "assistant", "tool_calls": [1]}]}, "tool_calls is a list"),
        ({"prompt": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}, "are texts"),
    ],
)
def test_odd_arguments_are_sentences(wrong: dict[str, Any], words: str) -> None:
    """What no request can be made of is a ConfigError, never a traceback from inside."""
    with pytest.raises(hx.ConfigError, match=words) as failed:
        hx.ask(**{"prompt": FRANCE, **wrong})
    assert "\n" not in str(failed.value)
    assert hx.log().empty


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ],
)
def test_a_list_without_the_users_words_may_be_a_prompt(message: dict[str, Any]) -> None:
    """A picture, a tool call or a tool's answer says something, beside blank messages too."""
    build_request([{"role": "user", "content": ""}, message])


INTERNAL = {"origin": 5, "history": 5, "chat": "x", "announce": False, "named": 1}


def test_no_name_is_taken_by_what_happens_inside() -> None:
    """What ask does not name itself is a parameter like any other, and reaches the log's params."""
    hx.ask(FRANCE, **INTERNAL)
    assert json.loads(row()["params"]) == INTERNAL
    hx.Chat(**INTERNAL).ask(FRANCE)
    assert json.loads(row()["params"]) == INTERNAL
    assert prepare(FRANCE, None, **INTERNAL).prepared.request.params == INTERNAL
    assert hx.Chat().prepare(FRANCE, "cell-1", None, **INTERNAL).prepared.request.params == INTERNAL


@pytest.mark.parametrize("name", ["api_key", "Authorization", "key"])
def test_a_key_is_no_parameter(name: str) -> None:
    """Each way to ask refuses it with the sentence of the magics, and nothing of it is kept."""
    options = {name: "sk-secret"}
    ways: list[Callable[[], object]] = [
        lambda: hx.ask(FRANCE, **options),
        lambda: asyncio.run(hx.aask(FRANCE, **options)),
        lambda: list(hx.stream(FRANCE, **options)),
        lambda: hx.Chat(**options),
        lambda: hx.Chat().ask(FRANCE, **options),
        lambda: pd.DataFrame({"a": [1]}).helix.ask("{{a}}", progress=False, **options),
    ]
    for way in ways:
        with pytest.raises(hx.ConfigError, match="A key does not belong here"):
            way()
    assert hx.log().empty


def test_one_of_something_needs_no_list() -> None:
    """A single tool, image or attachment stands for itself, None for nothing; numpy's numbers are numbers."""

    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    reply = hx.ask("read this", attachments="a whole text", tools=double, images=None, timeout=np.int64(60))
    assert reply.status == "ok"
    sent = json.loads(row()["params"])
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["double"]
    assert row()["prompt"].count("a whole text") == 1


def test_a_large_prompt_is_sent_without_a_warning() -> None:
    """Three megabytes go through like three words."""
    assert hx.ask("x" * 3_000_000).status == "ok"


def test_a_chat_can_be_copied_and_pickled() -> None:
    """Settings, thread and turns go along; the copy goes its own way, also from a chat that is answering."""
    chat = hx.Chat(endpoint="demo", system=HELPFUL, temperature=0)
    chat.ask(FRANCE)
    with chat.stream("Show me Markdown") as s:
        next(iter(s))
        copies = [pickle.loads(pickle.dumps(chat)), copy.deepcopy(chat), copy.copy(chat)]
    for other in copies:
        assert (other.messages, other.params, other.busy) == (chat.messages, {"temperature": 0}, False)
        assert other.ask("And of Spain?").status == "ok"
    assert [len(one.turns) for one in (chat, *copies)] == [1, 2, 2, 2]


def test_whatever_a_tool_returns_reaches_the_model() -> None:
    """An array is whole; a value that contains itself, odd keys and a broken repr become text."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    circle: list[object] = []
    circle.append(circle)
    results = iter([np.arange(2000), circle, {(1, 2): 3}, Broken()])

    def look() -> object:
        """Look at something."""
        return next(results)

    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    wants = Answer(sse(chunk({"tool_calls": [call]}), chunk(finish="tool_calls")))
    left = [wants] * 4
    with WireServer(lambda _: left.pop() if left else Answer(PARIS)) as server:
        hx.connect(server.url, name="wire", retries=0)
        assert str(hx.ask("Where?", model="m", tools=look)) == "Paris"
        said = [message["content"] for message in server.asked()[-1].json["messages"][2::2]]
    assert json.loads(said[0]) == list(range(2000))
    assert said[1:] == ["[[...]]", "{(1, 2): 3}", "The tool's result cannot be shown: RuntimeError: no"]


def test_an_async_tool_needs_an_await() -> None:
    """`hx.ask` says so and leaves no coroutine behind; `hx.aask` awaits it."""

    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    def blocking() -> str:
        try:
            return str(hx.ask("Use add on 20 and 22.", tools=add))
        except hx.HelixError as error:
            return str(error)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert "is async" in blocking()
        gc.collect()
    assert [str(one.message) for one in warned if "add" in str(one.message)] == []
    assert "42" in str(asyncio.run(hx.aask("Use add on 20 and 22.", tools=add)))
