"""A conversation out of the log, to go on with: the newest exchange and all it was asked upon."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from .conversation import _ancestors, asked, exchange_rows
from .filters import Filter, filter_of, prepare
from .store import current_log


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One exchange of a thread: the messages it added, its answer last, and the cell it came from."""

    exchange_id: str
    messages: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation as its newest finished exchange saw it."""

    thread_id: str
    system: str | None
    model: str | None
    endpoint: str | None
    exchanges: tuple[Exchanged, ...]


def newest_thread(tags: Mapping[str, Any]) -> Thread | None:
    """The newest finished conversation with these tags: of this notebook, else of any; or None."""
    scopes = ["notebook", "all"] if os.environ.get("JPY_SESSION_NAME") else ["all"]
    for scope in scopes:
        wanted = filter_of(scope, status="ok", tags=dict(tags))
        found = [one for one in current_log().read(partial(_newest, wanted=wanted)) if one]
        if found:
            return max(found, key=lambda one: one[0])[1]
    return None


def _newest(connection: sqlite3.Connection, wanted: Filter) -> tuple[int, Thread] | None:
    prepare(connection)
    query = (
        "SELECT e.id, e.started_at, e.model_requested, e.endpoint FROM exchanges e "  # noqa: S608
        f"JOIN processes p ON p.id = e.process WHERE {wanted.where} ORDER BY e.started_at DESC LIMIT 1"
    )
    newest = connection.execute(query, wanted.values).fetchone()
    if newest is None:
        return None
    exchange_id, started_at, model, endpoint = newest
    (row,) = exchange_rows(connection, "e.id = ?", [exchange_id])
    chain = [*_ancestors(connection, row["parent_id"]), row]
    exchanges = tuple(_exchanged(connection, each) for each in chain)
    return started_at, Thread(row["thread_id"], row["system"], model, endpoint, exchanges)


def _exchanged(connection: sqlite3.Connection, row: dict[str, Any]) -> Exchanged:
    calls = json.loads(row["tool_calls"] or "[]")
    answer = {"role": "assistant", "content": row["response"] or ("" if not calls else None)}
    answer |= {"tool_calls": calls} if calls else {}
    return Exchanged(row["id"], (*asked(connection, row), answer))
