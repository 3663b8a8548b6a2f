"""The log: what goes in comes out as the contract's columns, and words are stored once."""

from __future__ import annotations

import base64
import json
import sqlite3
import stat
import warnings
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from records_fixtures import begun, demo, ended, record, request

import helix_nb as hx
from helix_nb.config.registry import connect
from helix_nb.config.session import aliases
from helix_nb.errors import ConfigError
from helix_nb.messages import Message, Request
from helix_nb.origin import Origin
from helix_nb.records.reading import frames
from helix_nb.records.reading.filters import filter_of
from helix_nb.records.storage import schema
from helix_nb.records.storage.batches import Link
from helix_nb.records.storage.location import LogLocation, is_network, log_location
from helix_nb.records.storage.log import Log, current_log
from helix_nb.replies import ToolCall, Usage
from helix_nb.runtime.loop import run_sync

CONTRACT = {
    "id thread_id parent_id": "str",
    "status source": "category",
    "endpoint": "category",
    "base_url": "str",
    "model_requested model": "category",
    "started_at first_token_at ended_at": "datetime64[us, UTC]",
    "time_to_first_token_ms duration_ms": "Float64",
    "prompt_tokens completion_tokens total_tokens cached_tokens reasoning_tokens": "Int64",
    "usage_source finish_reason": "category",
    "cost": "Float64",
    "currency cost_source": "category",
    "stream": "boolean",
    "attempts http_status": "Int64",
    "error_type": "category",
    "error response_id batch_id row_key notebook cell_id kernel_id tags params": "str",
    "system prompt response reasoning": "str",
}
DTYPES = [(name, dtype) for names, dtype in CONTRACT.items() for name in names.split()]


