"""A Request and its Reply as rows, and back: what is stored, and what is only referred to."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ..messages import Message, Reply, Request, ToolCall, Usage
from .opening import Store
from .schema import EXCHANGE_FIELDS
from .words import Keeping, hash_of, plain, to_json, with_references

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def insert(store: Store, request: Request, reply: Reply, endpoint: str, keeping: Keeping) -> None:
    """Write an exchange for the first time; `endpoint` is its part of the request's identity."""
    identity = request.digest(endpoint)
    row = _exchange(store.process, request, reply, keeping)
    cursor = store.connection.execute(_INSERT, [row[name] for name in EXCHANGE_FIELDS])
    assert cursor.lastrowid is not None
    payload = _payload(store.connection, cursor.lastrowid, request, identity, keeping)
    store.connection.execute(_INSERT_PAYLOAD, (*payload, *_answer(reply, keeping)))


def update(store: Store, request: Request, reply: Reply, endpoint: str, keeping: Keeping) -> None:
    """Bring the row of an exchange up to date; insert it where it never got into the file."""
    row = _exchange(store.process, request, reply, keeping)
    found = store.connection.execute(_UPDATE, [*(row[name] for name in _CHANGING), row["id"]]).fetchall()
    if found:
        store.connection.execute(_UPDATE_PAYLOAD, (*_answer(reply, keeping), found[0][0]))
    else:
        insert(store, request, reply, endpoint, keeping)


