"""A batch in the log: rows share exchanges through links, and kernels share work through claims."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ...replies import Reply
from .log_file import LogFile
from .processes import is_alive
from .rows import reply_of

VARIABLES = 500  # SQLite takes at least 999 in one statement


class Link(NamedTuple):
    """Which exchange answers a row of a batch."""

    position: int  # of the row in the whole frame
    row_key: str  # its index label as JSON
    exchange_id: str | None  # None: not answered yet
    identity: str | None  # of its request; None where it makes none
    problem: str | None  # why it was not asked, or has failed; empty where it was skipped


class BatchRow(NamedTuple):
    """A row of a batch and the facts of its exchange, which are None where there is no exchange yet."""

    position: int
    row_key: str
    text: str | None
    status: str | None
    error_type: str | None
    error: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    exchange_id: str | None
    problem: str | None  # as in its Link


_RELINK = """
UPDATE links SET row_key = ?, exchange_id = ?, problem = ?
WHERE batch_id = ? AND position = ? AND identity IS ?
"""
_LINK = """
INSERT OR REPLACE INTO links (batch_id, position, row_key, exchange_id, identity, problem)
VALUES (?, ?, ?, ?, ?, ?)
"""


def link(connection: sqlite3.Connection, batch_id: str, links: Sequence[Link]) -> None:
    """Insert or replace the links of some rows."""
    updates = [
        (row_key, exchange_id, problem, batch_id, position, identity)
        for position, row_key, exchange_id, identity, problem in links
    ]
    if connection.executemany(_RELINK, updates).rowcount < len(links):  # else no index was touched
        connection.executemany(_LINK, [(batch_id, *each) for each in links])


# Left to itself, SQLite reads the whole batch for each group of rows: quadratic.
_ANSWER_IDS = """
SELECT p.identity, e.id, 0 FROM payloads p INDEXED BY payloads_identity CROSS JOIN exchanges e USING (number)
WHERE p.identity IN ({marks}) AND e.batch_id = ? AND e.status = 'ok' AND p.response IS NOT NULL
UNION ALL
SELECT l.identity, e.id, 1
FROM links l INDEXED BY links_identity
JOIN exchanges e ON e.id = l.exchange_id JOIN payloads p USING (number)
WHERE l.identity IN ({marks}) AND l.batch_id = ? AND e.status = 'ok' AND p.response IS NOT NULL
ORDER BY 3, 2
"""


def answer_ids(
    connection: sqlite3.Connection, batch_id: str, identities: Collection[str]
) -> dict[str, list[str]]:
    """Return, by identity, the ids of the batch's `ok` exchanges for a request, the best last.

    What a row is linked to counts more than another exchange of its request: it may be the repair
    of an answer that did not fit.
    """
    ids: dict[str, dict[str, None]] = {}  # dicts as ordered sets
    for portion, marks in _portions(identities):
        query = _ANSWER_IDS.format(marks=marks)
        for identity, exchange_id, _ in connection.execute(query, (*portion, batch_id, *portion, batch_id)):
            of_request = ids.setdefault(identity, {})
            of_request.pop(exchange_id, None)
            of_request[exchange_id] = None
    return {identity: list(of_request) for identity, of_request in ids.items()}


_BATCH_ROWS = """
SELECT r.position, r.row_key, p.response, e.status, e.error_type, e.error, e.finish_reason,
    e.prompt_tokens, e.completion_tokens, e.id, r.problem