def dtypes(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return [(name, str(dtype)) for name, dtype in frame.dtypes.items()]


def test_columns_and_dtypes_are_the_contracts_with_and_without_rows() -> None:
    """Order and dtypes hold for an empty log, for a row that knows nothing, and for a full one."""
    assert dtypes(frames.log()) == DTYPES
    log = current_log()
    run_sync(log.begin(request(), begun(started_at=None), demo))
    assert dtypes(frames.log()) == DTYPES
    run_sync(record(log, cost=0.5, currency="USD", cost_source="user"))
    assert dtypes(frames.log()) == DTYPES
    assert dtypes(frames.log(text=False)) == DTYPES[:-4]


def test_an_exchange_is_pending_then_finished_with_every_fact() -> None:
    """The row is there before the answer, and holds all that the Reply knows afterwards."""
    log = current_log()
    origin = Origin("chat", "t1", "p1", 0, "b1", "[1]", "a.ipynb", "c1", {"team": "x"})
    asked = request("Why?", system="Be brief.", origin=origin, params={"temperature": 0.5}, stream=False)
    reply = begun(exchange_id="e1")
    run_sync(log.begin(asked, reply, demo))
    pending = frames.log().iloc[0]
    assert (pending["status"], pending["prompt"], pending["system"]) == ("pending", "Why?", "Be brief.")
    assert pd.isna(pending["total_tokens"]) and pending["response"] == ""
    first = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    final = ended(
        reply,
        "Because.",
        reasoning="hm",
        first_token_at=first,
        time_to_first_token_ms=3.5,
        usage=Usage(7, 3, 10, 2, 1, "server"),
        response_id="oai_1",
        model="m-large",
    )
    log.finish(asked, final)
    row = frames.log().iloc[0]
    expected = {
        "id": "e1",
        "thread_id": "t1",
        "parent_id": "p1",
        "status": "ok",
        "source": "chat",
        "endpoint": "demo",
        "base_url": "demo",
        "model_requested": "m",
        "model": "m-large",
        "first_token_at": pd.Timestamp(first),
        "time_to_first_token_ms": 3.5,
        "duration_ms": 12.5,
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "cached_tokens": 2,
        "reasoning_tokens": 1,
        "usage_source": "server",
        "finish_reason": "stop",
        "stream": False,
        "attempts": 1,
        "http_status": 200,
        "response_id": "oai_1",
        "batch_id": "b1",
        "row_key": "[1]",
        "notebook": "a.ipynb",
        "cell_id": "c1",
        "tags": '{"team": "x"}',
        "params": '{"temperature": 0.5}',
        "system": "Be brief.",
        "prompt": "Why?",
        "response": "Because.",
        "reasoning": "hm",
    }
    assert {name: row[name] for name in expected} == expected
    for unknown in ("cost", "currency", "cost_source", "error_type", "error"):
        assert pd.isna(row[unknown])
    recorded = log.replies(["e1"])["e1"]
    assert (recorded.text, recorded.usage, recorded.first_token_at) == ("Because.", final.usage, first)


def test_partial_text_is_kept_while_a_stream_runs() -> None:
    """`keep` brings text and facts into the pending row."""
    log, asked, reply = current_log(), request(), begun()
    run_sync(log.begin(asked, reply, demo))
    log.update(replace(reply, text="half an ans", model="m2"))
    row = frames.log().iloc[0]
    assert (row["status"], row["response"], row["model"]) == ("pending", "half an ans", "m2")


def test_filters_work_in_sql_and_newest_is_last() -> None:
    """scope, since, model, status, search, tags and last, alone and together."""
    log = current_log()
    now = datetime.now(UTC)
    table = [
        ("old", {"model": "qwen3:8b"}, now - timedelta(days=9), {}),
        ("Straße 100%", {"model": "qwen3:32b"}, now - timedelta(hours=2), {"a": 1}),
        ("new", {"model": "llama3", "status": "error", "error": "boom [x]"}, now, {"a": 2, "b": None}),
    ]
    for prompt, facts, started, tags in table:
        asked, reply = request(prompt, origin=Origin(tags=tags)), begun(started_at=started)
        run_sync(log.begin(asked, reply, demo))
        log.finish(asked, ended(reply, **facts))

    def found(**kw: object) -> list[str]:
        return frames.log(**kw)["prompt"].str[:3].tolist()  # type: ignore[arg-type]

    assert found() == ["old", "Str", "new"]
    assert found(last=2) == ["Str", "new"] and found(last=0) == []
    assert (
        found(since="7d")
        == found(since=now - timedelta(days=7))
        == found(since=timedelta(days=7))
        == ["Str", "new"]
    )
    assert found(since="1h") == ["new"] and len(found(since=date(2000, 1, 1))) == 3
    assert found(since="2000-01-01", model="qwen3*") == ["old", "Str"]
    assert found(model=["llama3", "qwen3:8b"]) == ["old", "new"] and found(model=[]) == []
    assert found(status="error") == ["new"] and found(status=["ok", "lost"]) == ["old", "Str"]
    assert found(search="STRASSE 100%") == ["Str"] and found(search="boom [") == ["new"]
    assert found(search="%") == ["Str"]
    assert found(tags="a") == ["Str", "new"] and found(tags={"a": 2}) == ["new"]
    assert found(tags=["a", "b"]) == ["new"] and found(tags={"b": None}) == ["new"]
    assert found(tags={"a": np.int64(2)}) == ["new"] and found(tags={"a": object()}) == []
    assert len(frames.log(search="new", text=False)) == 1


def test_a_models_name_is_itself_and_two_signs_are_patterns() -> None:
    """Brackets of local quantised names are brackets; an alias finds what it stands for."""
    names = ["tiny[q4]", "tinyq", "tiny4", "[tiny]"]
    for model in names:
        hx.ask("Where", model=model, endpoint="demo")
    aliases()["mine"] = "tiny[q4]"

    def found(*models: str) -> list[str]:
        return frames.log(model=models)["model_requested"].tolist()

    assert [found(name) for name in names] == [[name] for name in names]
    assert (found("tiny?"), found("tiny*"), found("mine")) == (names[1:3], names[:3], names[:1])
    assert found("\ud800") == [] and frames.log(search="\ud800").empty


def test_scopes_tell_processes_and_notebooks_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """`kernel` is this process; `notebook` goes by name, and without one says that it cannot."""
    log = current_log()
    run_sync(record(log, request("mine", origin=Origin(notebook="a.ipynb"))))
    log.write(lambda c: c.execute("UPDATE processes SET pid = pid + 1"))
    assert frames.log().empty
    assert frames.log("all")["prompt"].tolist() == ["mine"]
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    assert frames.log("notebook")["prompt"].tolist() == ["mine"]
    monkeypatch.delenv("JPY_SESSION_NAME")
    with pytest.warns(UserWarning, match="does not know its notebook's name") as warned:
        warnings.simplefilter("always")
        assert frames.log("notebook").empty and frames.log("notebook").empty
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"scope": "al"}, "Did you mean 'all'"),
        ({"status": "eror"}, "Did you mean 'error'"),
        ({"since": "tomorrow-ish"}, "is no time"),
        ({"last": -1}, "not a number of rows"),
        ({"last": np.float64(1)}, "not a number of rows"),
        ({"since": date.min}, "no moment in time"),
        ({"tags": {("a", "b"): 1}}, "a key that no tag can have"),
    ],
)
def test_a_filter_that_makes_no_sense_is_one_sentence(keywords: dict[str, object], sentence: str) -> None:
    """A wrong keyword is a ConfigError that names what would do."""
    with pytest.raises(ConfigError, match=sentence):
        frames.log(**keywords)  # type: ignore[arg-type]


