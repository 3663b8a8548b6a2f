"""Recent conversations, read from the log, and one of them taken up again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...chat.chat import Chat
from ...chat.turns import turns_of
from ...config.registry import endpoints
from ...errors import ConfigError
from ...text import count_of, printable

if TYPE_CHECKING:
    from ...records.reading.threads import Thread

SETTINGS = ("temperature", "top_p", "max_tokens")  # those of its parameters that a panel shows


async def recent(search: str) -> list[dict[str, str]]:
    """The newest conversations whose words match: id, title, and when."""
    from ...records.reading.threads import recent_threads

    found = await asyncio.to_thread(recent_threads, search)
    return [
        {
            "id": one.thread_id,
            "title": printable(one.title),
            "about": f"{_count(one.exchanges)} · {printable(one.model)} · {_when(one.at_us)}",
        }
        for one in found
    ]


async def read(thread_id: str) -> Thread:
    """A conversation as its last exchange left it; ConfigError when the log has none."""
    from ...records.reading.threads import thread_of

    thread = await asyncio.to_thread(thread_of, thread_id)
    if thread is None:
        raise ConfigError("The log no longer has that conversation.")
    return thread


def put(chat: Chat, thread: Thread) -> None:
    """Make a Chat go on with a conversation of the log, at its endpoint if that is still the same."""
    known = endpoints().get(thread.endpoint or "")
    same = known is not None and known.base_url == thread.base_url
    chat.turns[:] = turns_of(thread)
    chat.thread_id = thread.thread_id
    chat.endpoint, chat.model, chat.system = thread.endpoint if same else None, thread.model, thread.system
    for name in SETTINGS:
        chat.params.pop(name, None)
    chat.params.update({name: thread.params[name] for name in SETTINGS if name in thread.params})


def _count(exchanges: int) -> str:
    return count_of(exchanges, "exchange")


def _when(at_us: int) -> str:
    moment = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone()
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if moment.date() == today else f"{moment:%d %b %Y}"
