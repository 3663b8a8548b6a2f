"""Open a log so that several kernels can share it, or say in one sentence why it cannot be."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from . import schema
from .location import LogLocation
from .processes import this_process

BUSY_TIMEOUT_S = 30.0
WAL_LIMIT_BYTES = 64 * 1024 * 1024
CHECKPOINT_PAGES = 4000  # four times SQLite's: a hot page goes into the file once for more of its rows
# A network file system cannot be trusted with locks; a file that one kernel owns needs none.
NO_LOCKS = "win32-none" if os.name == "nt" else "unix-none"
FileId = tuple[int, int] | None


class LogProblem(Exception):
    """The log cannot be kept where it was wanted; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """An open log. `shared` says whether other connections may read it while this one writes."""

    connection: sqlite3.Connection
    path: Path | None
    shared: bool
    salt: bytes
    process: int
    files: dict[Path, FileId] = field(default_factory=dict)  # the file and its companions, when it was opened

    @property
    def moved(self) -> bool:
        """Whether somebody deleted the file, moved it away, or put another one in its place."""
        return any(_named(path) != file for path, file in self.files.items() if path == self.path)

    def leave(self) -> None:
        """Close a file that was moved: whole where it is now, and in the way of no new one."""
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:  # others use it too, and the last of them does it
            pass
        for path, file in self.files.items():
            if path != self.path and _named(path) == file:  # with these, a new file would be read wrongly
                path.unlink(missing_ok=True)
        self.connection.close()


def open_store(place: LogLocation) -> LogFile:
    """Open the log at a place, creating it; raises LogProblem."""
    if place.path is None:
        return open_memory()
    try:
        if not place.alone:
            try:
                return _open_shared(place.path)
            except _WalRefused:
                pass
        return _open_alone(place.path)
    except LogProblem:
        raise
    except (OSError, sqlite3.Error) as failure:
        raise LogProblem(explained(place.path, failure)) from failure


def open_memory() -> LogFile:
    """Open a log that lasts as long as this process."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    return _prepared(connection, None, shared=False)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a second connection that only reads; close it soon, or the WAL grows."""
    vfs = f"&vfs={NO_LOCKS}" if is_alone(path) else ""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=ro{vfs}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )


def obstacle(path: Path) -> str | None:
    """Why a file that is there cannot be the log, in one sentence; None where it can."""
    try:
        with closing(open_reader(path)) as connection:
            _check_version(connection, path)
    except LogProblem as problem:
        return str(problem)
    except sqlite3.Error as failure:
        return explained(path, failure)
    return None


def is_alone(path: Path) -> bool:
    """Whether a file is one kernel's own, by its name."""
    return re.fullmatch(r".+-kernel-[\w.-]+\.db", path.name) is not None


def alone_beside(path: Path) -> list[Path]:
    """Each kernel's own file beside a log, as far as its folder can be read."""
    try:
        names = sorted(os.listdir(path.parent))  # noqa: PTH208 - raises what is caught here
    except OSError:
        return []
    own = [path.with_name(name) for name in names if name.startswith(f"{path.stem}-kernel-")]
    return [each for each in own if is_alone(each)]


class _WalRefused(Exception):
    """The file system cannot do WAL."""


def _open_shared(path: Path) -> LogFile:
    _create(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _check_version(connection, path)
        _make_private(path)
        if _journal_mode(connection) != "wal":
            raise _WalRefused
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return _prepared(connection, path, shared=True)
    except BaseException:
        connection.close()
        raise


def _open_alone(path: Path) -> LogFile:
    name = re.sub(r"[^\w.-]", "_", this_process().kernel_id)
    path = path.with_name(f"{path.stem}-kernel-{name}-{os.getpid()}.db")
    _create(path)
    uri = f"{path.as_uri()}?vfs={NO_LOCKS}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    _check_version(connection, path)
    _make_private(path)
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    return _prepared(connection, path, shared=False)


def _create(path: Path) -> None:
    """Make the file before SQLite does: what people ask is nobody else's to read."""
    if not path.is_absolute():
        raise LogProblem(f"{path} is in no folder that there is: set HELIX_NB_LOG to an absolute path.")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # another kernel may be making it now
    if path.exists() and not path.is_file():
        raise LogProblem(f"{path} is no file: point HELIX_NB_LOG at one, or set it to off for no log.")
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _make_private(path: Path) -> None:
    """Hide a log that somebody made readable, with a plain `touch` say; its companions too."""
    for each in _with_companions(path):
        if hasattr(os, "getuid") and each.exists() and each.stat().st_uid == os.getuid():
            each.chmod(0o600)


def _journal_mode(connection: sqlite3.Connection) -> str:
    """Ask for WAL; the busy timeout does not cover this switch, so wait here."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as failure:
            if "locked" not in str(failure) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > schema.VERSION:
        raise LogProblem(
            f"{path} was written by a newer helix_nb (log version {version}, this one knows up to "
            f"{schema.VERSION}): upgrade helix_nb, or point HELIX_NB_LOG at another file."
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "exchanges" not in tables:
        raise LogProblem(f"{path} is another program's database: point HELIX_NB_LOG at a file of its own.")


def _prepared(connection: sqlite3.Connection, path: Path | None, *, shared: bool) -> LogFile:
    connection.execute("PRAGMA secure_delete = ON")
    schema.upgrade(connection)
    salt, process = _registered(connection)
    files = {} if path is None else {each: _named(each) for each in _with_companions(path)}
    return LogFile(connection, path, shared, salt, process, files)


def _with_companions(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{ending}") for ending in ("", "-wal", "-shm")]


def _named(path: Path) -> FileId:
    """Which file a path names now, or None."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _registered(connection: sqlite3.Connection) -> tuple[bytes, int]:
    from ..._version import __version__

    me = this_process()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('salt', ?)", (secrets.token_bytes(32),))
    connection.execute(
        "INSERT OR IGNORE INTO processes (host, pid, started_ms, kernel_id, version) VALUES (?, ?, ?, ?, ?)",
        (me.host, me.pid, me.started_ms, me.kernel_id, __version__),
    )
    salt = connection.execute("SELECT value FROM meta WHERE key = 'salt'").fetchone()[0]
    process = connection.execute(
        "SELECT id FROM processes WHERE host = ? AND pid = ? AND started_ms = ? AND kernel_id = ?",
        (me.host, me.pid, me.started_ms, me.kernel_id),
    ).fetchone()[0]
    connection.execute("COMMIT")
    return salt, process


def explained(path: Path | None, failure: Exception) -> str:
    """One sentence about a failing log file: what happened and what to do."""
    text = getattr(failure, "strerror", None) or str(failure)
    if "not a database" in text or "malformed" in text:
        return (
            f"{path} is not a log that can be read ({text}): move it away, or point HELIX_NB_LOG elsewhere."
        )
    if "locked" in text:
        return f"{path} stayed locked by another program for {BUSY_TIMEOUT_S:.0f} s: close it there."
    if "full" in text:
        return f"{path} cannot grow, the disk is full: make room, or point HELIX_NB_LOG elsewhere."
    return f"{path} cannot be written ({text}): make it writable, or point HELIX_NB_LOG elsewhere."
