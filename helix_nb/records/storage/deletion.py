"""Take exchanges out of a log for good: their bytes leave the file, not only their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import ConfigError, HelixError, warn
from .log import Log
from .log_file import BUSY_TIMEOUT_S, explained

CHECKPOINT_WAIT_S = 2.0
Condition = tuple[str, Sequence[Any]]


def forget(log: Log, condition: Condition, batch: str | None = None) -> int:
    """Delete the exchanges that a condition on `e` selects, in every file of the log; returns how many.

    `batch` is the one that goes whole: the links of rows that were never asked hold their labels.
    """

    def change(connection: sqlite3.Connection) -> int:
        connection.execute("DELETE FROM links WHERE batch_id = ?", (batch,))
        return delete(connection, condition)

    return _everywhere(log, change)


def shrink(log: Log, max_bytes: int) -> int:
    """Delete the oldest exchanges until what is stored takes no more than so many bytes."""
    return _everywhere(log, lambda connection: _delete_oldest(connection, max_bytes), vacuum=True)


def delete(connection: sqlite3.Connection, condition: Condition) -> int:
    """Delete exchanges with all that only they used; inside a transaction."""
    where, values = condition
    connection.execute("DROP TABLE IF EXISTS temp.doomed")
    connection.execute("CREATE TEMP TABLE doomed (number INTEGER PRIMARY KEY, id TEXT)")
    chosen = f"SELECT e.number, e.id FROM exchanges e WHERE {where}"  # noqa: S608 - conditions from here
    connection.execute(f"INSERT INTO doomed {chosen}", values)
    for table in ("payloads", "exchanges", "attached"):
        connection.execute(f"DELETE FROM {table} WHERE number IN (SELECT number FROM doomed)")  # noqa: S608
    connection.execute("DELETE FROM links WHERE exchange_id IN (SELECT id FROM doomed)")
    connection.execute(
        "DELETE FROM texts WHERE hash NOT IN (SELECT system_hash FROM payloads WHERE system_hash IS NOT NULL)"
    )
    connection.execute("DELETE FROM attachments WHERE hash NOT IN (SELECT hash FROM attached)")
    return int(connection.execute("SELECT count(*) FROM doomed").fetchone()[0])


def size_bytes(connection: sqlite3.Connection) -> int:
    """The bytes that hold something; deleted rows leave room that is used again."""
    pages, free, page = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page


def _delete_oldest(connection: sqlite3.Connection, max_bytes: int) -> int:
    gone = 0
    while (used := size_bytes(connection)) > max_bytes:
        count = int(connection.execute("SELECT count(*) FROM exchanges").fetchone()[0])
        if count == 0:
            break
        some = max(1, int(count * (1 - max_bytes / used)))
        oldest = "e.number IN (SELECT number FROM exchanges ORDER BY started_at, number LIMIT ?)"
        gone += delete(connection, (oldest, [some]))
    return gone


def _everywhere(log: Log, change: Any, *, vacuum: bool = False) -> int:
    log.flush()
    gone = log.do(change) or 0
    log.outside_transaction(lambda connection: _settle(connection, vacuum=vacuum))
    for path in log.other_files():
        gone += _in_file(path, change, vacuum=vacuum)
    return gone


def _in_file(path: Path, change: Any, *, vacuum: bool) -> int:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        gone = int(change(connection))
        connection.execute("COMMIT")
        _settle(connection, vacuum=vacuum)
        return gone
    except sqlite3.Error as failure:
        raise HelixError(explained(path, failure)) from None
    finally:
        connection.close()


def _settle(connection: sqlite3.Connection, *, vacuum: bool) -> None:
    """Bring the change into the file itself and empty the WAL, which still holds the old pages."""
    if vacuum:
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError:  # others are writing; the room is used again anyway
            pass
    connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_S * 1000:.0f}")
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
    if busy:
        warn(
            "Another program is reading the log: what was deleted leaves the file once it is done "
            "and anything is deleted again."
        )


def bytes_of(size: int | str) -> int:
    """Read a size: a number of bytes, or "500 MB", "2 GB"."""
    units = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
    text = str(size).strip().upper()
    number = text.rstrip("KMGB ")
    try:
        size_bytes = int(float(number) * units[text[len(number) :].strip() or "B"])
        if size_bytes >= 0:
            return size_bytes
        raise ValueError
    except (KeyError, ValueError, OverflowError):
        raise ConfigError(
            f'max_size={size!r} is no size: say "500 MB", "2 GB" or a number of bytes.'
        ) from None
