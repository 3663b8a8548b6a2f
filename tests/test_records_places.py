"""Where the log may be pointed at, and what becomes of it when its file goes away."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from records_fixtures import child, output, record, request

import helix_nb as hx
from helix_nb.records.storage.location import log_location
from helix_nb.records.storage.log import current_log
from helix_nb.runtime.loop import run_sync


def no_file(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe", 0o666)
    (tmp_path / "pipe").chmod(0o666)
    return str(tmp_path / "pipe")


def closed_folder(tmp_path: Path) -> str:
    (tmp_path / "closed" / "in").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    return str(tmp_path / "closed" / "in" / "log.db")


PLACES = [
    pytest.param(lambda tmp_path: "~nobody-of-this-name/log.db", "in no folder that there is", id="no home"),
    pytest.param(lambda tmp_path: str(tmp_path / ("a" * 300)), "File name too long", id="long name"),
    pytest.param(no_file, "is no file", id="no file"),
    pytest.param(
        closed_folder,
        "Permission denied",
        id="closed folder",
        marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder"),
    ),
]


@pytest.mark.parametrize(("place", "sentence"), PLACES)
def test_a_place_that_cannot_hold_a_log_costs_no_answer(
    place: object, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning, the answer, its row in memory, and nothing new in the working directory."""
    setting = place(tmp_path)  # type: ignore[operator]
    monkeypatch.setenv("HELIX_NB_LOG", setting)
    before = sorted(tmp_path.iterdir())
    with pytest.warns(UserWarning, match=sentence) as warned:
        assert str(hx.ask("What is the capital of France?", endpoint="demo"))
        assert hx.log()["status"].tolist() == ["ok"]
        assert hx.logbook.info().exchanges == 1
    assert len(warned) == 1 and sorted(tmp_path.iterdir()) == before
    doctor = subprocess.run(
        [sys.executable, "-m", "helix_nb", "doctor", "--offline"], capture_output=True, text=True, check=False
    )
    assert doctor.returncode == 1 and "set HELIX_NB_LOG" in doctor.stdout and not doctor.stderr


def test_what_is_not_the_log_keeps_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device, a pipe or somebody's notes are refused and left as they are, bytes and permissions."""
    pipe, notes = Path(no_file(tmp_path)), tmp_path / "notes.txt"
    notes.write_text("my notes, not a database")
    notes.chmod(0o644)
    for path in (pipe, notes):
        monkeypatch.setenv("HELIX_NB_LOG", str(path))
        with pytest.warns(UserWarning, match="in memory only"):
            run_sync(record(current_log()))
            current_log().flush()
    assert stat.S_IMODE(pipe.stat().st_mode) == 0o666 and stat.S_IMODE(notes.stat().st_mode) == 0o644
    assert notes.read_text() == "my notes, not a database"


def test_a_log_that_was_made_readable_is_its_owners_only_again() -> None:
    """The next kernel that opens it hides the file and its companions."""
    run_sync(record(current_log()))
    path = current_log().path
    assert path is not None
    current_log().close()
    path.chmod(0o644)
    run_sync(record(current_log()))
    current_log().flush()
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.glob("log.db*")}
    assert modes == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm"), 0o600)


def test_memory_is_meant_however_it_is_spelled() -> None:
    """`:MEMORY:` is no file of that name."""
    assert log_location(" :Memory: ").path is None and log_location(":MEMORY:").enabled


@pytest.mark.parametrize("companions", [True, False])
def test_a_deleted_log_begins_anew(companions: bool) -> None:
    """Whoever deletes the file under a kernel is told once; what is asked then is kept, for all to read."""
    run_sync(record(current_log(), request("before")))
    path = current_log().path
    assert path is not None
    current_log().flush()
    for each in path.parent.glob("log.db*" if companions else "log.db"):
        each.unlink()
    with pytest.warns(UserWarning, match="was deleted or moved") as warned:
        assert hx.log("all").empty
        run_sync(record(current_log(), request("after")))
        assert hx.log()["prompt"].tolist() == ["after"]
    assert len(warned) == 1 and current_log().problem is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = output(child("import helix_nb as hx; print(hx.log('all')['prompt'].tolist())", path))
    assert told.strip() == "['after']"


def test_a_script_that_tidies_its_log_away_leaves_nothing(tmp_path: Path) -> None:
    """With nothing more to write, leaving neither makes the folder anew nor says a word."""
    folder = tmp_path / "temporary"
    script = (
        "import shutil, helix_nb as hx; hx.ask('hi', endpoint='demo'); assert len(hx.log()) == 1; "
        f"shutil.rmtree({str(folder)!r})"
    )
    told, warned = child(script, folder / "log.db").communicate(timeout=60)
    assert (told, warned) == ("", "") and not folder.exists()


def test_a_log_that_is_moved_away_is_whole_where_it_is_now(tmp_path: Path) -> None:
    """Rows are in one file or the other, the moved one can be read, and new kernels use the new one."""
    log, moved = current_log(), tmp_path / "kept.db"
    for number in range(5):
        run_sync(record(log, request(f"old {number}")))
    log.flush()
    path = log.path
    assert path is not None
    path.rename(moved)
    with pytest.warns(UserWarning, match="was deleted or moved"):
        run_sync(record(log, request("new")))
        log.flush()
    ask = "run(record(log)); import helix_nb as hx; print(len(hx.log('all')), hx.logbook.info().problem)"
    assert output(child(ask.replace("run(", "asyncio.run("), path)).split() == ["2", "None"]
    with sqlite3.connect(f"{moved.as_uri()}?immutable=1", uri=True) as file:
        prompts = [prompt for (prompt,) in file.execute("SELECT prompt FROM payloads ORDER BY number")]
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert prompts == [f"old {number}" for number in range(5)]
    assert hx.log()["prompt"].tolist() == ["new"]


def test_what_sqlite_refuses_of_one_job_is_not_the_files_fault() -> None:
    """A job with a value SQLite does not know fails alone; the log stays in its file."""
    log = current_log()
    run_sync(record(log))
    with pytest.raises(sqlite3.ProgrammingError):
        log.write(lambda connection: connection.execute("SELECT ?", (object(),)))
    run_sync(record(log))
    assert len(hx.log()) == 2 and log.problem is None and log.path is not None


def test_a_file_that_is_damaged_under_a_kernel_can_be_moved_away() -> None:
    """Reading says what to do, answers go on, and once the file is away the log begins anew."""
    log = current_log()
    for number in range(20):
        run_sync(record(log, request(f"{number}"), text="x" * 5000))
    log.flush()
    path = log.path
    assert path is not None
    log.outside_transaction(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
    path.write_bytes(path.read_bytes()[:100] + bytes([255]) * (path.stat().st_size - 100))
    with pytest.raises(hx.HelixError, match=r"is not a log that can be read .*: move it away"):
        hx.log()
    assert str(hx.ask("What is the capital of France?", endpoint="demo"))
    path.rename(path.with_name("damaged"))
    with pytest.warns(UserWarning, match="was deleted or moved"):
        assert not set(hx.log()["prompt"]) & {f"{number}" for number in range(20)}
    assert str(hx.ask("What is the capital of Italy?", endpoint="demo"))
    assert hx.log(last=1)["prompt"].tolist() == ["What is the capital of Italy?"]
