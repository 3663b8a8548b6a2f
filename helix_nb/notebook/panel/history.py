"""Recent conversations, read from the log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ...text import count_of, printable

if TYPE_CHECKING:
    from ...records.reading.threads import Thread


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


def _count(exchanges: int) -> str:
    return count_of(exchanges, "exchange")


def _when(at_us: int) -> str:
    moment = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone()
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if moment.date() == today else f"{moment:%d %b %Y}"
