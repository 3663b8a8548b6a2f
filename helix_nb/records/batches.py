"""A batch in the log: rows share exchanges through links, and kernels share work through claims."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence

from ..messages import Reply
from .opening import Store
from .process import is_alive
from .rows import reply_of

VARIABLES = 500  # SQLite takes at least 999 in one statement


def link(connection: sqlite3.Connection, batch_id: str, links: Sequence[tuple[int, str, str]]) -> None:
    """Insert or replace the links of some rows."""
    connection.executemany(
        "INSERT OR REPLACE INTO links (batch_id, position, row_key, exchange_id) VALUES (?, ?, ?, ?)",
        [(batch_id, *each) for each in links],
    )


_ANSWERED = """
SELECT p.identity, e.id FROM exchanges e JOIN payloads p USING (number)
WHERE e.status = 'ok' AND p.response IS NOT NULL AND p.identity IS NOT NULL
  AND (e.batch_id = ?1 OR e.id IN (SELECT exchange_id FROM links WHERE batch_id = ?1))
ORDER BY e.started_at, e.number
"""


def answered(connection: sqlite3.Connection, batch_id: str) -> dict[str, str]:
    """Identity -> exchange id of the batch's `ok` rows; of equal ones the newest."""
    return dict(connection.execute(_ANSWERED, (batch_id,)).fetchall())


def replies(connection: sqlite3.Connection, exchange_ids: Collection[str]) -> dict[str, Reply]:
    """The Replies with these ids."""
    found: dict[str, Reply] = {}
    for some in _portions(exchange_ids):
        marks = ", ".join("?" * len(some))
        cursor = connection.execute(
            "SELECT e.*, p.response, p.reasoning, p.tool_calls "  # noqa: S608 - only question marks go in
            f"FROM exchanges e JOIN payloads p USING (number) WHERE e.id IN ({marks})",
            some,
        )
        names = [column[0] for column in cursor.description]
        for row in cursor.fetchall():
            reply = reply_of(dict(zip(names, row, strict=True)))
            found[str(reply.exchange_id)] = reply
    return found


def claim(store: Store, batch_id: str, identities: Collection[str]) -> set[str]:
    """Take what nobody alive holds; run inside BEGIN IMMEDIATE, so two kernels never both get it."""
    connection = store.connection
    _drop_claims_of_the_dead(store, batch_id)
    connection.executemany(
        "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)",
        [(batch_id, identity, store.process) for identity in identities],
    )
    mine = connection.execute(
        "SELECT identity FROM claims WHERE batch_id = ? AND process = ?", (batch_id, store.process)
    ).fetchall()
    return {row[0] for row in mine} & set(identities)


def release(store: Store, batch_id: str, identities: Collection[str] | None) -> None:
    """Delete claims of this process."""
    if identities is None:
        store.connection.execute(
            "DELETE FROM claims WHERE batch_id = ? AND process = ?", (batch_id, store.process)
        )
        return
    store.connection.executemany(
        "DELETE FROM claims WHERE batch_id = ? AND identity = ? AND process = ?",
        [(batch_id, identity, store.process) for identity in identities],
    )


def claimed_elsewhere(store: Store, batch_id: str) -> set[str]:
    """What other living processes have claimed of a batch."""
    _drop_claims_of_the_dead(store, batch_id)
    rows = store.connection.execute(
        "SELECT identity FROM claims WHERE batch_id = ? AND process <> ?", (batch_id, store.process)
    ).fetchall()
    return {row[0] for row in rows}


def _drop_claims_of_the_dead(store: Store, batch_id: str) -> None:
    owners = store.connection.execute(
        "SELECT DISTINCT p.id, p.host, p.pid, p.started_ms "
        "FROM claims c JOIN processes p ON p.id = c.process WHERE c.batch_id = ? AND c.process <> ?",
        (batch_id, store.process),
    ).fetchall()
    dead = [(batch_id, number) for number, *owner in owners if not is_alive(*owner)]
    store.connection.executemany("DELETE FROM claims WHERE batch_id = ? AND process = ?", dead)


def _portions(items: Collection[str]) -> Iterator[list[str]]:
    each = list(items)
    for start in range(0, len(each), VARIABLES):
        yield each[start : start + VARIABLES]