def test_words_are_stored_once() -> None:
    """A system prompt, an attachment and a parent's messages are not stored again with each row."""
    log = current_log()
    picture = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 8).decode()
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": picture}}]
    first = [{"role": "user", "content": parts}]
    system = "a long system prompt " * 50
    one = run_sync(record(log, request(first, system=system, origin=Origin("chat", "t"))))
    history = [*first, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "and now?"}]
    origin = Origin("chat", "t", one.exchange_id, new_from=3)
    run_sync(record(log, request(history, system=system, origin=origin), text="still"))
    run_sync(record(log, request(first)))
    log.flush()
    stored = sqlite3.connect(log.path)
    assert stored.execute("SELECT count(*), max(text) FROM texts").fetchone() == (1, system)
    assert stored.execute("SELECT count(*), length(max(data)) FROM attachments").fetchone() == (1, 2048)
    assert stored.execute("SELECT prompt, messages FROM payloads ORDER BY number").fetchall()[1] == (
        "and now?",
        None,
    )
    stored.close()
    shown = frames.transcript("t")
    assert shown["role"].tolist() == ["system", "user", "assistant", "user", "assistant"]
    assert shown["content"].tolist() == [system, "look\n[image]", "hi", "and now?", "still"]
    assert shown["content"].equals(frames.transcript(one)["content"])


def test_a_list_of_messages_and_tool_calls_can_be_read_again() -> None:
    """A prompt of many roles, and an answer that calls a tool, come back in the transcript."""
    log = current_log()
    call = ToolCall("c1", "add", '{"a": 1}')
    asked = request(
        [
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": None, "tool_calls": [call.to_wire()]},
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
        ]
    )
    reply = run_sync(record(log, asked, text="", tool_calls=(call,)))
    assert frames.log()["prompt"].tolist() == ["1+1?"]
    shown = frames.transcript(reply.exchange_id)
    assert shown["content"].tolist() == ["1+1?", '[call add({"a": 1})]', "2", '[call add({"a": 1})]']
    assert log.replies([reply.exchange_id])[reply.exchange_id].tool_calls == (call,)


def test_a_transcript_starts_where_the_conversation_did() -> None:
    """A forked thread shows what it grew out of; a thread nobody knows is one sentence."""
    log = current_log()
    one = run_sync(record(log, request("one", origin=Origin("chat", "a")), text="1"))
    run_sync(record(log, request("two", origin=Origin("chat", "a", one.exchange_id)), text="2"))
    run_sync(record(log, request("fork", origin=Origin("chat", "b", one.exchange_id)), text="3"))
    assert frames.transcript("b")["content"].tolist() == ["one", "1", "fork", "3"]
    assert frames.transcript("a")["content"].tolist() == ["one", "1", "two", "2"]
    with pytest.raises(ConfigError, match="no thread 'c'"):
        frames.transcript("c")


def test_no_byte_of_a_key_reaches_the_file() -> None:
    """A key in prompts, system, parameters, tags, answers or errors is not in the file or its WAL."""
    key = "hl-canary-0123456789abcdefghij"
    connect("http://127.0.0.1:9/v1", key=key, name="canary")
    log = current_log()
    messages = [{"role": "user", "content": f"a {key}"}, {"role": "user", "content": f"b {key}"}]
    asked = request(messages, system=f"s {key}", params={"stop": [key]}, origin=Origin(tags={key: key}))
    run_sync(record(log, asked, text=f"t {key}", reasoning=f"r {key}", error=f"e {key}", status="error"))
    log.flush()
    assert log.path is not None
    for path in log.path.parent.glob("log.db*"):
        assert key.encode() not in path.read_bytes(), path
    row = frames.log().iloc[0]
    assert (row["response"], row["error"], row["system"]) == ("t [key]", "e [key]", "s [key]")
    assert json.loads(row["params"]) == {"stop": ["[key]"]}


def test_text_that_is_no_text_is_kept_as_well_as_can_be() -> None:
    """Lone surrogates and NUL characters lose nothing else."""
    run_sync(record(current_log(), request("a\ud800b\x00c"), text="x\udfffy"))
    row = frames.log().iloc[0]
    assert (row["prompt"], row["response"]) == ("a?b\x00c", "x?y")


