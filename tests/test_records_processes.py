"""The log under several processes, sudden deaths, forks and scripts that must exit."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from records_fixtures import begun, child, demo, output, record, request

from helix_nb.records.reading import frames
from helix_nb.records.storage.log import current_log
from helix_nb.runtime.loop import run_sync


def whole(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return connection


def statuses(path: Path) -> dict[str, int]:
    connection = whole(path)
    counts = dict(connection.execute("SELECT status, count(*) FROM exchanges GROUP BY 1").fetchall())
    connection.close()
    return counts


def kill_when(process: subprocess.Popen[str], line: str) -> None:
    """Kill -9 the process as soon as it prints that line."""
    assert process.stdout is not None
    for printed in process.stdout:
        if printed.strip() == line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("processes", "each"),
    [
        (2, 500),
        (8, 50),
        pytest.param(2, 10_000, marks=pytest.mark.slow),
        pytest.param(8, 1_000, marks=pytest.mark.slow),
    ],
)
def test_processes_that_open_a_fresh_file_at_once_lose_no_row(
    processes: int, each: int, tmp_path: Path
) -> None:
    """Every exchange of every process is in the file, finished, once."""
    path = tmp_path / "fresh" / "log.db"
    code = f"asyncio.run(record_all(log, {each}))"
    for started in [child(code, path) for _ in range(processes)]:
        assert output(started, 500) == ""
    assert statuses(path) == {"ok": processes * each}
    connection = whole(path)
    assert connection.execute(
        "SELECT count(DISTINCT process), count(DISTINCT id) FROM exchanges"
    ).fetchone() == (
        processes,
        processes * each,
    )
    connection.close()


def test_kill_in_mid_insert_loses_no_acknowledged_row(tmp_path: Path) -> None:
    """After kill -9 the file is whole, has each row that `begin` had answered for, and takes new ones."""
    path = tmp_path / "log.db"
    code = """
async def main():
    for number in range(100_000):
        await record(log)
        if number == 300: print("kill", flush=True)
asyncio.run(main())
"""
    kill_when(child(code, path), "kill")
    counts = statuses(path)
    assert sum(counts.values()) >= 301
    code = "asyncio.run(record_all(log, 1))"
    output(child(code, path))
    assert statuses(path)["ok"] == counts["ok"] + 1


def test_a_stream_whose_process_died_is_lost_with_its_partial_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row says `lost` from then on; one that still runs says `pending`."""
    path = tmp_path / "log.db"
    monkeypatch.setenv("HELIX_NB_LOG", str(path))
    code = """
from dataclasses import replace
from records_fixtures import begun, demo, request
async def main():
    reply = begun()
    await log.begin(request("long story"), reply, demo)
    log.update(replace(reply, text="Once upon"))
    await log.aflush()
    print("streaming", flush=True)
    time.sleep(600)
asyncio.run(main())
"""
    process = child(code, path)
    assert process.stdout is not None and process.stdout.readline() == "streaming\n"
    running = frames.log("all")
    assert running["status"].tolist() == ["pending"] and running["response"].tolist() == ["Once upon"]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    run_sync(current_log().begin(request("mine"), begun(), demo))
    frame = frames.log("all")
    assert frame["status"].tolist() == ["lost", "pending"] and frame["response"].iloc[0] == "Once upon"
    assert pd.isna(frame["ended_at"].iloc[0])
    assert len(frames.log("all", status="lost")) == len(frames.log("all", status="pending")) == 1
    assert statuses(path) == {"pending": 2}


def test_a_forked_child_writes_rows_of_its_own(tmp_path: Path) -> None:
    """Parent and child both go on logging after a fork, while the parent's writer is at work."""
    path = tmp_path / "log.db"
    code = """
import threading
background = threading.Thread(target=lambda: asyncio.run(record_all(log, 200)))
background.start()
asyncio.run(record_all(log, 5))
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        asyncio.run(record_all(log, 20))
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
background.join()
asyncio.run(record_all(log, 5))
"""
    output(child(code, path), 60)
    assert statuses(path) == {"ok": 310}
    connection = whole(path)
    assert connection.execute("SELECT count(*) FROM processes").fetchone() == (6,)
    connection.close()


@pytest.mark.parametrize(
    "code",
    [
        "asyncio.run(record(log))",
        "asyncio.run(record(log)); pid = os.fork(); asyncio.run(record(log)); pid and os.waitpid(pid, 0)",
        "from helix_nb.runtime.loop import run_sync\nrun_sync(record(log))",
        "asyncio.run(record(log)); raise SystemExit",
    ],
)
def test_a_script_exits_by_itself_with_its_last_row_written(code: str, tmp_path: Path) -> None:
    """Nothing queued is lost at exit and nothing keeps the interpreter."""
    path = tmp_path / "log.db"
    output(child(code, path), 20)
    assert set(statuses(path)) == {"ok"}


def test_what_ends_while_the_interpreter_leaves_is_written(tmp_path: Path) -> None:
    """A stream cut by the end of the script is `interrupted`, not `pending`."""
    path = tmp_path / "log.db"
    code = """
from records_fixtures import begun, demo, ended, request
from helix_nb.runtime.loop import submit
started = __import__("threading").Event()
async def stream():
    reply = begun()
    await log.begin(request(), reply, demo)
    started.set()
    try:
        await asyncio.sleep(600)
    finally:
        log.finish(request(), ended(reply, "half", status="interrupted"))
submit(stream())
started.wait()
"""
    output(child(code, path), 20)
    assert statuses(path) == {"interrupted": 1}


def test_a_locked_file_makes_writers_wait_and_readers_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's transaction delays a row; it does not lose it."""
    log = current_log()
    run_sync(record(log))
    log.flush()
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    reading = sqlite3.connect(f"{log.path.as_uri()}?mode=ro", uri=True)
    from helix_nb.runtime.loop import submit

    waiting = submit(record(log, request("late")))
    assert reading.execute("SELECT count(*) FROM exchanges").fetchone() == (1,)
    assert not waiting.done()
    other.execute("COMMIT")
    waiting.result(timeout=30)
    assert len(frames.log()) == 2
    reading.close()
    other.close()


def test_reading_the_log_does_not_hold_it_open(tmp_path: Path) -> None:
    """A frame in hand pins nothing: the next checkpoint can empty the WAL."""
    log = current_log()
    for _ in range(50):
        run_sync(record(log, text="x" * 2000))
    frame = frames.log()
    assert log.write(lambda c: None) is None
    connection = sqlite3.connect(log.path, timeout=5)
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    connection.close()
    assert len(frame) == 50 and log.path.with_name("log.db-wal").stat().st_size == 0