FROM (
    SELECT l.position, l.row_key, coalesce(l.exchange_id, (
        SELECT e.id FROM payloads p JOIN exchanges e USING (number)
        WHERE p.identity = l.identity AND e.batch_id = l.batch_id
        ORDER BY e.status = 'ok' DESC, e.id DESC LIMIT 1
    )) AS exchange_id, l.problem FROM links l WHERE l.batch_id = ?
) r LEFT JOIN exchanges e ON e.id = r.exchange_id LEFT JOIN payloads p USING (number) ORDER BY 1
"""


def batch_rows(connection: sqlite3.Connection, batch_id: str) -> list[BatchRow]:
    """Return the rows of a batch, by position."""
    return [BatchRow(*row) for row in connection.execute(_BATCH_ROWS, (batch_id,))]


_USAGE_SAMPLES = """
SELECT prompt_tokens, completion_tokens, cost, duration_ms / 1000.0 FROM exchanges
WHERE status = 'ok' AND base_url = ?2 AND (batch_id = ?1 OR (source = 'batch' AND model_requested IS ?3))
ORDER BY batch_id IS NOT ?1, started_at DESC LIMIT ?4
"""


def usage_samples(
    connection: sqlite3.Connection, batch_id: str, base_url: str, model: str | None, most: int
) -> list[tuple[float | None, ...]]:
    """Return prompt tokens, completion tokens, cost and seconds of some answers, the newest first.

    Those of the batch itself come first, then those of other batches of the same model.
    """
    return connection.execute(_USAGE_SAMPLES, (batch_id, base_url, model, most)).fetchall()


_REPLIES = """
SELECT e.*, p.response, p.reasoning, p.tool_calls
FROM exchanges e JOIN payloads p USING (number) WHERE e.id IN ({marks})
"""


def replies(connection: sqlite3.Connection, exchange_ids: Collection[str]) -> dict[str, Reply]:
    """Return the Replies with these ids."""
    by_id: dict[str, Reply] = {}
    for portion, marks in _portions(exchange_ids):
        cursor = connection.execute(_REPLIES.format(marks=marks), portion)
        names = [column[0] for column in cursor.description]
        for row in cursor.fetchall():
            reply = reply_of(dict(zip(names, row, strict=True)))
            by_id[str(reply.exchange_id)] = reply
    return by_id


_OWN_CLAIMS = "SELECT identity FROM claims WHERE batch_id = ? AND process = ? AND identity IN ({marks})"


def claim(file: LogFile, batch_id: str, identities: Collection[str]) -> set[str]:
    """Claim the requests that no living process holds, and return those that this process holds now.

    Runs in a transaction that holds the write lock, so two kernels never both get a request.
    """
    _delete_claims_of_the_dead(file, batch_id)
    file.connection.executemany(
        "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)",
        [(batch_id, identity, file.process) for identity in identities],
    )
    own: set[str] = set()
    for portion, marks in _portions(identities):
        query = _OWN_CLAIMS.format(marks=marks)
        own.update(row[0] for row in file.connection.execute(query, (batch_id, file.process, *portion)))
    return own


def release(file: LogFile, batch_id: str, identities: Collection[str] | None) -> None:
    """Delete claims of this process; None is all of the batch."""
    if identities is None:
        file.connection.execute(
            "DELETE FROM claims WHERE batch_id = ? AND process = ?", (batch_id, file.process)
        )
        return
    file.connection.executemany(
        "DELETE FROM claims WHERE batch_id = ? AND identity = ? AND process = ?",
        [(batch_id, identity, file.process) for identity in identities],
    )


def _delete_claims_of_the_dead(file: LogFile, batch_id: str) -> None:
    owners = file.connection.execute(
        "SELECT DISTINCT p.id, p.host, p.pid, p.started_ms "
        "FROM claims c JOIN processes p ON p.id = c.process WHERE c.batch_id = ? AND c.process <> ?",
        (batch_id, file.process),
    ).fetchall()
    dead = [(batch_id, number) for number, *owner in owners if not is_alive(*owner)]
    file.connection.executemany("DELETE FROM claims WHERE batch_id = ? AND process = ?", dead)


def _portions(texts: Collection[str]) -> Iterator[tuple[list[str], str]]:
    """Yield some texts at a time, with as many question marks."""
    items = list(texts)
    for start in range(0, len(items), VARIABLES):
        portion = items[start : start + VARIABLES]
        yield portion, ", ".join("?" * len(portion))