def test_the_file_is_its_owners_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new folder is 0700, the file and its companions 0600."""
    path = tmp_path / "deep" / "folder" / "log.db"
    monkeypatch.setenv("HELIX_NB_LOG", str(path))
    run_sync(record(current_log()))
    current_log().flush()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    companions = list(path.parent.iterdir())
    assert len(companions) == 3
    assert {stat.S_IMODE(each.stat().st_mode) for each in companions} == {0o600}


def test_a_file_that_was_there_becomes_its_owners_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file that everybody may read is taken as the log, and is nobody else's to read any more."""
    path = tmp_path / "log.db"
    path.touch(0o644)
    monkeypatch.setenv("HELIX_NB_LOG", str(path))
    run_sync(record(current_log()))
    current_log().flush()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "value", [np.array(["a", "b"]), pd.Series(["a", "b"]), pd.Index(["a", "b"]), ("a", "b")]
)
def test_parameters_from_numpy_and_pandas_are_recorded(value: Any) -> None:
    """An array as a parameter is a list in the row, as it is in the request."""
    asked = Request((Message("user", "x"),), "m", {"stop": value, "seed": np.int64(3)})
    run_sync(record(current_log(), asked))
    assert json.loads(frames.log().iloc[0]["params"]) == {"stop": ["a", "b"], "seed": 3}


def test_two_long_arrays_are_two_requests() -> None:
    """The identity of a request goes by every item of an array, not by how it prints."""
    one, other = np.arange(5000), np.arange(5000)
    other[2500] = 0
    digests = {Request((Message("user", "x"),), "m", {"ids": ids}).digest() for ids in (one, other)}
    assert len(digests) == 2


def test_the_last_rows_by_a_number_of_numpy() -> None:
    """`last` takes any whole number."""
    for text in ("one", "two"):
        run_sync(record(current_log(), text=text))
    assert frames.log(last=np.int64(1))["response"].tolist() == ["two"]  # type: ignore[arg-type]


