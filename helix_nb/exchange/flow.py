"""The one flow. A cell, a panel, a row of a frame and `ask` are four views of it.

Log the request as `pending`, stream deltas to the watcher, and in `finally` finish that row,
whatever happened; then return the Reply or raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from functools import partial
from typing import Protocol

from ..endpoints.base import Endpoint
from ..errors import HelixError, TruncatedReply
from ..messages import Request
from ..records.storage.log import Log
from ..replies import Delta, Reply
from .gate import gate_for
from .reply_builder import ReplyBuilder


class Watcher(Protocol):
    """Watches exchanges while they go on; its methods are called on the background loop."""

    def exchange_started(self, builder: ReplyBuilder) -> None:
        """Watch another exchange; its Reply grows in `builder`."""
        ...

    def delta_arrived(self, delta: Delta) -> Awaitable[None] | None:
        """Take in one delta; the next is read when the result is done, which slows only the server."""
        ...


async def exchange(request: Request, endpoint: Endpoint, log: Log, watcher: Watcher | None = None) -> Reply:
    """Send one request, record it, and return the finished Reply or raise a HelixError holding it."""
    builder = ReplyBuilder(request, endpoint.connection)
    if watcher is not None:
        watcher.exchange_started(builder)
    try:
        async with asyncio.timeout_at(request.ends_at) as clock:
            identity = partial(endpoint.connection.identity, model=request.model)
            await log.begin(request, builder.reply(), identity)
            gate = gate_for(endpoint.connection)
            async with aclosing(gate.deltas(endpoint, request, builder, clock)) as deltas:
                async for delta in deltas:
                    shown = builder.add(delta)
                    if watcher is not None and (pause := watcher.delta_arrived(shown)) is not None:
                        await pause
                    if builder.is_save_due():
                        log.update(builder.reply())
        if not builder.finished:
            raise TruncatedReply("The answer ended before it was finished; what arrived is kept.")
        return builder.close("ok")
    except asyncio.CancelledError:
        builder.close("interrupted")
        raise
    except TimeoutError:
        if builder.finished:  # only the token counts were still to come
            return builder.close("ok")
        error = request.timeout_error()
        builder.close("error", error)
        raise error from None
    except HelixError as error:
        builder.close("truncated" if isinstance(error, TruncatedReply) else "error", error)
        raise
    except Exception as bug:
        builder.close("error", HelixError(f"{type(bug).__name__}: {bug}"))
        raise
    finally:
        log.finish(request, builder.reply())
