"""SELECTs over the log: its tables joined, its columns in SQL, and what SQL cannot know by itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from ..storage.content import storable
from ..storage.processes import is_alive
from ..storage.schema import TEXT_COLUMNS

# A pending row whose process is gone is lost; readers work that out, it is never written.
STATUS = "CASE WHEN e.status = 'pending' AND e.process IN (SELECT id FROM lost) THEN 'lost' ELSE e.status END"

# Half of a row's token counts is not all of them; a replayed answer used none.
UNKNOWN_USAGE = (
    "((e.prompt_tokens IS NULL OR e.completion_tokens IS NULL) AND e.usage_source IS NOT 'replay')"
)

FROM = "FROM exchanges e JOIN processes p ON p.id = e.process"
FROM_WITH_TEXT = f"{FROM} LEFT JOIN payloads w USING (number) LEFT JOIN texts t ON t.hash = w.system_hash"

_EXPRESSIONS = {
    "status": STATUS,
    "kernel_id": "p.kernel_id",
    "tags": "coalesce(e.tags, '{}')",
    "params": "coalesce(e.params, '{}')",
    "system": "t.text",
    "prompt": "w.prompt",
    "response": "w.response",
    "reasoning": "w.reasoning",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on exchanges `e`, processes `p`, payloads `w` and texts `t`, and its values."""

    where: str = "1"
    values: list[Any] = field(default_factory=list)
    needs_text: bool = False  # whether it is about `w` or `t`


def text_search(text: str, columns: str) -> Filter:
    """Return the condition that one of these columns contains a text; case is ignored."""
    return Filter(f"contains(?, {columns})", [storable(text).casefold()], needs_text=True)


def sql_column(name: str) -> str:
    """Return a column of the frame in SQL."""
    return _EXPRESSIONS.get(name, f"e.{name}")


def select(
    connection: sqlite3.Connection,
    expressions: str,
    condition: Filter,
    ending: str = "",
    *,
    with_text: bool = False,
) -> sqlite3.Cursor:
    """Select SQL expressions from the exchanges of a condition; `ending` groups, orders or limits them."""
    prepare(connection)
    source = FROM_WITH_TEXT if with_text or condition.needs_text else FROM
    query = f"SELECT {expressions} {source} WHERE {condition.where} {ending}"
    return connection.execute(query, condition.values)


def select_columns(
    connection: sqlite3.Connection, names: Collection[str], condition: Filter, ending: str = ""
) -> sqlite3.Cursor:
    """Select columns of the frame from the exchanges of a condition."""
    expressions = ", ".join(f"{sql_column(name)} AS {name}" for name in names)
    return select(connection, expressions, condition, ending, with_text=needs_text(names))


def needs_text(names: Collection[str]) -> bool:
    """Return whether there is a column of text among these."""
    return not set(TEXT_COLUMNS).isdisjoint(names)


def prepare(connection: sqlite3.Connection) -> None:
    """Give a connection what expressions and conditions use: the table `lost`, and two functions."""
    connection.create_function("contains", -1, _contains, deterministic=True)
    connection.create_function("tagged", 2, _tagged, deterministic=True)
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS lost (id INTEGER PRIMARY KEY)")
    owners = connection.execute(
        "SELECT id, host, pid, started_ms FROM processes "
        "WHERE id IN (SELECT process FROM exchanges WHERE status = 'pending')"
    ).fetchall()
    lost = [(number,) for number, *owner in owners if not is_alive(*owner)]
    connection.execute("DELETE FROM lost")
    connection.executemany("INSERT INTO lost VALUES (?)", lost)


def _contains(needle: str, *texts: str | None) -> bool:
    return any(text is not None and needle in text.casefold() for text in texts)


def _tagged(stored: str, wanted: str) -> bool:
    tags, expected = json.loads(stored), json.loads(wanted)
    if isinstance(expected, dict):
        return all(key in tags and tags[key] == value for key, value in expected.items())
    return all(key in tags for key in expected)
