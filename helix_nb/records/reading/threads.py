"""Conversations out of the log: a row holds what was new in its exchange, its parents hold the rest."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from ...messages import Message
from ...replies import Reply
from ..storage.batches import replies
from ..storage.content import load_attachments
from ..storage.log import current_log
from .filters import filter_of
from .query import FROM_WITH_TEXT, STATUS, Filter, prepare, select, text_search

TITLE_LENGTH = 120
_COLUMNS = (
    f"e.id, e.thread_id, e.parent_id, {STATUS} AS status, coalesce(e.model, e.model_requested) AS model, "
    "e.started_at, e.ended_at, t.text AS system, w.prompt, w.messages, w.response, w.tool_calls"
)
_SETTINGS = "SELECT endpoint, base_url, model_requested, params FROM exchanges WHERE id = ?"
ExchangeRow = dict[str, Any]  # `_COLUMNS` of an exchange, by name


class HasThread(Protocol):
    """Something with a thread in the log: a Chat."""

    @property
    def thread_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ThreadExchange:
    """One exchange of a thread: the messages it added with its answer last, and its Reply."""

    messages: tuple[Message, ...]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation up to its newest finished exchange, with the settings of that exchange."""

    thread_id: str
    system: str | None
    model: str | None
    endpoint: str | None
    base_url: str | None
    params: Mapping[str, Any]
    exchanges: tuple[ThreadExchange, ...]


@dataclass(frozen=True, slots=True)
class RecentThread:
    """A line of the list of conversations."""

    thread_id: str
    exchanges: int
    at_us: int  # when the newest exchange began, in microseconds since 1970 UTC
    title: str  # the first line of the first prompt
    model: str


class TranscriptRow(NamedTuple):
    """A message of a thread, as `hx.transcript` shows it."""

    thread_id: str
    exchange_id: str
    role: str
    content: str
    status: str
    model: str | None
    at: int | None  # microseconds since 1970 UTC


def recent_threads(search: str = "", most: int = 50) -> list[RecentThread]:
    """Return the newest chats with a finished exchange whose text contains `search`, newest first."""
    parts = current_log().read(partial(_recent_threads, search=search, most=most))
    return sorted((thread for part in parts for thread in part), key=lambda thread: -thread.at_us)[:most]


def _recent_threads(connection: sqlite3.Connection, search: str, most: int) -> list[RecentThread]:
    contained = text_search(search, "w.prompt, w.response")
    rows = select(
        connection,
        "e.thread_id, count(*), max(e.started_at), min(e.number), coalesce(e.model, e.model_requested, '')",
        Filter("e.source = 'chat' AND e.thread_id IS NOT NULL", contained.values),
        f"GROUP BY e.thread_id HAVING sum(e.status = 'ok') > 0 AND sum({contained.where}) > 0 "
        f"ORDER BY max(e.started_at) DESC LIMIT {most}",
        with_text=True,
    ).fetchall()
    return [
        RecentThread(thread_id, count, at_us, _title(connection, first), model)
        for thread_id, count, at_us, first, model in rows
    ]


def _title(connection: sqlite3.Connection, number: int) -> str:
    row = connection.execute("SELECT prompt FROM payloads WHERE number = ?", (number,)).fetchone()
    prompt = (row[0] if row else None) or "(without text)"
    return next(iter(prompt.strip().splitlines()), "")[:TITLE_LENGTH]


def newest_thread(tags: Mapping[str, Any]) -> Thread | None:
    """Return the newest finished conversation with these tags: of this notebook, else of any; or None."""
    scopes = ["notebook", "all"] if os.environ.get("JPY_SESSION_NAME") else ["all"]
    threads = (_newest_of(filter_of(scope, status="ok", tags=dict(tags))) for scope in scopes)
    return next((thread for thread in threads if thread is not None), None)


def thread_of(thread_id: str) -> Thread | None:
    """Return the conversation of that thread, without what an edit left behind; None where there is none."""
    return _newest_of(Filter("e.status = 'ok' AND e.thread_id = ?", [thread_id]))


def _newest_of(condition: Filter) -> Thread | None:
    parts = current_log().read(partial(_newest_in_file, condition=condition))
    return max(filter(None, parts), key=lambda part: part[0], default=(0, None))[1]


def _newest_in_file(connection: sqlite3.Connection, condition: Filter) -> tuple[int, Thread] | None:
    """Return the thread that ends in the newest exchange of a condition, and when that exchange began."""
    ending = "ORDER BY e.started_at DESC, e.number DESC LIMIT 1"
    newest = select(connection, "e.id, e.started_at", condition, ending).fetchone()
    if newest is None:
        return None
    exchange_id, started_at = newest
    (row,) = _exchange_rows(connection, "e.id = ?", exchange_id)
    chain = [*_ancestors(connection, row["parent_id"]), row]
    by_id = replies(connection, [each["id"] for each in chain])
    if len(by_id) < len(chain):  # stored without its text: nothing to go on with
        return None
    exchanges = tuple(_thread_exchange(connection, each, by_id[each["id"]]) for each in chain)
    endpoint, base_url, model, params = connection.execute(_SETTINGS, (exchange_id,)).fetchone()
    settings = json.loads(params or "{}")
    thread = Thread(row["thread_id"], row["system"], model, endpoint, base_url, settings, exchanges)
    return started_at, thread


