"""Replay: recorded answers come back in order, whole, as cheap as they are, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import helix_nb as hx
from helix_nb.config.session import reset_session
from helix_nb.records.logbook import logbook
from helix_nb.records.replay import player


class Counting(BaseHTTPRequestHandler):
    """A server whose answers are numbered, so that a replayed one can be told from a new one."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self._send(200, {"data": [{"id": "m-large"}, {"id": "m-small"}]})

    def do_POST(self) -> None:
        type(self).asked += 1
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        if body["messages"][-1]["content"] == "fail":
            self._send(400, {"error": {"message": "no such thing"}})
            return
        if body["messages"][-1]["content"] == "cut":
            self._send_text(200, "text/event-stream", 'data: {"choices":[{"delta":{"content":"half"}}]}\n\n')
            return
        message = {"role": "assistant", "content": f"answer {type(self).asked}"}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._send(200, {"id": "r1", "model": "m-large", "choices": [choice], "usage": usage})

    def _send(self, status: int, body: object) -> None:
        self._send_text(status, "application/json", json.dumps(body))

    def _send_text(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """A counting server, connected as the endpoint `counting`; replay is off afterwards."""
    Counting.asked = 0
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    hx.connect(url, name="counting", retries=0)
    logbook.prices["http://127.0.0.1*", "*"] = {"input": 1.0, "output": 2.0}
    yield url
    player.set_mode(None)
    del logbook.prices["http://127.0.0.1*", "*"]
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def asked(prompt: str, **options: object) -> hx.Reply:
    return hx.ask(prompt, endpoint="counting", model="m", **options)  # type: ignore[arg-type]


def test_repeated_requests_get_their_answers_in_order_and_nothing_is_sent(server: str) -> None:
    """`only` answers from the log: same texts, same order, again and again, with 0 requests."""
    live = [asked("a"), asked("b"), asked("a")]
    sent = Counting.asked
    assert logbook.replay("only") == "only"
    again = [asked(prompt).text for prompt in ("a", "b", "a", "a")]
    assert again == ["answer 1", "answer 2", "answer 3", "answer 1"]
    assert Counting.asked == sent
    replayed = asked("b")
    assert replayed.replay_of == live[1].exchange_id and replayed.exchange_id != live[1].exchange_id
    for fact in ("text", "finish_reason", "model", "response_id", "cost", "currency", "endpoint"):
        assert getattr(replayed, fact) == getattr(live[1], fact), fact
    assert (replayed.usage.total_tokens, replayed.usage.source) == (18, "replay")


def test_a_replayed_row_used_nothing(server: str) -> None:
    """Its tokens are NA, its cost 0, its tag names the recording; sums do not count it as unknown."""
    live = asked("a")
    logbook.replay("only")
    asked("a")
    row = hx.log().iloc[-1]
    assert (row["status"], row["usage_source"], row["cost"], row["response"]) == (
        "ok",
        "replay",
        0.0,
        "answer 1",
    )
    assert row[["prompt_tokens", "completion_tokens", "total_tokens"]].isna().all()
    assert json.loads(row["tags"]) == {"replay_of": live.exchange_id}
    sums = hx.usage(by=None).iloc[0]
    assert (sums["n"], sums["prompt_tokens"], sums["unknown_usage"], sums["unpriced"]) == (2, 11, 0, 0)
    assert sums["cost"] == live.cost == pytest.approx((11 * 1.0 + 7 * 2.0) / 1e6)
    assert hx.latency().loc["m-large", "n"] == 1
    repriced = logbook.reprice(hx.log())
    assert repriced["cost"].tolist() == [live.cost, 0.0]


def test_failures_are_replayed_as_they_failed(server: str) -> None:
    """A refused request and a cut answer raise again, with the same words and partial text."""
    with pytest.raises(hx.BadRequest) as refused:
        asked("fail")
    with pytest.raises(hx.TruncatedReply) as cut:
        asked("cut")
    sent = Counting.asked
    logbook.replay("only")
    with pytest.raises(hx.BadRequest) as refused_again:
        asked("fail")
    with pytest.raises(hx.TruncatedReply) as cut_again:
        asked("cut")
    assert str(refused_again.value) == str(refused.value)
    assert cut_again.value.reply is not None and cut.value.reply is not None
    assert cut_again.value.reply.text == cut.value.reply.text == "half"
    assert Counting.asked == sent
    logbook.replay("reuse")
    with pytest.raises(hx.BadRequest):
        asked("fail")
    assert Counting.asked == sent + 1


def test_a_miss_shows_what_came_nearest(server: str) -> None:
    """`only` raises ReplayMiss, which says where the nearest recording parts, and records the miss."""
    asked("What is the capital of France?", temperature=0.5)
    asked("something else entirely")
    chat = hx.Chat(endpoint="counting", model="m", system="Be brief.")
    talk = [chat.ask("one").text, chat.ask("two").text]
    logbook.replay("only")
    again = hx.Chat(endpoint="counting", model="m", system="Be brief.")
    assert [again.ask("one").text, again.ask("two").text] == talk
    with pytest.raises(hx.ReplayMiss) as miss:
        asked("What is the capital of Spain?", temperature=0.5)
    assert str(miss.value) == (
        "Replay is 'only', and the log holds no answer to this request. The nearest recorded one differs in "
        'the user message: recorded "What is the capital of France?", asked "What is the capital of Spain?".'
    )
    with pytest.raises(hx.ReplayMiss, match=r"differs in temperature: recorded 0\.5, asked none\.$"):
        asked("What is the capital of France?")
    with pytest.raises(hx.ReplayMiss, match=r"differs in message 4 \(user\): .*; and in 1 more: seed\.$"):
        again.undo()
        again.ask("deux", seed=3)
    assert hx.log()["error_type"].iloc[-1] == "ReplayMiss"
    with pytest.raises(hx.ReplayMiss):
        asked("What is the capital of Spain?", temperature=0.5)
    logbook.forget(since="1d")
    with pytest.raises(hx.ReplayMiss, match="no recorded answer at all"):
        asked("x")


def test_reuse_asks_what_was_not_recorded_and_keeps_endpoints_and_keys_apart(server: str) -> None:
    """One endpoint's answer never serves another endpoint, agent or key in `reuse`."""
    assert asked("a").text == "answer 1"
    logbook.replay("reuse")
    assert asked("a").text == "answer 1"
    assert asked("a", temperature=0.1).text == "answer 2"
    hx.connect(server, name="agent", app_id="app_2")
    assert hx.ask("a", endpoint="agent", model="m").text == "answer 3"
    hx.connect(server, name="keyed", key="hl-another-key-0123456789")
    assert hx.ask("a", endpoint="keyed", model="m").text == "answer 4"
    assert hx.ask("a", endpoint="keyed", model="m").text == "answer 4"
    logbook.replay("only")
    assert hx.ask("a", endpoint="keyed", model="m").text == "answer 4"
    assert hx.ask("a", endpoint="demo", model="m").text == "answer 1"


def test_a_cassette_answers_without_the_log_the_key_or_the_endpoint(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exported notebook run is answered elsewhere: chats, lists, repeated questions, 0 requests."""
    hx.connect(server, name="counting", key="hl-canary-0123456789abcdef")
    chat = hx.Chat(endpoint="counting", model="m", system="Be brief.")
    texts = [chat.ask("a").text, chat.ask("a").text, asked("a").text, asked("a").text]
    listed = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z"},
    ]
    texts.append(hx.ask(listed, endpoint="counting", model="m").text)
    cassette = logbook.export(tmp_path / "run.jsonl")
    assert b"hl-canary" not in cassette.read_bytes() and cassette.stat().st_mode & 0o777 == 0o600
    assert len(cassette.read_text().splitlines()) == 5
    sent = Counting.asked
    reset_session()
    monkeypatch.setenv("HELIX_NB_LOG", ":memory:")
    monkeypatch.setenv("HELIX_NB_REPLAY", f"only:{cassette}")
    hx.connect("https://nowhere.invalid", name="counting", key_env="NOT_SET_ANYWHERE")
    chat = hx.Chat(endpoint="counting", model="m", system="Be brief.")
    again = [chat.ask("a").text, chat.ask("a").text, asked("a").text, asked("a").text]
    again.append(hx.ask(listed, endpoint="counting", model="m").text)
    assert again == texts and Counting.asked == sent
    with pytest.raises(hx.ReplayMiss, match=r"run\.jsonl holds no answer"):
        chat.ask("never asked")
    assert hx.log(last=6)["usage_source"].eq("replay").tolist() == [True] * 5 + [False]


def test_a_cassette_of_several_kernels_answers_as_the_log_does(server: str, tmp_path: Path) -> None:
    """The newest kernel's recordings count, replays only where there is nothing else, misses never."""
    for prompt in ("a", "a", "a", "b"):
        asked(prompt)
    logbook.replay("only")
    for prompt in ("a", "b"):
        asked(prompt)
    with pytest.raises(hx.ReplayMiss):
        asked("c")
    lines = logbook.export(tmp_path / "run.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    kernels = ["first", "second", "second", "second", "third", "third", "third"]
    rows = [row | {"kernel_id": kernel} for row, kernel in zip(rows, kernels, strict=True)]
    cassette = tmp_path / "several.jsonl"
    cassette.write_text("\n".join(json.dumps(row) for row in rows if row["prompt"] != "b" or "tags" in row))
    logbook.replay("only", cassette)
    again = [asked(prompt) for prompt in ("a", "a", "a", "b")]
    assert [reply.text for reply in again] == ["answer 2", "answer 3", "answer 2", "answer 4"]
    assert [reply.usage.total_tokens for reply in again[:3]] == [18] * 3
    with pytest.raises(hx.ReplayMiss, match="differs in the user message"):
        asked("c")


def test_a_wrong_cassette_changes_nothing(server: str, tmp_path: Path) -> None:
    """After the error replay is what it was: nothing goes out that was not going out before."""
    asked("a")
    sent = Counting.asked
    logbook.replay("only")
    for wrong in (tmp_path / "nowhere.jsonl", tmp_path, 3):
        with pytest.raises(hx.ConfigError, match="cassette"):
            logbook.replay("only", wrong)  # type: ignore[arg-type]
    with pytest.raises(hx.ConfigError, match="Replay is off"):
        logbook.replay("onyl")
    assert logbook.replay() == "only"
    with pytest.raises(hx.ReplayMiss):
        asked("b")
    assert Counting.asked == sent


def test_batches_and_schemas_replay_too(server: str) -> None:
    """Rows of a frame go through the same seam."""
    frame = pd.DataFrame({"word": ["a", "b", "a"]})
    live = frame.helix.ask("{{word}}", endpoint="counting", model="m", name="live", progress=False)
    sent = Counting.asked
    logbook.replay("only")
    again = frame.helix.ask("{{word}}", endpoint="counting", model="m", name="again", progress=False)
    assert again["answer"].tolist() == live["answer"].tolist() and Counting.asked == sent


@pytest.mark.parametrize("restarted", [False, True])
def test_what_names_no_model_replays_before_and_after_one_was_found(
    restarted: bool, server: str, tmp_path: Path
) -> None:
    """The first question finds a model out; it, later ones and a batch replay in any kernel, unsent."""
    frame = pd.DataFrame({"word": ["c", "d"]})

    def story() -> list[str]:
        single = [hx.ask(prompt, endpoint="counting").text for prompt in ("a", "a", "b")]
        return [*single, *frame.helix.ask("{{word}}", endpoint="counting", progress=False)["answer"]]

    live, sent = story(), Counting.asked
    logbook.export(tmp_path / "run.jsonl")
    for cassette in (None, tmp_path / "run.jsonl"):
        if restarted:
            reset_session()
            hx.connect(server, name="counting", retries=0)
        logbook.replay("only", cassette)
        assert story() == live
    logbook.replay("off")
    if restarted:
        reset_session()
        hx.connect(server, name="counting", retries=0)
    logbook.replay("reuse")
    assert story() == live
    assert Counting.asked == sent + restarted  # the list of models, for the batch


@pytest.mark.parametrize("setting", ["onyl", "only:/nowhere/x.jsonl"])
def test_a_setting_that_makes_no_sense_is_one_sentence(
    setting: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong mode, or a cassette that is not there, is a ConfigError; nothing is sent."""
    monkeypatch.setenv("HELIX_NB_REPLAY", setting)
    with pytest.raises(hx.ConfigError, match=r"Did you mean 'only'|cannot be read"):
        asked("a")
    with pytest.raises(hx.ConfigError):
        logbook.replay(*setting.split(":"))
    assert Counting.asked == 0
    with pytest.raises(hx.ConfigError, match="not ''"):
        logbook.replay("")


def test_a_damaged_cassette_names_its_line(tmp_path: Path) -> None:
    """What is no exported exchange is refused with the number of its line."""
    path = tmp_path / "bad.jsonl"
    path.write_text('\n{"request": {}}\n')
    logbook.replay("only", path)
    try:
        with pytest.raises(hx.ConfigError, match=r"Line 2 of .*bad\.jsonl is no exported exchange"):
            hx.ask("a", endpoint="demo")
    finally:
        player.set_mode(None)


NOTEBOOK = [
    "%load_ext helix_nb\nimport helix_nb as hx",
    "%%helix -m m -o first\nWhat is **this**?",
    "%%helix -c -m m\na",
    "%%helix -c -m m\na",
    "str(hx.ask('a', model='m')), first.usage.total_tokens",
    "try:\n    hx.ask('fail', model='m')\nexcept hx.BadRequest as error:\n    print(error)",
]


@pytest.mark.slow
def test_a_recorded_notebook_passes_strict_nbval_without_key_or_network(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run once against a server with a key; then only its cassette: the same outputs, 0 requests."""
    monkeypatch.setenv("HELIX_URL", server)
    monkeypatch.setenv("HELIX_API_KEY", "hl-canary-0123456789abcdef")
    monkeypatch.setenv("HELIX_NB_LOG", str(tmp_path / "recorded.db"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in NOTEBOOK])
    NotebookClient(notebook, timeout=60, record_timing=False).execute()
    nbformat.write(notebook, tmp_path / "run.ipynb")
    assert hx.logbook.export(tmp_path / "run.jsonl", scope="all").read_text().count("\n") == 5
    sent = Counting.asked
    for name in ("HELIX_URL", "HELIX_API_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HELIX_NB_LOG", str(tmp_path / "replayed.db"))
    monkeypatch.setenv("HELIX_NB_REPLAY", f"only:{tmp_path / 'run.jsonl'}")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "run.ipynb"]
    checked = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    assert Counting.asked == sent
    assert hx.log("all")["usage_source"].tolist()[:4] == ["replay"] * 4