# What may change after the beginning; none of it is indexed, so an update touches no index.
_CHANGING = (
    *("status", "endpoint", "model", "first_token_at", "ended_at", "time_to_first_token_ms"),
    *("duration_ms", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"),
    *("reasoning_tokens", "usage_source", "finish_reason", "cost", "currency", "cost_source"),
    *("attempts", "http_status", "error_type", "error", "response_id", "tags"),
)
_PAYLOAD = ("number", "identity", "request_hash", "system_hash", "prompt_hash", "prompt", "messages")
_ANSWER = ("response", "reasoning", "tool_calls", "notes")


def _insert_into(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def _set(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = ?" for name in names)


_INSERT = _insert_into("exchanges", EXCHANGE_FIELDS)
_INSERT_PAYLOAD = _insert_into("payloads", (*_PAYLOAD, "response_schema", *_ANSWER))
_UPDATE = f"UPDATE exchanges SET {_set(_CHANGING)} WHERE id = ? RETURNING number"  # noqa: S608
_UPDATE_PAYLOAD = f"UPDATE payloads SET {_set(_ANSWER)} WHERE number = ?"  # noqa: S608


def _exchange(process: int, request: Request, reply: Reply, keeping: Keeping) -> dict[str, Any]:
    origin = request.origin
    error = reply.error
    if error is not None and keeping.redact is not None:
        error = Keeping(redact=keeping.redact).clean(error)
    tags = dict(origin.tags) | ({"replay_of": reply.replay_of} if reply.replay_of else {})
    row = {
        "id": reply.exchange_id,
        "process": process,
        "thread_id": origin.thread_id or reply.exchange_id,
        "parent_id": origin.parent_id,
        "status": reply.status,
        "source": origin.source,
        "endpoint": reply.endpoint,
        "base_url": reply.base_url,
        "model_requested": request.model or reply.model_requested,
        "model": reply.model,
        "started_at": microseconds(reply.started_at),
        "first_token_at": microseconds(reply.first_token_at),
        "ended_at": microseconds(reply.ended_at),
        "time_to_first_token_ms": reply.time_to_first_token_ms,
        "duration_ms": reply.duration_ms,
        "finish_reason": reply.finish_reason,
        "stream": int(request.stream),
        "attempts": reply.attempts,
        "http_status": reply.http_status,
        "error_type": reply.error_type,
        "error": error,
        "response_id": reply.response_id,
        "batch_id": origin.batch_id,
        "row_key": origin.row_key,
        "notebook": origin.notebook or os.environ.get("JPY_SESSION_NAME"),
        "cell_id": origin.cell_id,
        "tags": to_json(tags) if tags else None,
        "params": to_json(request.params) if request.params else None,
    }
    row |= _numbers(reply)
    texts = "\0".join(value for value in row.values() if isinstance(value, str))
    if plain(texts) == texts:  # as good as always; one look is quicker than twenty
        return row
    return {name: plain(value) if isinstance(value, str) else value for name, value in row.items()}


def _numbers(reply: Reply) -> dict[str, Any]:
    """Usage and cost; a replayed answer used nothing, whatever its Reply remembers."""
    if reply.replay_of is not None:
        names = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
        return dict.fromkeys(names) | {
            "usage_source": "replay",
            "cost": 0.0,
            "currency": None,
            "cost_source": "replay",
        }
    usage = reply.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usage_source": usage.source,
        "cost": reply.cost,
        "currency": reply.currency,
        "cost_source": reply.cost_source,
    }


def _payload(
    connection: sqlite3.Connection, number: int, request: Request, identity: str, keeping: Keeping
) -> tuple[Any, ...]:
    system, rest = _split_system(request)
    prompt = next((_prompt(m) for m in reversed(request.messages) if m.role == "user"), None)
    messages = None
    if keeping.text and not _is_plain(rest):
        wire = [with_references(connection, number, message.to_wire(), keeping) for message in rest]
        messages = to_json(wire)
    response_schema = plain(to_json(request.schema)) if request.schema is not None else None
    return (
        *(number, identity, bytes.fromhex(request.digest()), _keep_text(connection, system, keeping)),
        *(None if prompt is None else hash_of(prompt), keeping.clean(prompt), messages, response_schema),
    )


def _keep_text(connection: sqlite3.Connection, text: str | None, keeping: Keeping) -> bytes | None:
    """Store a text once, under its hash, which is returned."""
    if text is None:
        return None
    kept = keeping.clean(text)
    digest = hash_of(text)
    if kept is not None:
        connection.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (digest, kept))
    return digest


def _split_system(request: Request) -> tuple[str | None, tuple[Message, ...]]:
    """The leading system text, and the messages that no parent already holds."""
    messages = request.messages
    first = messages[0] if messages and messages[0].role == "system" else None
    start = max(request.origin.new_from, 1 if first else 0)
    return (first.text if first else None), messages[start:]


def _prompt(message: Message) -> str:
    """A message's words; of each attached text only its first line, which names it."""
    if not isinstance(message.content, tuple):
        return message.text
    texts = [str(part["text"]) for part in message.content if part.get("type") == "text"]
    return "\n".join(text.partition("\n")[0] if text.startswith("<attachment ") else text for text in texts)


def _is_plain(messages: tuple[Message, ...]) -> bool:
    """Whether the prompt column alone says it all."""
    if len(messages) != 1:
        return False
    only = messages[0]
    return only.role == "user" and isinstance(only.content, str) and only.name is None


def _answer(reply: Reply, keeping: Keeping) -> tuple[str | None, ...]:
    calls = to_json([call.to_wire() for call in reply.tool_calls]) if reply.tool_calls else None
    reasoning = keeping.clean(reply.reasoning) if reply.reasoning else None
    notes = plain(to_json(reply.notes)) if reply.notes else None
    return keeping.clean(reply.text), reasoning, keeping.clean(calls), notes


def microseconds(moment: datetime | None) -> int | None:
    """Microseconds since 1970 UTC; a naive datetime is local time."""
    return None if moment is None else (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def moment(us: int | None) -> datetime | None:
    """The UTC datetime of microseconds since 1970."""
    return None if us is None else EPOCH + timedelta(microseconds=us)


_REPLY_FIELDS = (
    *("status", "finish_reason", "model", "response_id", "duration_ms", "time_to_first_token_ms"),
    *("model_requested", "endpoint", "base_url", "attempts", "http_status", "error_type", "error"),
    *("cost", "currency", "cost_source"),
)
_USAGE_FIELDS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


def reply_of(row: Mapping[str, Any]) -> Reply:
    """A recorded Reply, from the columns of exchanges and payloads; `parsed` is None."""
    calls = json.loads(row["tool_calls"] or "[]")
    tags = json.loads(row["tags"] or "{}")
    notes = json.loads(row.get("notes") or "[]")
    return Reply(
        text=row["response"] or "",
        reasoning=row["reasoning"] or "",
        usage=Usage(**{name: row[name] for name in _USAGE_FIELDS}, source=row["usage_source"]),
        exchange_id=row["id"],
        tool_calls=tuple(ToolCall.of(call) for call in calls),
        started_at=moment(row["started_at"]),
        first_token_at=moment(row["first_token_at"]),
        ended_at=moment(row["ended_at"]),
        replay_of=tags.get("replay_of"),
        notes=tuple(notes),
        **{name: row[name] for name in _REPLY_FIELDS},
    )
