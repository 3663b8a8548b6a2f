"""A Request and its Reply as rows of the log, and back."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ...messages import Message, Request, read_tool_call
from ...replies import Reply, Usage
from .content import ContentPolicy, hash_of, storable, store_attachments, to_json
from .log_file import LogFile

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def insert(file: LogFile, request: Request, reply: Reply, policy: ContentPolicy) -> int:
    """Write what is known of an exchange before it is sent, and return its number."""
    values = _storable((*_constants(file.process, request, reply), *_initial(request, reply)))
    number = file.connection.execute(_INSERT, values).lastrowid
    assert number is not None
    question = _question(file.connection, number, request, policy)
    file.connection.execute(_INSERT_PAYLOAD, (*question, policy.clean(reply.text)))
    return number


def update(
    file: LogFile, request: Request, reply: Reply, endpoint_identity: str, policy: ContentPolicy
) -> None:
    """Bring the row of an exchange up to date; insert it where it never got into the file."""
    row = file.connection.execute(_FIND, (reply.exchange_id,)).fetchone()
    number = row[0] if row else insert(file, request, reply, policy)
    file.connection.execute(_UPDATE, (*_storable(_changing(request, reply, policy)), number))
    identity, request_hash = request.digests(endpoint_identity, "")
    hashes = (identity, bytes.fromhex(request_hash))
    file.connection.execute(_UPDATE_PAYLOAD, (*hashes, *_answer(reply, policy), number))


_CONSTANT = (
    *("id", "process", "thread_id", "parent_id", "source", "base_url", "model_requested", "started_at"),
    *("stream", "batch_id", "row_key", "notebook", "cell_id", "params"),
)
_INITIAL = ("status", "endpoint", "attempts", "tags")  # of what may change, what is known at the beginning
# What may change after the beginning; none of it is indexed, so an update touches no index.
_CHANGING = (
    *(*_INITIAL, "model", "first_token_at", "ended_at", "time_to_first_token_ms", "duration_ms"),
    *("finish_reason", "http_status", "error_type", "error", "response_id"),
    *("usage_source", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"),
    *("reasoning_tokens", "cost", "currency", "cost_source"),
)
_QUESTION = ("number", "system_hash", "prompt_hash", "prompt", "messages", "response_schema")
# Nothing is found by its request before it has an answer: the hashes, and their indexes, wait until then.
_HASHES = ("identity", "request_hash")
_ANSWER = ("response", "reasoning", "tool_calls", "notes")


def _insert_into(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def _set(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = ?" for name in names)


_INSERT = _insert_into("exchanges", (*_CONSTANT, *_INITIAL))
_INSERT_PAYLOAD = _insert_into("payloads", (*_QUESTION, "response"))
_FIND = "SELECT number FROM exchanges WHERE id = ?"  # quicker than a RETURNING of the update
_UPDATE = f"UPDATE exchanges SET {_set(_CHANGING)} WHERE number = ?"  # noqa: S608
_UPDATE_PAYLOAD = f"UPDATE payloads SET {_set((*_HASHES, *_ANSWER))} WHERE number = ?"  # noqa: S608


def _constants(process: int, request: Request, reply: Reply) -> tuple[Any, ...]:
    """Return the values of `_CONSTANT`, in its order."""
    origin = request.origin
    return (
        *(reply.exchange_id, process, origin.thread_id or reply.exchange_id, origin.parent_id, origin.source),
        *(reply.base_url, request.model or reply.model_requested, microseconds(reply.started_at)),
        *(int(request.stream), origin.batch_id, origin.row_key),
        *(origin.notebook or os.environ.get("JPY_SESSION_NAME"), origin.cell_id),
        to_json(request.params) if request.params else None,
    )


def _initial(request: Request, reply: Reply) -> tuple[Any, ...]:
    """Return the values of `_INITIAL`, in its order."""
    tags = request.origin.tags
    if reply.replay_of:
        tags = {**tags, "replay_of": reply.replay_of}
    return reply.status, reply.endpoint, reply.attempts, to_json(tags) if tags else None


def _changing(request: Request, reply: Reply, policy: ContentPolicy) -> tuple[Any, ...]:
    """Return the values of `_CHANGING`, in its order."""
    error = reply.error
    if error is not None and policy.redact is not None:
        error = ContentPolicy(redact=policy.redact).clean(error)
    return (
        *(*_initial(request, reply), reply.model, microseconds(reply.first_token_at)),
        *(microseconds(reply.ended_at), reply.time_to_first_token_ms, reply.duration_ms),
        *(reply.finish_reason, reply.http_status, reply.error_type, error, reply.response_id),
        *_usage_and_cost(reply),
    )


def _usage_and_cost(reply: Reply) -> tuple[Any, ...]:
    """Return usage and cost; a replayed answer used nothing, whatever its Reply remembers."""
    if reply.replay_of is not None:
        return "replay", None, None, None, None, None, 0.0, None, "replay"
    usage = reply.usage
    return (
        *(usage.source, usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        *(usage.cached_tokens, usage.reasoning_tokens, reply.cost, reply.currency, reply.cost_source),
    )


def _storable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return values with every text storable."""
    texts = "\0".join([value for value in values if isinstance(value, str)])
    if storable(texts) == texts:  # almost always; one look is quicker than twenty
        return values
    return tuple(storable(value) if isinstance(value, str) else value for value in values)


