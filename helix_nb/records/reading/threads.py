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
from ..storage.content import with_attachments
from ..storage.log import current_log
from .filters import STATUS, Filter, filter_of, prepare

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


_COLUMNS = (
    f"e.id, e.thread_id, e.parent_id, {STATUS} AS status, coalesce(e.model, e.model_requested) AS model, "
    "e.started_at, e.ended_at, t.text AS system, w.prompt, w.messages, w.response, w.tool_calls"
)
_FROM = "exchanges e LEFT JOIN payloads w USING (number) LEFT JOIN texts t ON t.hash = w.system_hash"
Row = tuple[Any, ...]


def messages(connection: sqlite3.Connection, name: str) -> list[Row]:
    """The messages of a thread (or of one exchange's thread): rows of the transcript frame."""
    prepare(connection)
    exchanges = _thread(connection, name)
    rows: list[Row] = []
    system = None
    for row in exchanges:
        thread, exchange = row["thread_id"], row["id"]
        facts = (row["status"], row["model"])
        if row["system"] is not None and row["system"] != system:
            system = row["system"]
            rows.append((thread, exchange, "system", system, *facts, row["started_at"]))
        for role, text in _new(asked(connection, row), rows):
            rows.append((thread, exchange, role, text, *facts, row["started_at"]))
        if row["response"] or row["tool_calls"]:
            answer = {"content": row["response"], "tool_calls": json.loads(row["tool_calls"] or "[]")}
            rows.append((thread, exchange, "assistant", shown(answer), *facts, row["ended_at"]))
    return rows


def _new(sent: list[dict[str, Any]], rows: list[Row]) -> list[tuple[str, str]]:
    """Role and text of an exchange's messages; what it only carried on from rows before is left out."""
    told = {(role, text) for _, _, role, text, *_ in rows}
    mine = max((at for at, message in enumerate(sent) if message["role"] == "user"), default=0)
    said = [(message["role"], shown(message)) for message in sent]
    return [one for one in said[:mine] if one not in told] + said[mine:]


def asked(connection: sqlite3.Connection, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages an exchange added to what its parent holds, as they were sent."""
    if row["messages"] is None:
        return [] if row["prompt"] is None else [{"role": "user", "content": row["prompt"]}]
    stored: list[dict[str, Any]] = with_attachments(connection, json.loads(row["messages"]))
    return stored


def history(connection: sqlite3.Connection, row: dict[str, Any]) -> list[dict[str, Any]]:
    """All messages that were sent for an exchange: system, what its parents hold, its own."""
    chain = [*ancestors(connection, row["parent_id"]), row]
    sent: list[dict[str, Any]] = []
    for each in chain:
        sent += asked(connection, each)
        if each is not row:
            answer = {"role": "assistant", "content": each["response"] or None}
            calls = json.loads(each["tool_calls"] or "[]")
            sent.append(answer | ({"tool_calls": calls} if calls else {}))
    return ([{"role": "system", "content": row["system"]}] if row["system"] is not None else []) + sent


def exchange_rows(connection: sqlite3.Connection, where: str, values: list[Any]) -> list[dict[str, Any]]:
    """Rows with what a conversation is made of, by a condition on `e` and `w`."""
    query = f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where}"  # noqa: S608 - values go in by question marks
    cursor = connection.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def shown(message: dict[str, Any]) -> str:
    """The content of a message as text; `[image]` and calls stand for what is none."""
    content = message.get("content")
    pieces = [content] if isinstance(content, str) and content else []
    if isinstance(content, list):
        pieces = [part["text"] if part.get("type") == "text" else _kind(part) for part in content]
    for call in message.get("tool_calls") or ():
        pieces.append(f"[call {call['function']['name']}({call['function']['arguments']})]")
    return "\n".join(pieces)


def _kind(part: dict[str, Any]) -> str:
    return f"[{str(part.get('type', 'part')).removesuffix('_url')}]"


def _thread(connection: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    own = exchange_rows(connection, "e.thread_id = ? ORDER BY e.started_at, e.number", [name])
    if not own:
        one = exchange_rows(connection, "e.id = ?", [name])
        return _thread(connection, one[0]["thread_id"]) if one and one[0]["thread_id"] != name else one
    known = {row["id"] for row in own}
    before = [row for row in ancestors(connection, own[0]["parent_id"]) if row["id"] not in known]
    return before + own


def ancestors(connection: sqlite3.Connection, parent_id: str | None) -> list[dict[str, Any]]:
    """The exchanges that led to one, the first of them first."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    while parent_id is not None and parent_id not in seen:
        seen.add(parent_id)
        rows = exchange_rows(connection, "e.id = ?", [parent_id])
        if not rows:
            break
        found += rows
        parent_id = rows[0]["parent_id"]
    return found[::-1]
