"""Recent conversations, read from the log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ...text import count_of, printable
from .protocol import ThreadChoice

if TYPE_CHECKING:
    from ...records.reading.threads import Thread


async def recent_choices(search: str) -> list[ThreadChoice]:
    """Return the newest conversations whose words match, to choose from."""
    from ...records.reading.threads import recent_threads

    return [
        {
            "id": thread.thread_id,
            "title": printable(thread.title),
            "about": " · ".join(
                [count_of(thread.exchanges, "exchange"), printable(thread.model), _when(thread.at_us)]
            ),
        }
        for thread in await asyncio.to_thread(recent_threads, search)
    ]


async def read_thread(thread_id: str) -> Thread:
    """Return a conversation as its last exchange left it; ConfigError when the log has none."""
    from ...records.reading.threads import thread_of

    thread = await asyncio.to_thread(thread_of, thread_id)
    if thread is None:
        raise ConfigError("The log no longer has that conversation.")
    return thread


def _when(at_us: int) -> str:
    moment = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone()
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if moment.date() == today else f"{moment:%d %b %Y}"