def _question(
    connection: sqlite3.Connection, number: int, request: Request, policy: ContentPolicy
) -> tuple[Any, ...]:
    """Return the values of `_QUESTION`, in its order; store what they refer to."""
    system, messages = _split_system(request)
    prompt = next((_prompt(m) for m in reversed(request.messages) if m.role == "user"), None)
    wire = None
    if policy.text and not _is_one_prompt(messages):
        data = [store_attachments(connection, number, message.to_wire(), policy) for message in messages]
        wire = to_json(data)
    response_schema = storable(to_json(request.schema)) if request.schema is not None else None
    return (
        *(number, _store_text(connection, system, policy)),
        *(None if prompt is None else hash_of(prompt), policy.clean(prompt), wire, response_schema),
    )


def _store_text(connection: sqlite3.Connection, text: str | None, policy: ContentPolicy) -> bytes | None:
    """Store a text once and return its hash, under which it is found."""
    if text is None:
        return None
    cleaned = policy.clean(text)
    digest = hash_of(text)
    if cleaned is not None:
        connection.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (digest, cleaned))
    return digest


def _split_system(request: Request) -> tuple[str | None, tuple[Message, ...]]:
    """Return the leading system text, and the messages that no parent already holds."""
    messages = request.messages
    first = messages[0] if messages and messages[0].role == "system" else None
    start = max(request.origin.new_from, 1 if first else 0)
    return (first.text if first else None), messages[start:]


def _prompt(message: Message) -> str:
    """Return a message's text; of each attached text only its first line, which names it."""
    if not isinstance(message.content, tuple):
        return message.text
    texts = [str(part["text"]) for part in message.content if part.get("type") == "text"]
    return "\n".join(text.partition("\n")[0] if text.startswith("<attachment ") else text for text in texts)


def _is_one_prompt(messages: tuple[Message, ...]) -> bool:
    """Return whether the column `prompt` alone holds all of these messages."""
    if len(messages) != 1:
        return False
    only = messages[0]
    return only.role == "user" and isinstance(only.content, str) and only.name is None


def _answer(reply: Reply, policy: ContentPolicy) -> tuple[str | None, ...]:
    """Return the values of `_ANSWER`, in its order."""
    calls = to_json([call.to_wire() for call in reply.tool_calls]) if reply.tool_calls else None
    reasoning = policy.clean(reply.reasoning) if reply.reasoning else None
    notes = storable(to_json(reply.notes)) if reply.notes else None
    return policy.clean(reply.text), reasoning, policy.clean(calls), notes


def microseconds(moment: datetime | None) -> int | None:
    """Return the microseconds since 1970 UTC of a datetime; a naive one is local time."""
    if moment is None:
        return None
    return ((moment if moment.tzinfo else moment.astimezone(UTC)) - EPOCH) // _MICROSECOND


def utc_datetime(us: int | None) -> datetime | None:
    """Return the UTC datetime of microseconds since 1970."""
    return None if us is None else EPOCH + timedelta(microseconds=us)


_REPLY_FIELDS = (
    *("status", "finish_reason", "model", "response_id", "duration_ms", "time_to_first_token_ms"),
    *("model_requested", "endpoint", "base_url", "attempts", "http_status", "error_type", "error"),
    *("cost", "currency", "cost_source"),
)
_USAGE_FIELDS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


def reply_of(row: Mapping[str, Any]) -> Reply:
    """Return the recorded Reply, from the columns of exchanges and payloads; `parsed` is None."""
    calls = json.loads(row["tool_calls"] or "[]")
    tags = json.loads(row["tags"] or "{}")
    notes = json.loads(row.get("notes") or "[]")
    return Reply(
        text=row["response"] or "",
        reasoning=row["reasoning"] or "",
        usage=Usage(**{name: row[name] for name in _USAGE_FIELDS}, source=row["usage_source"]),
        exchange_id=row["id"],
        tool_calls=tuple(read_tool_call(call) for call in calls),
        started_at=utc_datetime(row["started_at"]),
        first_token_at=utc_datetime(row["first_token_at"]),
        ended_at=utc_datetime(row["ended_at"]),
        replay_of=tags.get("replay_of"),
        notes=tuple(notes),
        **{name: row[name] for name in _REPLY_FIELDS},
    )
