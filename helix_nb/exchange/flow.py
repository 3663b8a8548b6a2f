"""The one flow. A cell, a panel, a row of a frame and `ask` are four views of it.

Log the request as `pending`, stream deltas to whoever watches, and in `finally` finish that row,
whatever happened; then return the Reply or raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from ..endpoints.base import Endpoint
from ..errors import HelixError, TruncatedReply
from ..messages import Request
from ..records.storage.log import Log
from ..replies import Delta, Reply
from .gate import gate_for
from .reply_builder import ReplyBuilder

# What it returns is awaited: a slow reader slows the server, never the loop.
Watch = Callable[[Delta, ReplyBuilder], Awaitable[None] | None]


async def exchange(request: Request, endpoint: Endpoint, log: Log, watch: Watch | None = None) -> Reply:
    """Send one request, record it, and return the finished Reply or raise a HelixError holding it."""
    draft = ReplyBuilder(request, endpoint.connection)
    if watch is not None:
        watch(Delta(), draft)
    try:
        async with asyncio.timeout_at(request.ends_at) as clock:
            await log.begin(request, draft.reply(), endpoint.connection.identity)
            gate = gate_for(endpoint.connection)
            async with aclosing(gate.deltas(endpoint, request, draft, clock)) as deltas:
                async for delta in deltas:
                    shown = draft.add(delta)
                    if watch is not None and (ready := watch(shown, draft)) is not None:
                        await ready
                    if draft.due():
                        log.keep(draft.reply())
        if not draft.finished:
            raise TruncatedReply("The answer ended before it was finished; what arrived is kept.")
        return draft.close("ok")
    except asyncio.CancelledError:
        draft.close("interrupted")
        raise
    except TimeoutError:
        if draft.finished:  # only its token counts were still to come
            return draft.close("ok")
        error = request.out_of_time()
        draft.close("error", error)
        raise error from None
    except HelixError as error:
        draft.close("truncated" if isinstance(error, TruncatedReply) else "error", error)
        raise
    except Exception as bug:
        draft.close("error", HelixError(f"{type(bug).__name__}: {bug}"))
        raise
    finally:
        log.finish(request, draft.reply())
