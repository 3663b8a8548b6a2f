"""A batch in the log: rows share exchanges through links, and kernels share work through claims."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ...replies import Reply
from .log_file import LogFile
from .processes import is_alive
from .rows import reply_of

VARIABLES = 500  # SQLite takes at least 999 in one statement


Link = tuple[int, str, str | None, str | None, str | None]


_RELINK = """
UPDATE links SET row_key = ?, exchange_id = ?, problem = ?
WHERE batch_id = ? AND position = ? AND identity IS ?
"""
_LINK = """
INSERT OR REPLACE INTO links (batch_id, position, row_key, exchange_id, identity, problem)
VALUES (?, ?, ?, ?, ?, ?)
"""


def link(connection: sqlite3.Connection, batch_id: str, links: Sequence[Link]) -> None:
    """Insert or replace the links of some rows: position, row key, exchange id, identity, problem."""
    again = [
        (row_key, exchange_id, problem, batch_id, position, identity)
        for position, row_key, exchange_id, identity, problem in links
    ]
    if connection.executemany(_RELINK, again).rowcount < len(links):  # else no index was touched
        connection.executemany(_LINK, [(batch_id, *each) for each in links])


# Left to itself, SQLite reads the whole batch for each group of rows: quadratic.
_ANSWERED = """
SELECT p.identity, e.id, 0 FROM payloads p INDEXED BY payloads_identity CROSS JOIN exchanges e USING (number)
WHERE p.identity IN ({marks}) AND e.batch_id = ? AND e.status = 'ok' AND p.response IS NOT NULL
UNION ALL
SELECT l.identity, e.id, 1
FROM links l INDEXED BY links_identity
JOIN exchanges e ON e.id = l.exchange_id JOIN payloads p USING (number)
WHERE l.identity IN ({marks}) AND l.batch_id = ? AND e.status = 'ok' AND p.response IS NOT NULL
ORDER BY 3, 2
"""


def answered(
    connection: sqlite3.Connection, batch_id: str, identities: Collection[str]
) -> dict[str, list[str]]:
    """Identity -> ids of the batch's `ok` exchanges for it, the best last.

    What a row is linked to counts more than another exchange of its request: it may be the repair
    of an answer that did not fit.
    """
    found: dict[str, dict[str, None]] = {}
    for some in _portions(identities):
        query = _ANSWERED.format(marks=", ".join("?" * len(some)))
        for identity, exchange_id, _ in connection.execute(query, (*some, batch_id, *some, batch_id)):
            ids = found.setdefault(identity, {})
            ids.pop(exchange_id, None)
            ids[exchange_id] = None
    return {identity: list(ids) for identity, ids in found.items()}


_ROWS = """
SELECT l.position, l.row_key, coalesce(l.exchange_id, (
    SELECT e.id FROM payloads p JOIN exchanges e USING (number)
    WHERE p.identity = l.identity AND e.batch_id = l.batch_id ORDER BY e.status = 'ok' DESC, e.id DESC LIMIT 1
)) AS exchange_id, l.problem FROM links l WHERE l.batch_id = ?
"""


def rows_of(connection: sqlite3.Connection, batch_id: str) -> list[tuple[Any, ...]]:
    """Each row of a batch by position, with the exchange that answers it as far as there is one."""
    query = (
        "SELECT r.position, r.row_key, p.response, e.status, e.error_type, "  # noqa: S608 - fixed text
        f"e.error, e.finish_reason, e.prompt_tokens, e.completion_tokens, e.id, r.problem FROM ({_ROWS}) r "
        "LEFT JOIN exchanges e ON e.id = r.exchange_id LEFT JOIN payloads p USING (number) ORDER BY 1"
    )
    return connection.execute(query, (batch_id,)).fetchall()


_RECENT = """
SELECT prompt_tokens, completion_tokens, cost, duration_ms / 1000.0 FROM exchanges
WHERE status = 'ok' AND base_url = ?2 AND (batch_id = ?1 OR (source = 'batch' AND model_requested IS ?3))
ORDER BY batch_id IS NOT ?1, started_at DESC LIMIT ?4
"""


def recent(
    connection: sqlite3.Connection, batch_id: str, base_url: str, model: str | None, most: int
) -> list[tuple[float | None, ...]]:
    """Tokens in and out, cost and seconds of a batch's answers, else of other batches' like it."""
    return connection.execute(_RECENT, (batch_id, base_url, model, most)).fetchall()


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


def claim(store: LogFile, batch_id: str, identities: Collection[str]) -> set[str]:
    """Take what nobody alive holds; run inside BEGIN IMMEDIATE, so two kernels never both get it."""
    connection = store.connection
    _drop_claims_of_the_dead(store, batch_id)
    connection.executemany(
        "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)",
        [(batch_id, identity, store.process) for identity in identities],
    )
    mine: set[str] = set()
    for some in _portions(identities):
        query = _MINE.format(marks=", ".join("?" * len(some)))
        mine.update(row[0] for row in connection.execute(query, (batch_id, store.process, *some)))
    return mine


_MINE = "SELECT identity FROM claims WHERE batch_id = ? AND process = ? AND identity IN ({marks})"


def release(store: LogFile, batch_id: str, identities: Collection[str] | None) -> None:
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


def claimed_elsewhere(store: LogFile, batch_id: str) -> set[str]:
    """What other living processes have claimed of a batch."""
    _drop_claims_of_the_dead(store, batch_id)
    rows = store.connection.execute(
        "SELECT identity FROM claims WHERE batch_id = ? AND process <> ?", (batch_id, store.process)
    ).fetchall()
    return {row[0] for row in rows}


def _drop_claims_of_the_dead(store: LogFile, batch_id: str) -> None:
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