def _thread_exchange(connection: sqlite3.Connection, row: ExchangeRow, reply: Reply) -> ThreadExchange:
    sent = (Message.of(message) for message in _new_messages(connection, row))
    answer = Message("assistant", reply.text, tool_calls=reply.tool_calls)
    return ThreadExchange((*sent, answer), reply)


def transcript_rows(connection: sqlite3.Connection, name: str) -> list[TranscriptRow]:
    """Return the messages of a thread, or of the thread of one exchange, oldest first."""
    prepare(connection)
    transcript: list[TranscriptRow] = []
    system = None
    for row in _thread_rows(connection, name):
        ids, facts = (row["thread_id"], row["id"]), (row["status"], row["model"])
        if row["system"] is not None and row["system"] != system:
            system = row["system"]
            transcript.append(TranscriptRow(*ids, "system", system, *facts, row["started_at"]))
        sent = _unseen(_new_messages(connection, row), transcript)
        transcript += [TranscriptRow(*ids, role, text, *facts, row["started_at"]) for role, text in sent]
        if row["response"] or row["tool_calls"]:
            text = _content_text(_answer(row))
            transcript.append(TranscriptRow(*ids, "assistant", text, *facts, row["ended_at"]))
    return transcript


def _unseen(messages: list[dict[str, Any]], transcript: list[TranscriptRow]) -> list[tuple[str, str]]:
    """Return role and text of an exchange's messages, without what it only repeats of rows before."""
    seen = {(row.role, row.content) for row in transcript}
    last_prompt = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=0)
    texts = [(message["role"], _content_text(message)) for message in messages]
    return [pair for pair in texts[:last_prompt] if pair not in seen] + texts[last_prompt:]


def history(connection: sqlite3.Connection, row: ExchangeRow) -> list[dict[str, Any]]:
    """Return all messages that were sent for an exchange: system, what its parents hold, its own."""
    messages: list[dict[str, Any]] = []
    if row["system"] is not None:
        messages.append({"role": "system", "content": row["system"]})
    for parent in _ancestors(connection, row["parent_id"]):
        messages += [*_new_messages(connection, parent), _answer(parent)]
    return messages + _new_messages(connection, row)


def _new_messages(connection: sqlite3.Connection, row: ExchangeRow) -> list[dict[str, Any]]:
    """Return the messages that an exchange added to what its parent holds, as they were sent."""
    if row["messages"] is None:
        return [] if row["prompt"] is None else [{"role": "user", "content": row["prompt"]}]
    messages: list[dict[str, Any]] = load_attachments(connection, json.loads(row["messages"]))
    return messages


def _answer(row: ExchangeRow) -> dict[str, Any]:
    """Return the answer to an exchange as a message."""
    calls = json.loads(row["tool_calls"] or "[]")
    message = {"role": "assistant", "content": row["response"] or None}
    return message | ({"tool_calls": calls} if calls else {})


def _content_text(message: Mapping[str, Any]) -> str:
    """Return the content of a message as text, in which `[image]` and `[call ...]` stand for what is none."""
    content = message.get("content")
    pieces = [content] if isinstance(content, str) and content else []
    if isinstance(content, list):
        pieces = [part["text"] if part.get("type") == "text" else _kind(part) for part in content]
    for call in message.get("tool_calls") or ():
        pieces.append(f"[call {call['function']['name']}({call['function']['arguments']})]")
    return "\n".join(pieces)


def _kind(part: Mapping[str, Any]) -> str:
    return f"[{str(part.get('type', 'part')).removesuffix('_url')}]"


def _thread_rows(connection: sqlite3.Connection, name: str) -> list[ExchangeRow]:
    """Return the exchanges of a thread, or of an exchange's thread, after those that it grew out of."""
    own = _exchange_rows(connection, "e.thread_id = ? ORDER BY e.started_at, e.number", name)
    if not own:
        exchange = _exchange_rows(connection, "e.id = ?", name)
        thread_id = exchange[0]["thread_id"] if exchange else name
        return exchange if thread_id == name else _thread_rows(connection, thread_id)
    ids = {row["id"] for row in own}
    return [row for row in _ancestors(connection, own[0]["parent_id"]) if row["id"] not in ids] + own


def _ancestors(connection: sqlite3.Connection, parent_id: str | None) -> list[ExchangeRow]:
    """Return the exchanges that led to one, the first of them first."""
    newest_first: list[ExchangeRow] = []
    seen: set[str] = set()
    while parent_id is not None and parent_id not in seen:
        seen.add(parent_id)
        rows = _exchange_rows(connection, "e.id = ?", parent_id)
        if not rows:
            break
        newest_first += rows
        parent_id = rows[0]["parent_id"]
    return newest_first[::-1]


def _exchange_rows(connection: sqlite3.Connection, where: str, value: str) -> list[ExchangeRow]:
    """Return the rows of a condition on `e`; the connection is prepared."""
    query = f"SELECT {_COLUMNS} {FROM_WITH_TEXT} WHERE {where}"
    cursor = connection.execute(query, (value,))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
