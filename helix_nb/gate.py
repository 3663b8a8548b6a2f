"""One gate per endpoint and process: every request, single or of a batch, passes through it.

It paces (concurrency, requests and tokens per minute), lets one server's Retry-After pause
everybody, and tries again what may succeed, as long as nothing of the answer has arrived.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import lru_cache

from .config import Connection
from .draft import Draft
from .endpoints.base import Endpoint
from .errors import HelixError, RateLimited
from .messages import Request
from .pacing import Auto, Minute
from .replies import Delta

BACKOFF_S = 0.5
BACKOFF_MOST_S = 20.0
PATIENCE_S = 120.0  # a person at a cell does not wait longer for one Retry-After; a batch does
BATCH_PATIENCE_S = 3600.0
BATCH_REFUSALS = 100  # how often a row of a batch may be told to come later
BATCH_OVERLOADS = 8  # how often it may find the server overloaded while that serves others
BATCH_BACKOFFS = 4  # so often its wait then doubles: the pacing knows sooner that the server is back
OVERLOADED = (503, 529)

_gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Gate]] = weakref.WeakKeyDictionary()


def gate_for(connection: Connection) -> Gate:
    """The gate of that endpoint on the running loop; another key has a gate, and limits, of its own."""
    gates = _gates.setdefault(asyncio.get_running_loop(), {})
    gate = gates.get(key := _key(connection))
    if gate is None:
        gate = gates[key] = Gate()
    gate.configure(connection)
    return gate


@lru_cache(maxsize=16)
def _key(connection: Connection) -> str:
    return f"{connection.identity(b'')}\n{connection.name}"


class Gate:
    """Pacing and retries for one endpoint. All its methods run on the background loop.

    `concurrency` bounds everything in flight; `auto` is what batches have learnt of the server;
    `resting` counts the requests that wait before their next try.
    """

    def __init__(self) -> None:
        self.in_flight = self.resting = 0
        self.concurrency: float = float("inf")
        self.auto = Auto()
        self._paused_until = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._settings: object = None
        self._own = Minute()
        self._minutes: list[Minute] = []

    def configure(self, connection: Connection) -> None:
        """Take over the limits set with `connect`, if they changed."""
        if connection.settings is self._settings:
            return
        self._settings = connection.settings
        self.concurrency = connection.settings.get("concurrency") or float("inf")
        self._own = Minute(connection.settings.get("rpm"), connection.settings.get("tpm"))

    @contextmanager
    def limited(self, *, rpm: float | None, tpm: float | None) -> Iterator[None]:
        """Keep to these limits too while inside."""
        minute = Minute(rpm, tpm)
        self._minutes.append(minute)
        try:
            yield
        finally:
            self._minutes.remove(minute)

    async def deltas(
        self, endpoint: Endpoint, request: Request, draft: Draft, clock: asyncio.Timeout
    ) -> AsyncGenerator[Delta]:
        """Yield the deltas of an answer, trying again while nothing of it has arrived."""
        batch = request.origin.source == "batch"
        failures = refusals = overloads = alone = 0
        while True:
            _set(clock, request, running=False)
            booked = await self._enter(request)
            _set(clock, request, running=True)
            draft.attempt()
            started_at, begun = time.monotonic(), not batch
            try:
                async with aclosing(endpoint.stream(request)) as deltas:
                    async for delta in deltas:
                        if not begun and (delta.text or delta.reasoning or delta.finished):
                            begun = True
                            self.auto.first_token(time.monotonic() - started_at)
                        yield delta
                if batch:
                    self.auto.answered(self.in_flight)
                return
            except HelixError as error:
                refused = isinstance(error, RateLimited)
                overloaded = not refused and error.status_code in OVERLOADED
                if refused or overloaded:
                    self.auto.refused(started_at, error.retry_after_s, self.in_flight)
                refusals += refused and batch
                overloads += overloaded and batch
                alone += overloaded and batch and not self.auto.down
                failures += not (batch and (refused or overloaded))
                tries = failures + refusals + min(overloads, BATCH_BACKOFFS)
                delay_s = self._delay_s(error, tries, patience_s=_patience_s(request))
                retries = endpoint.connection.retries
                spent = failures > retries or refusals > BATCH_REFUSALS
                spent = spent or alone > max(retries, BATCH_OVERLOADS) or (overloads > 0 and self.auto.gone())
                if draft.has_content or spent or delay_s is None:
                    raise
            finally:
                self._leave(booked, draft)
            _set(clock, request, running=False)
            await self._rest(delay_s, paced=batch)

    async def _rest(self, delay_s: float, *, paced: bool) -> None:
        """Wait between two tries."""
        self.resting += 1
        try:
            await asyncio.sleep(delay_s)
            if paced:
                await self.auto.turn()
        finally:
            self.resting -= 1

    def pause(self, seconds: float) -> None:
        """Let nobody start for that long; later pauses only ever extend it."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    async def _enter(self, request: Request) -> list[tuple[Minute, float]]:
        """Wait for a place and the right moment; what it returns goes to `_leave`, once."""
        await self._admitted()
        booked = self._book(request)
        try:
            await self._opened(request)
        except BaseException:
            self._leave(booked, None)
            raise
        self.auto.started()
        return booked

    def _leave(self, booked: list[tuple[Minute, float]], draft: Draft | None) -> None:
        self.in_flight -= 1
        self._wake()
        for minute, reserved in booked:
            minute.settle(reserved, 0 if draft is None else _used(draft))

    async def _admitted(self) -> None:
        while self.in_flight >= self.concurrency:
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            try:
                await freed
            except asyncio.CancelledError:
                if freed.done() and not freed.cancelled():
                    self._wake()
                raise
        self.in_flight += 1

    def _wake(self) -> None:
        while self._waiting:
            freed = self._waiting.popleft()
            if not freed.done():
                freed.set_result(None)
                return

    async def _opened(self, request: Request) -> None:
        await self._unpaused(request)
        wait_s = max((minute.wait_s() for minute in (self._own, *self._minutes)), default=0.0)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
            await self._unpaused(request)

    async def _unpaused(self, request: Request) -> None:
        while (rest_s := self._paused_until - time.monotonic()) > 0:
            if rest_s > _patience_s(request):
                raise RateLimited(
                    f"The server asked everyone to wait; {rest_s:.0f} seconds are left. Try again then.",
                    retry_after_s=rest_s,
                )
            await asyncio.sleep(rest_s)

    def _book(self, request: Request) -> list[tuple[Minute, float]]:
        counted = [minute for minute in (self._own, *self._minutes) if minute.tpm]
        if not counted:
            return []
        characters = sum(len(message.text) for message in request.messages)
        return [(minute, minute.reserve(characters)) for minute in counted]

    def _delay_s(self, error: HelixError, failures: int, *, patience_s: float) -> float | None:
        """Seconds to wait before the next try; None when another try is not worth it."""
        if not error.retryable:  # no waiting helps; nor should others wait
            return None
        if error.retry_after_s is not None:
            self.pause(error.retry_after_s)
        if error.retry_after_s:  # 0, or a time that is past, says nothing of how long
            return 0.0 if error.retry_after_s <= patience_s else None
        most_s = min(BACKOFF_S * 2 ** (failures - 1), BACKOFF_MOST_S)
        return random.uniform(most_s / 2, most_s)  # noqa: S311 - jitter, not a secret


def _set(clock: asyncio.Timeout, request: Request, *, running: bool) -> None:
    """Let a row's time run while its request is out: how long it waits for its turn is not its own doing."""
    if request.origin.source == "batch" and request.timeout_s is not None and not clock.expired():
        clock.reschedule(asyncio.get_running_loop().time() + request.timeout_s if running else None)


def _used(draft: Draft) -> int | None:
    """The tokens of a try: what was reported, nothing where nothing arrived, else unknown."""
    nothing = not (draft.has_content or draft.finished)
    return 0 if nothing else draft.reply().usage.total_tokens


def _patience_s(request: Request) -> float:
    return BATCH_PATIENCE_S if request.origin.source == "batch" else PATIENCE_S
