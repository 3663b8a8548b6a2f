"""One gate per endpoint and process: every request, single or of a batch, passes through it.

It paces (concurrency, requests per minute), lets one server's Retry-After pause everybody, and
tries again what may succeed, as long as nothing of the answer has arrived.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from .config import Connection
from .draft import Draft
from .endpoints import Endpoint
from .errors import HelixError, RateLimited
from .messages import Delta, Request

BACKOFF_S = 0.5
BACKOFF_MOST_S = 20.0
PATIENCE_S = 120.0  # a person at a cell does not wait longer for one Retry-After; a batch does
BATCH_PATIENCE_S = 3600.0

_gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Gate]] = weakref.WeakKeyDictionary()


def gate_for(connection: Connection) -> Gate:
    """The gate of that endpoint on the running loop."""
    gates = _gates.setdefault(asyncio.get_running_loop(), {})
    key = f"{connection.base_url} {connection.app_id or ''} {connection.name}"
    if key not in gates:
        gates[key] = Gate()
    return gates[key]


class Gate:
    """Pacing and retries for one endpoint. All its methods run on the background loop."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.rpm: float | None = None
        self.concurrency: float = float("inf")
        self._paused_until = 0.0
        self._next_start = 0.0
        self._freed = asyncio.Condition()

    async def deltas(self, endpoint: Endpoint, request: Request, draft: Draft) -> AsyncGenerator[Delta]:
        """Yield the deltas of an answer, trying again while nothing of it has arrived."""
        failures = 0
        while True:
            async with self._turn(request):
                draft.attempt()
                try:
                    async with aclosing(endpoint.stream(request)) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                except HelixError as error:
                    failures += 1
                    delay_s = self._delay_s(error, failures, patience_s=_patience_s(request))
                    if draft.has_content or failures > endpoint.connection.retries or delay_s is None:
                        raise
            await asyncio.sleep(delay_s)

    def pause(self, seconds: float) -> None:
        """Let nobody start for that long; later pauses only ever extend it."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        async with self._freed:
            await self._freed.wait_for(lambda: self.in_flight < self.concurrency)
            self.in_flight += 1
        try:
            await self._opened(request)
            yield
        finally:
            self.in_flight -= 1
            async with self._freed:
                self._freed.notify()

    async def _opened(self, request: Request) -> None:
        while (rest_s := self._paused_until - time.monotonic()) > 0:
            if rest_s > _patience_s(request):
                raise RateLimited(
                    f"The server asked everyone to wait; {rest_s:.0f} seconds are left. Try again then.",
                    retry_after_s=rest_s,
                )
            await asyncio.sleep(rest_s)
        if self.rpm:
            start = max(self._next_start, time.monotonic())
            self._next_start = start + 60.0 / self.rpm
            await asyncio.sleep(start - time.monotonic())

    def _delay_s(self, error: HelixError, failures: int, *, patience_s: float) -> float | None:
        """Seconds to wait before the next try; None when another try is not worth it."""
        if error.retry_after_s is not None:
            self.pause(error.retry_after_s)
        if not error.retryable:
            return None
        if error.retry_after_s is not None:
            return 0.0 if error.retry_after_s <= patience_s else None
        most_s = min(BACKOFF_S * 2 ** (failures - 1), BACKOFF_MOST_S)
        return random.uniform(most_s / 2, most_s)  # noqa: S311 - jitter, not a secret


def _patience_s(request: Request) -> float:
    return BATCH_PATIENCE_S if request.origin.source == "batch" else PATIENCE_S
