"""Open a log so that several kernels can share it, or say in one sentence why it cannot be."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..._version import __version__
from . import schema
from .location import LogLocation, is_per_kernel, per_kernel_path
from .processes import this_process

BUSY_TIMEOUT_S = 30.0
WAL_LIMIT_BYTES = 64 * 1024 * 1024
CHECKPOINT_PAGES = 4000  # four times SQLite's: a hot page goes into the file once for more of its rows
# A network file system cannot be trusted with locks; a file that one kernel owns needs none.
NO_LOCKS = "win32-none" if os.name == "nt" else "unix-none"
FileId = tuple[int, int] | None  # device and inode, or no such file


class LogProblem(Exception):
    """The log cannot be kept at its location; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """An open log."""

    connection: sqlite3.Connection
    path: Path | None  # None is in memory
    shared: bool  # whether other connections may read it while this one writes
    salt: bytes  # the log's own random bytes, stored in it
    process: int  # the id of this process in the table `processes`
    opened: dict[Path, FileId] = field(default_factory=dict)  # what the file and its companions were then

    @property
    def moved(self) -> bool:
        """Whether somebody deleted the file, moved it away, or put another one in its place."""
        return self.path is not None and _file_id(self.path) != self.opened[self.path]

    def close_moved(self) -> None:
        """Close a file that was moved: whole where it is now, and in the way of no new one."""
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:  # others use it too, and the last of them does it
            pass
        for path, file_id in self.opened.items():
            if path != self.path and _file_id(path) == file_id:  # SQLite would apply these to a new file
                path.unlink(missing_ok=True)
        self.connection.close()


def open_log(location: LogLocation) -> LogFile:
    """Open the log at a location, creating it where there is none.

    Raises:
        LogProblem: the log cannot be kept there.
    """
    if location.path is None:
        return open_in_memory()
    with _problems_of(location.path):
        shared = None if location.per_kernel else _open_shared(location.path)
        return shared or _open_per_kernel(location.path)


def open_in_memory() -> LogFile:
    """Open a log that lasts as long as this process."""
    with _connected(":memory:") as connection:
        return _prepare(connection, None, shared=False)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a second connection that only reads; close it soon, or the WAL grows."""
    vfs = f"&vfs={NO_LOCKS}" if is_per_kernel(path) else ""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=ro{vfs}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )


def obstacle(path: Path) -> str | None:
    """Return why an existing file cannot be the log, in one sentence; None where it can."""
    try:
        with _problems_of(path), closing(open_reader(path)) as connection:
            _check_is_log(connection, path)
    except LogProblem as problem:
        return str(problem)
    return None


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a block in one transaction that holds the write lock from its beginning.

    A transaction that reads first and asks for the lock later is refused where another kernel wrote
    meanwhile; no timeout helps.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise


def _open_shared(path: Path) -> LogFile | None:
    """Open a file that kernels share by SQLite's WAL; None where the file system refuses it."""
    _create(path)
    with _connected(path, timeout=BUSY_TIMEOUT_S) as connection:
        _check_is_log(connection, path)
        _make_private(path)
        if _switch_to_wal(connection) != "wal":
            connection.close()
            return None
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return _prepare(connection, path, shared=True)


def _open_per_kernel(shared_path: Path) -> LogFile:
    """Open this kernel's own file beside the shared path."""
    path = per_kernel_path(shared_path, this_process().kernel_id)
    _create(path)
    with _connected(f"{path.as_uri()}?vfs={NO_LOCKS}", uri=True) as connection:
        _check_is_log(connection, path)
        _make_private(path)
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        return _prepare(connection, path, shared=False)