def test_memory_and_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """:memory: serves this kernel and leaves no file; off keeps nothing and still reads as a frame."""
    monkeypatch.setenv("HELIX_NB_LOG", ":memory:")
    reply = run_sync(record(current_log(), text="kept"))
    assert frames.log(last=1)["response"].tolist() == ["kept"]
    assert current_log().replies([str(reply.exchange_id)])
    monkeypatch.setenv("HELIX_NB_LOG", "off")
    run_sync(record(current_log()))
    assert dtypes(frames.log("all")) == DTYPES and frames.log("all").empty
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_every_older_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows written by an older helix_nb are still there, beside new ones."""
    for version in range(1, schema.VERSION):
        path = tmp_path / f"version{version}.db"
        old = sqlite3.connect(path)
        for step in schema.STEPS[:version]:
            old.executescript(step)
        old.execute(f"PRAGMA user_version = {version}")
        old.execute("INSERT INTO processes VALUES (1, 'elsewhere', 1, 1, 'k', '0.0.1')")
        old.execute(
            "INSERT INTO exchanges (id, process, status, started_at) VALUES ('old', 1, 'ok', 1000000)"
        )
        old.commit()
        old.close()
        monkeypatch.setenv("HELIX_NB_LOG", str(path))
        new = run_sync(record(current_log()))
        frame = frames.log("all")
        assert frame["id"].tolist() == ["old", new.exchange_id]
        assert frame["started_at"].iloc[0] == pd.Timestamp(1, unit="s", tz="UTC")


def newer(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 999")


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE notes (text TEXT)")


def unreadable(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)


def blocked(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file where the folder should be")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (newer, "newer helix_nb"),
        (foreign, "another program's"),
        (unreadable, "not a log"),
        (blocked, "cannot be written"),
    ],
)
def test_a_log_that_cannot_be_kept_warns_once_and_loses_no_answer(
    spoil: object, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning says what to do; this kernel's exchanges stay readable from memory."""
    path = tmp_path / "log" / "log.db"
    path.parent.mkdir()
    spoil(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else None
    monkeypatch.setenv("HELIX_NB_LOG", str(path))
    with pytest.warns(UserWarning, match=sentence) as warned:
        for _ in range(3):
            run_sync(record(current_log()))
        assert frames.log()["response"].tolist() == ["hi"] * 3
    assert len(warned) == 1 and "in memory only" in str(warned[0].message)
    assert before is None or path.read_bytes() == before
    assert current_log().problem is not None


def test_a_file_that_cannot_grow_is_left_with_one_warning() -> None:
    """When the disk is full the log goes on in memory, with what the file already holds."""
    log = current_log()
    run_sync(record(log, request("early")))
    log.flush()
    log.write(lambda c: c.execute(f"PRAGMA max_page_count = {c.execute('PRAGMA page_count').fetchone()[0]}"))
    with pytest.warns(UserWarning, match="disk is full.*in memory only") as warned:
        for number in range(20):
            run_sync(record(log, request(f"late {number}"), text="x" * 20_000))
        frame = frames.log("all")
    assert len(warned) == 1
    assert set(frame["prompt"]) == {"early", *(f"late {number}" for number in range(20))}
    assert (frame["status"] == "ok").all() and frame["id"].is_unique


def test_where_locks_cannot_be_trusted_each_kernel_has_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system kernels write side by side, and `all` reads all their files."""
    path = tmp_path / "net" / "log.db"
    one, two = Log(LogLocation(path=path, per_kernel=True)), Log(LogLocation(path=path, per_kernel=True))
    run_sync(record(one, request("one")))
    assert one.path is not None and one.path != path and one.path.parent == path.parent
    one.close()
    one.path.rename(path.with_name("log-kernel-other-1.db")) if one.path else None
    run_sync(record(two, request("two")))
    found = frames.frame_of(two, filter_of("all"))
    assert found["prompt"].tolist() == ["one", "two"]
    mounts = [("/", "ext4"), ("/home", "nfs4"), ("/home/local", "xfs")]
    assert is_network(Path("/home/me"), mounts)
    assert not is_network(Path("/home/local/x"), mounts) and not is_network(Path("/homely"), mounts)


def test_a_kernels_own_file_that_cannot_grow_is_read_once(tmp_path: Path) -> None:
    """What it holds is read beside the memory in which the log goes on, and not a second time by its name."""
    log = Log(LogLocation(path=tmp_path / "log.db", per_kernel=True))
    run_sync(record(log))
    own = log.path
    log.write(lambda c: c.execute(f"PRAGMA max_page_count = {c.execute('PRAGMA page_count').fetchone()[0]}"))
    with pytest.warns(UserWarning, match="disk is full"):
        run_sync(record(log, text="x" * 200_000))
        log.flush()
    assert (log.path, log.other_files()) == (None, [own])


def test_the_default_place_is_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without HELIX_NB_LOG the file is platformdirs' helix_nb/log.db; a folder gets a log.db."""
    monkeypatch.delenv("HELIX_NB_LOG")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert str(log_location().path).endswith("helix_nb/log.db")
    assert log_location(str(Path.cwd())).path == Path.cwd() / "log.db"


def test_paused_and_unlogged_requests_leave_no_row() -> None:
    """`paused()` and `Origin(log=False)` write nothing, not even the end of what began inside."""
    log = current_log()
    with log.paused():
        run_sync(record(log))
    run_sync(record(log, request(origin=Origin(log=False))))
    assert frames.log("all").empty


def test_batches_share_exchanges_through_links_and_work_through_claims() -> None:
    """Rows link to the exchange that answers them; what a living process claimed is not granted again."""
    log = current_log()
    batched = Origin("batch", batch_id="b")
    asked = [request("a", origin=batched), request("b", origin=batched), request("c")]
    first, _, reused = (
        run_sync(record(log, one, status=status))
        for one, status in zip(asked, ("ok", "error", "ok"), strict=True)
    )
    ids = [one.digest("demo") for one in asked]
    log.link(
        "b", [Link(0, "0", first.exchange_id, ids[0], None), Link(1, "1", reused.exchange_id, ids[2], None)]
    )
    assert log.answer_ids("b", ids) == {ids[0]: [first.exchange_id], ids[2]: [reused.exchange_id]}
    assert log.claim("b", ["x", "y"]) == {"x", "y"} == log.claim("b", ["x", "y"])
    log.release("b", ["x"])
    log.write(lambda c: c.execute("INSERT INTO processes VALUES (98, 'elsewhere', 1, 1, 'k', '0')"))
    mine = "FROM processes WHERE host <> 'elsewhere'"
    log.write(lambda c: c.execute(f"INSERT INTO processes SELECT 99, host, pid, 1, 'k', '0' {mine}"))
    log.write(lambda c: c.executemany("INSERT INTO claims VALUES ('b', ?, ?)", [("alive", 98), ("dead", 99)]))
    assert log.claim("b", ["alive", "dead", "x"]) == {"dead", "x"}
