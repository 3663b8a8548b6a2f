"""Conversations out of the log, to list and to go on with: an exchange and all it was asked upon."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...messages import Message
from ...replies import Reply
from ..storage.batches import replies
from ..storage.log import current_log
from .conversation import ancestors, asked, exchange_rows
from .filters import Filter, filter_of, prepare

_RECENT = """
SELECT e.thread_id, count(*), max(e.started_at), min(e.number), coalesce(e.model, e.model_requested, '')
FROM exchanges e LEFT JOIN payloads w USING (number)
WHERE e.source = 'chat' AND e.thread_id IS NOT NULL
GROUP BY e.thread_id HAVING sum(e.status = 'ok') > 0 AND sum(found(?, w.prompt, w.response)) > 0
ORDER BY max(e.started_at) DESC LIMIT ?
"""
_NEWEST = (
    "SELECT e.id, e.started_at FROM exchanges e JOIN processes p ON p.id = e.process "
    "WHERE {where} ORDER BY e.started_at DESC, e.number DESC LIMIT 1"
)
_SETTINGS = "SELECT endpoint, base_url, model_requested, params FROM exchanges WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One exchange of a thread: the messages it added with its answer last, and its Reply."""

    messages: tuple[Message, ...]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation as its newest finished exchange saw it, and what that one was sent with."""

    thread_id: str
    system: str | None
    model: str | None
    endpoint: str | None
    base_url: str | None
    params: Mapping[str, Any]
    exchanges: tuple[Exchanged, ...]


@dataclass(frozen=True, slots=True)
class Recent:
    """A line of the list of conversations; `at_us` is microseconds since 1970, UTC."""

    thread_id: str
    exchanges: int
    at_us: int
    title: str
    model: str


def recent_threads(search: str = "", most: int = 50) -> list[Recent]:
    """The newest chats with a finished exchange whose words match, newest first."""
    parts = current_log().read(partial(_recent, search=search.casefold(), most=most))
    return sorted((one for part in parts for one in part), key=lambda one: -one.at_us)[:most]


def newest_thread(tags: Mapping[str, Any]) -> Thread | None:
    """The newest finished conversation with these tags: of this notebook, else of any; or None."""
    scopes = ["notebook", "all"] if os.environ.get("JPY_SESSION_NAME") else ["all"]
    for scope in scopes:
        found = _found(filter_of(scope, status="ok", tags=dict(tags)))
        if found is not None:
            return found
    return None


def thread_of(thread_id: str) -> Thread | None:
    """The conversation of that thread, without what an edit left behind; None when the log has none."""
    return _found(Filter("e.status = 'ok' AND e.thread_id = ?", [thread_id]))


def _found(wanted: Filter) -> Thread | None:
    found = [one for one in current_log().read(partial(_newest, wanted=wanted)) if one]
    return max(found, key=lambda one: one[0])[1] if found else None


def _newest(connection: sqlite3.Connection, wanted: Filter) -> tuple[int, Thread] | None:
    prepare(connection)
    newest = connection.execute(_NEWEST.format(where=wanted.where), wanted.values).fetchone()
    if newest is None:
        return None
    exchange_id, started_at = newest
    (row,) = exchange_rows(connection, "e.id = ?", [exchange_id])
    chain = [*ancestors(connection, row["parent_id"]), row]
    known = replies(connection, [each["id"] for each in chain])
    if len(known) < len(chain):  # kept without its words: nothing to go on with
        return None
    exchanges = tuple(_exchanged(connection, each, known[each["id"]]) for each in chain)
    endpoint, base_url, model, params = connection.execute(_SETTINGS, (exchange_id,)).fetchone()
    settings = json.loads(params or "{}")
    thread = Thread(row["thread_id"], row["system"], model, endpoint, base_url, settings, exchanges)
    return started_at, thread


def _exchanged(connection: sqlite3.Connection, row: dict[str, Any], reply: Reply) -> Exchanged:
    sent = tuple(Message.of(message) for message in asked(connection, row))
    return Exchanged((*sent, Message("assistant", reply.text, tool_calls=reply.tool_calls)), reply)


def _recent(connection: sqlite3.Connection, search: str, most: int) -> list[Recent]:
    connection.create_function("found", -1, _matches, deterministic=True)
    listed = []
    for thread_id, count, at_us, first, model in connection.execute(_RECENT, (search, most)).fetchall():
        prompt = connection.execute("SELECT prompt FROM payloads WHERE number = ?", (first,)).fetchone()
        title = ((prompt and prompt[0]) or "(without text)").strip().splitlines() or [""]
        listed.append(Recent(thread_id, count, at_us, title[0][:120], model))
    return listed


def _matches(needle: str, *texts: str | None) -> bool:
    return any(text is not None and needle in text.casefold() for text in texts)
