"""Put a conversation together again: each row holds what was new, its parent holds the rest."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from ..storage.content import with_attachments
from .filters import STATUS, prepare

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
