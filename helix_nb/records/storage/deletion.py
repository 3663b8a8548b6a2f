"""Delete exchanges from a log for good: their bytes leave the file, not only their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ...errors import ConfigError, HelixError, warn
from .log import Log
from .log_file import BUSY_TIMEOUT_S, describe_failure, transaction

CHECKPOINT_WAIT_S = 2.0
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
Condition = tuple[str, Sequence[Any]]  # on `e`, a row of exchanges, and its values
Change = Callable[[sqlite3.Connection], int]  # returns how many exchanges it deleted


def delete(log: Log, condition: Condition, batch: str | None = None) -> int:
    """Delete the exchanges of a condition in every file of the log, and return how many there were.

    `batch` names a batch to delete completely: the links of rows that were never asked hold labels too.
    """

    def change(connection: sqlite3.Connection) -> int:
        connection.execute("DELETE FROM links WHERE batch_id = ?", (batch,))
        return _delete(connection, condition)

    return _in_every_file(log, change)


def shrink(log: Log, max_bytes: int) -> int:
    """Delete the oldest exchanges until each file holds no more than so many bytes; return how many."""
    return _in_every_file(log, lambda connection: _delete_oldest(connection, max_bytes), vacuum=True)


def _delete(connection: sqlite3.Connection, condition: Condition) -> int:
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


def _delete_oldest(connection: sqlite3.Connection, max_bytes: int) -> int:
    deleted = 0
    while (used := size_bytes(connection)) > max_bytes:
        count = int(connection.execute("SELECT count(*) FROM exchanges").fetchone()[0])
        if count == 0:
            break
        share = max(1, int(count * (1 - max_bytes / used)))
        oldest = "e.number IN (SELECT number FROM exchanges ORDER BY started_at, number LIMIT ?)"
        deleted += _delete(connection, (oldest, [share]))
    return deleted


def size_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes that hold something; deleted rows leave room that is used again."""
    pages, free, page = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page


def _in_every_file(log: Log, change: Change, *, vacuum: bool = False) -> int:
    log.flush()
    deleted = log.write(change) or 0
    log.outside_transaction(lambda connection: _checkpoint(connection, vacuum=vacuum))
    for path in log.other_files():
        deleted += _in_file(path, change, vacuum=vacuum)
    return deleted


def _in_file(path: Path, change: Change, *, vacuum: bool) -> int:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA secure_delete = ON")
            with transaction(connection):
                deleted = change(connection)
            _checkpoint(connection, vacuum=vacuum)
            return deleted
    except sqlite3.Error as failure:
        raise HelixError(describe_failure(path, failure)) from None


def _checkpoint(connection: sqlite3.Connection, *, vacuum: bool) -> None:
    """Bring a change into the file itself and empty the WAL, which still holds the old pages."""
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


def parse_size(size: int | str) -> int:
    """Return the bytes that a size means: a number of them, or "500 MB", "2 GB".

    Raises:
        ConfigError: it means none.
    """
    text = str(size).strip().upper()
    number = text.rstrip("KMGB ")
    try:
        in_bytes = int(float(number) * UNITS[text[len(number) :].strip() or "B"])
    except (KeyError, ValueError, OverflowError):
        in_bytes = -1
    if in_bytes < 0:
        raise ConfigError(f'max_size={size!r} is no size: say "500 MB", "2 GB" or a number of bytes.')
    return in_bytes
