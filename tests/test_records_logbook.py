"""Keeping and forgetting: exports that lose nothing, and deletions that leave no byte."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from records_fixtures import begun, child, demo, ended, output, record, request

import helix_nb as hx
from helix_nb.origin import Origin
from helix_nb.records.storage.batches import Link
from helix_nb.records.storage.content import ContentPolicy, set_content_policy
from helix_nb.records.storage.log import current_log
from helix_nb.runtime.loop import run_sync

PICTURE = "data:image/png;base64,UElDVFVSRS1CWVRFUy1DQU5BUlk="  # PICTURE-BYTES-CANARY


@pytest.fixture(autouse=True)
def everything_kept() -> Iterator[None]:
    """Whatever a test says about keeping text ends with it."""
    yield
    set_content_policy(ContentPolicy())


def bytes_on_disk() -> bytes:
    path = current_log().path
    assert path is not None
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_what_is_forgotten_leaves_no_byte_behind() -> None:
    """Prompt, answer, system prompt and attachment of a forgotten exchange are gone from file and WAL."""
    log = current_log()
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "CANARY-PROMPT " * 500}, picture]}]
    kept = run_sync(record(log, request("stays", system="shared system"), text="STAYS"))
    secret = request(messages, system="CANARY-SYSTEM")
    gone = run_sync(record(log, secret, text="CANARY-ANSWER " * 500, reasoning="CANARY-WHY"))
    run_sync(record(log, request("also gone", system="shared system"), text="CANARY-TOO"))
    log.flush()
    canaries = (b"CANARY-PROMPT", b"CANARY-SYSTEM", b"CANARY-ANSWER", b"CANARY-WHY", b"BYTES-CANARY")
    assert all(canary in bytes_on_disk() for canary in canaries)
    assert hx.logbook.forget(gone.exchange_id) == 1
    found = bytes_on_disk()
    assert not [canary for canary in canaries if canary in found]
    assert hx.logbook.forget(thread=hx.log()["thread_id"].iloc[-1]) == 1
    assert b"CANARY-TOO" not in bytes_on_disk() and b"shared system" in bytes_on_disk()
    assert hx.log()["id"].tolist() == [kept.exchange_id]


def test_forgetting_goes_by_thread_batch_and_time_and_by_several_at_once() -> None:
    """Each way deletes what it names and nothing else, with its links."""
    log, now = current_log(), datetime.now(UTC)

    def put(prompt: str, age: timedelta, **origin: str) -> str:
        asked = request(prompt, origin=Origin(**origin))  # type: ignore[arg-type]
        reply = begun(started_at=now - age)
        run_sync(log.begin(asked, reply, demo))
        log.finish(asked, ended(reply))
        return str(reply.exchange_id)

    put("old", timedelta(days=5), thread_id="t")
    put("new", timedelta(0), thread_id="t")
    batched = put("batched", timedelta(days=1), batch_id="b")
    log.link("b", [Link(0, "0", batched, "batched", None)])
    with pytest.raises(hx.ConfigError, match="Say what to forget"):
        hx.logbook.forget()
    assert hx.logbook.forget("nobody") == 0
    assert hx.logbook.forget(thread="t", since="1d") == 1
    assert hx.log()["prompt"].tolist() == ["old", "batched"]
    assert hx.logbook.forget(batch="b") == 1
    assert log.read(lambda c: c.execute("SELECT count(*) FROM links").fetchone()[0]) == [0]
    assert hx.logbook.forget(since="2000-01-01") == 1 and hx.log().empty


def test_a_batch_is_forgotten_with_the_labels_of_its_rows() -> None:
    """Rows that were skipped leave no label behind either; other batches keep theirs."""
    frame = pd.DataFrame({"q": ["a", None]}, index=["LABEL-ONE", "LABEL-SKIPPED"])
    for name in ("gone", "stays"):
        frame.helix.ask("{{q}}", name=name, endpoint="demo", progress=False)
        frame.index = ["kept 1", "kept 2"]
    assert hx.logbook.forget(batch="gone") == 1
    assert b"LABEL" not in bytes_on_disk()
    assert hx.batch("stays").shape[0] == 2
    with pytest.raises(hx.ConfigError, match="gone"):
        hx.batch("gone")


def test_pruning_goes_by_age_and_by_size() -> None:
    """The oldest go first, until the file is small enough, and the file shrinks."""
    log, now = current_log(), datetime.now(UTC)
    for days in range(40):
        asked, reply = request(f"{days} days"), begun(started_at=now - timedelta(days=days, minutes=1))
        run_sync(log.begin(asked, reply, demo))
        log.finish(asked, ended(reply, "x" * 20_000))
    assert hx.logbook.prune(older_than="30d") == 10
    assert log.path is not None
    before = log.path.stat().st_size
    assert 0 < hx.logbook.prune(max_size="300 KB") < 30
    assert log.path.stat().st_size <= 300_000 < before
    left = hx.log()["prompt"].tolist()
    assert left[-1] == "0 days" and left == [f"{days} days" for days in range(len(left) - 1, -1, -1)]
    for wrong in (
        {},
        {"max_size": "many"},
        {"max_size": "-1 MB"},
        {"max_size": "inf"},
        {"older_than": "soon"},
    ):
        with pytest.raises(hx.ConfigError):
            hx.logbook.prune(**wrong)
    assert hx.log()["prompt"].tolist() == left


def test_a_reply_and_a_chat_can_be_forgotten_and_nothing_else_is_taken_for_one() -> None:
    """`forget` takes what it can find an exchange by; what it cannot is one sentence, and the log goes on."""
    chat = hx.Chat(endpoint="demo")
    chat.ask("What is the capital of Italy?")
    reply = hx.ask("What is the capital of France?", endpoint="demo")
    for wrong in ({"id": [reply.exchange_id]}, {"id": 7}, {"batch": ["b"]}, {"thread": object()}):
        with pytest.raises(hx.ConfigError, match="takes a text"):
            hx.logbook.forget(**wrong)
    assert hx.logbook.forget(reply) == 1 and hx.logbook.forget(thread=chat) == 1
    assert hx.log().empty and hx.logbook.info().problem is None


def test_exports_come_back_with_every_value(tmp_path: Path) -> None:
    """Parquet keeps values and dtypes, CSV the values, JSONL the requests too; each is 0600."""
    log = current_log()
    run_sync(record(log, request("a", system="s"), cost=0.1, currency="USD", cost_source="user"))
    run_sync(record(log, request('ü\n,"'), status="error", error="boom", error_type="ServerError"))
    frame = hx.log()
    pytest.importorskip("pyarrow")
    back = pd.read_parquet(hx.logbook.export(tmp_path / "x.parquet"))
    pd.testing.assert_frame_equal(back, frame, check_categorical=False)
    table = pd.read_csv(hx.logbook.export(tmp_path / "x.csv"))
    assert table["prompt"].tolist() == ["a", 'ü\n,"'] and table.columns.tolist() == frame.columns.tolist()
    path = hx.logbook.export(tmp_path / "x.jsonl", status="ok")
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    said = [(message["role"], message["content"]) for message in line["request"]["messages"]]
    assert said == [("system", "s"), ("user", "a")]
    assert {each.stat().st_mode & 0o777 for each in tmp_path.glob("x.*")} == {0o600}
    with pytest.raises(hx.ConfigError, match=r"ends in \.jsonl"):
        hx.logbook.export(tmp_path / "x.xlsx")
    with pytest.raises(hx.ConfigError, match="cannot be written"):
        hx.logbook.export(tmp_path / "nowhere" / "x.csv")
    with pytest.raises(hx.ConfigError, match="scope="):
        hx.logbook.export(tmp_path / "x.csv", scope="everything")


def test_numbers_without_words() -> None:
    """With `text` off nothing that was said is in the file; tokens, cost and hashes are."""
    hx.logbook.text = False
    log = current_log()
    asked = request(
        [{"role": "user", "content": "SECRET-A"}, {"role": "user", "content": "SECRET-B"}], system="SECRET-C"
    )
    run_sync(record(log, asked, text="SECRET-D", reasoning="SECRET-E", cost=0.5))
    log.flush()
    assert b"SECRET" not in bytes_on_disk()
    row = hx.log().iloc[0]
    assert row[["system", "prompt", "response", "reasoning"]].isna().all()
    assert (row["total_tokens"], row["cost"], row["status"]) == (15, 0.5, "ok")
    hashes = log.read(lambda c: c.execute("SELECT prompt_hash, request_hash FROM payloads").fetchone())[0]
    assert len(hashes[0]) == 16 and hashes[1].hex() == asked.digest()
    assert log.answer_ids("b", [asked.digest("demo")]) == {}


def test_the_users_own_redaction_runs_before_anything_is_written() -> None:
    """It sees prompts, answers and errors; what it gives no text for is left out, with a warning."""
    log = current_log()
    hx.logbook.redact = lambda text: text.replace("Ada", "[name]")
    run_sync(record(log, request("Ada?", system="Ada!"), text="Ada.", status="error", error="no Ada"))
    row = hx.log().iloc[0]
    assert row[["system", "prompt", "response", "error"]].tolist() == [
        "[name]!",
        "[name]?",
        "[name].",
        "no [name]",
    ]
    assert b"Ada" not in bytes_on_disk()
    hx.logbook.redact = lambda text: text[0 // len(text[99:])]
    with pytest.warns(UserWarning, match="redact function failed"):
        run_sync(record(log, request("short")))
        log.flush()
    assert pd.isna(hx.log()["prompt"].iloc[-1]) and hx.log()["status"].iloc[-1] == "ok"
    hx.logbook.redact = lambda text: None  # type: ignore[arg-type,return-value]
    with pytest.warns(UserWarning, match="returned NoneType, not text"):
        run_sync(record(log, request("forgot to return")))
        log.flush()
    assert hx.log()[["prompt", "response"]].iloc[-1].isna().all()
    with pytest.raises(hx.ConfigError, match="takes a function"):
        hx.logbook.redact = "Ada"  # type: ignore[assignment]


def test_info_says_where_and_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, size, number, first exchange; memory and off say so."""
    run_sync(record(current_log()))
    info = hx.logbook.info()
    assert info.path == hx.logbook.path == current_log().path
    assert info.exchanges == 1 and info.size_bytes > 0 and info.since is not None and info.problem is None
    assert repr(hx.logbook).startswith("1 exchanges in ")
    monkeypatch.setenv("HELIX_NB_LOG", "off")
    assert hx.logbook.info().exchanges == 0 and "off" in repr(hx.logbook)


def test_deleting_tells_of_a_reader_that_keeps_the_bytes() -> None:
    """A reader that holds the WAL open is told about; the rows are gone for everybody else."""
    log = current_log()
    run_sync(record(log))
    log.flush()
    reader = sqlite3.connect(f"{log.path.as_uri()}?mode=ro", uri=True, isolation_level=None)  # type: ignore[union-attr]
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM exchanges").fetchone()
    with pytest.warns(UserWarning, match="Another program is reading"):
        assert hx.logbook.forget(since="1d") == 1
    reader.close()
    assert hx.log("all").empty


def test_another_kernels_rows_are_forgotten_and_exported_too(tmp_path: Path) -> None:
    """`scope="all"` and `forget` reach what other processes wrote into the file."""
    path = current_log().location.path
    assert path is not None
    output(child("asyncio.run(record_all(log, 3))", path))
    run_sync(record(current_log(), request("mine")))
    exported = hx.logbook.export(tmp_path / "all.jsonl", scope="all")
    assert len(exported.read_text().splitlines()) == 4
    assert len(hx.logbook.export(tmp_path / "own.jsonl").read_text().splitlines()) == 1
    assert hx.logbook.forget(since="1d") == 4
