"""Recent conversations, read from the log, and one of them taken up again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..chat import Chat, Turn
from ..config import endpoints
from ..errors import ConfigError
from ..markdown import plain
from ..messages import Message, Reply

MOST = 50

_RECENT = """
SELECT e.thread_id, count(*), max(e.started_at), min(e.number), coalesce(e.model, e.model_requested, '')
FROM exchanges e LEFT JOIN payloads w USING (number)
WHERE e.source = 'chat' AND e.thread_id IS NOT NULL
GROUP BY e.thread_id HAVING sum(e.status = 'ok') > 0 AND sum(found(?, w.prompt, w.response)) > 0
ORDER BY max(e.started_at) DESC LIMIT ?
"""
_SETTINGS = "SELECT endpoint, base_url, model_requested, params FROM exchanges WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation of the log: its turns and what its last exchange was sent with."""

    id: str
    turns: tuple[Turn, ...]
    endpoint: str | None
    model: str | None
    system: str | None
    params: dict[str, Any]


async def recent(search: str) -> list[dict[str, str]]:
    """The newest conversations whose words match: id, title, and when."""
    return await asyncio.to_thread(_recent, search.casefold())


def _recent(search: str) -> list[dict[str, str]]:
    from ..records import current_log

    parts = current_log().read(lambda connection: _listed(connection, search))
    rows = sorted((row for part in parts for row in part), key=lambda row: -row[2])[:MOST]
    return [
        {"id": thread, "title": plain(title), "about": f"{count} · {plain(model)} · {_when(at)}"}
        for thread, count, at, title, model in rows
    ]


def _listed(connection: sqlite3.Connection, search: str) -> list[tuple[Any, ...]]:
    connection.create_function("found", -1, _found, deterministic=True)
    rows = connection.execute(_RECENT, (search, MOST)).fetchall()
    titled = []
    for thread, count, at, first, model in rows:
        prompt = connection.execute("SELECT prompt FROM payloads WHERE number = ?", (first,)).fetchone()
        title = ((prompt and prompt[0]) or "(without text)").strip().splitlines()
        titled.append(
            (thread, f"{count} exchange{'s' * (count != 1)}", at, title[0][:120] if title else "", model)
        )
    return titled


def _found(needle: str, *texts: str | None) -> bool:
    return any(text is not None and needle in text.casefold() for text in texts)


def _when(at_us: int) -> str:
    moment = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone()
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if moment.date() == today else f"{moment:%d %b %Y}"


async def read(thread: str) -> Thread:
    """A conversation as its last exchange left it; ConfigError when the log has none."""
    return await asyncio.to_thread(_read, thread)


def _read(thread: str) -> Thread:
    from ..records import current_log

    log = current_log()
    chains = [chain for chain in log.read(lambda connection: _chain(connection, thread)) if chain[0]]
    if not chains:
        raise ConfigError("The log no longer has that conversation.")
    rows, (endpoint, base_url, model, params) = chains[0]
    replies = log.replies([row["id"] for row in rows])
    turns = tuple(_turns(rows, replies))
    known = endpoints().get(endpoint)
    same = endpoint if known is not None and known.base_url == base_url else None
    return Thread(thread, turns, same, model, rows[-1]["system"], _plain_params(params))


def _chain(connection: sqlite3.Connection, thread: str) -> tuple[list[dict[str, Any]], Any]:
    """The exchanges from the first to the newest good one: what an edit left behind is not among them."""
    from ..records import conversation
    from ..records.filters import prepare

    prepare(connection)
    own = conversation.exchange_rows(connection, "e.thread_id = ? ORDER BY e.started_at, e.number", [thread])
    good = [row for row in own if row["status"] == "ok"]
    chain = good[-1:]
    while chain and chain[0]["parent_id"]:
        before = conversation.exchange_rows(connection, "e.id = ?", [chain[0]["parent_id"]])
        if not before or before[0]["id"] in {row["id"] for row in chain}:
            break
        chain = before + chain
    for row in chain:
        row["asked"] = conversation.asked(connection, row)
    settings = connection.execute(_SETTINGS, (chain[-1]["id"],)).fetchone() if chain else None
    return chain, settings


def _turns(rows: list[dict[str, Any]], replies: dict[str, Reply]) -> list[Turn]:
    """A turn begins with a user's message; rounds of tool calls belong to the turn before them."""
    turns: list[Turn] = []
    for row in rows:
        asked = [Message.of(message) for message in row["asked"]]
        reply = replies.get(row["id"]) or Reply(
            text=row["response"] or "", status="ok", exchange_id=row["id"]
        )
        answer = Message("assistant", reply.text, tool_calls=reply.tool_calls)
        if turns and not any(message.role == "user" for message in asked):
            before = turns.pop()
            turns.append(Turn((*before.messages, *asked, answer), row["id"], reply=reply))
        else:
            turns.append(Turn((*asked, answer), row["id"], reply=reply))
    return turns


def _plain_params(params: str | None) -> dict[str, Any]:
    """The parameters that the panel shows; others (tools) are functions of the kernel that sent them."""
    kept = json.loads(params or "{}")
    return {name: kept[name] for name in ("temperature", "top_p", "max_tokens") if name in kept}


def put(chat: Chat, thread: Thread) -> None:
    """Make a Chat go on with a conversation of the log."""
    chat.turns[:] = thread.turns
    chat.thread_id = thread.id
    chat.endpoint, chat.model, chat.system = thread.endpoint, thread.model, thread.system
    for name in ("temperature", "top_p", "max_tokens"):
        chat.params.pop(name, None)
    chat.params.update(thread.params)