@contextmanager
def _connected(database: Path | str, **options: Any) -> Iterator[sqlite3.Connection]:
    """Connect for the writer, which begins transactions itself; close again where the block fails."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False, **options)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def _create(path: Path) -> None:
    """Create the file before SQLite does, for its owner alone: prompts are private."""
    if not path.is_absolute():
        raise LogProblem(f"{path} is in no folder that there is: set HELIX_NB_LOG to an absolute path.")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # another kernel may be making it now
    if path.exists() and not path.is_file():
        raise LogProblem(f"{path} is no file: point HELIX_NB_LOG at one, or set it to off for no log.")
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _make_private(path: Path) -> None:
    """Make a readable log (made with a plain `touch`, say) and its companions private again."""
    for each in _with_companions(path):
        if hasattr(os, "getuid") and each.exists() and each.stat().st_uid == os.getuid():
            each.chmod(0o600)


def _switch_to_wal(connection: sqlite3.Connection) -> str:
    """Ask for WAL and return the journal mode that holds then; SQLite does not raise where it refuses.

    The busy timeout does not cover this switch, so another kernel that opens the file is waited for here.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as failure:
            if "locked" not in str(failure) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _check_is_log(connection: sqlite3.Connection, path: Path) -> None:
    """Raise LogProblem for another program's database, and for one of a newer helix_nb."""
    version = schema.version_of(connection)
    if version > schema.VERSION:
        raise LogProblem(
            f"{path} was written by a newer helix_nb (log version {version}, this one knows up to "
            f"{schema.VERSION}): upgrade helix_nb, or point HELIX_NB_LOG at another file."
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "exchanges" not in tables:
        raise LogProblem(f"{path} is another program's database: point HELIX_NB_LOG at a file of its own.")


def _prepare(connection: sqlite3.Connection, path: Path | None, *, shared: bool) -> LogFile:
    """Bring a database to this version's tables and enter this process; several may try at once."""
    connection.execute("PRAGMA secure_delete = ON")
    with transaction(connection):
        schema.upgrade(connection)
        salt, process = _register_process(connection)
    opened = {} if path is None else {each: _file_id(each) for each in _with_companions(path)}
    return LogFile(connection, path, shared, salt, process, opened)


def _register_process(connection: sqlite3.Connection) -> tuple[bytes, int]:
    """Return the log's salt, and this process's number in it."""
    this = this_process()
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('salt', ?)", (secrets.token_bytes(32),))
    connection.execute(
        "INSERT OR IGNORE INTO processes (host, pid, started_ms, kernel_id, version) VALUES (?, ?, ?, ?, ?)",
        (this.host, this.pid, this.started_ms, this.kernel_id, __version__),
    )
    salt = connection.execute("SELECT value FROM meta WHERE key = 'salt'").fetchone()[0]
    process = connection.execute(
        "SELECT id FROM processes WHERE host = ? AND pid = ? AND started_ms = ? AND kernel_id = ?",
        (this.host, this.pid, this.started_ms, this.kernel_id),
    ).fetchone()[0]
    return salt, process


def _with_companions(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{ending}") for ending in ("", "-wal", "-shm")]


def _file_id(path: Path) -> FileId:
    """Return which file a path names now; None where it names none that can be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _problems_of(path: Path) -> Iterator[None]:
    """Turn what the system or SQLite raises about a file into a LogProblem."""
    try:
        yield
    except (OSError, sqlite3.Error) as failure:
        raise LogProblem(describe_failure(path, failure)) from failure


_FAILURES = {  # words of SQLite's message -> the sentence
    "not a database": "is not a log that can be read ({}): move it away, or point HELIX_NB_LOG elsewhere.",
    "malformed": "is not a log that can be read ({}): move it away, or point HELIX_NB_LOG elsewhere.",
    "locked": f"stayed locked by another program for {BUSY_TIMEOUT_S:.0f} s: close it there.",
    "full": "cannot grow, the disk is full: make room, or point HELIX_NB_LOG elsewhere.",
    "": "cannot be written ({}): make it writable, or point HELIX_NB_LOG elsewhere.",
}


def describe_failure(path: Path | None, failure: Exception) -> str:
    """Return one sentence about a failing log file: what happened and what to do."""
    message = getattr(failure, "strerror", None) or str(failure)
    sentence = next(sentence for words, sentence in _FAILURES.items() if words in message)
    return f"{path} {sentence.format(message)}"
