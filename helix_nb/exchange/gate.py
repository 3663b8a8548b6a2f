"""One gate per endpoint and process: every request, single or of a batch, passes through it.

It paces (concurrency, requests and tokens per minute), lets one server's Retry-After pause
everybody, and tries again what may succeed, as long as nothing of the answer has arrived.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import lru_cache

from ..config.connection import Connection
from ..endpoints.base import Endpoint
from ..errors import HelixError, RateLimited
from ..messages import Request
from ..replies import Delta
from .rate_limits import AdaptiveLimit, PerMinuteLimit
from .reply_builder import ReplyBuilder
from .retries import Attempts, is_refusal

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

    `concurrency` bounds everything in flight; `adaptive` is what batches have learnt of the server;
    `waiting_to_retry` counts the requests that wait before their next try.
    """

    def __init__(self) -> None:
        self.in_flight = self.waiting_to_retry = 0
        self.concurrency: float = float("inf")
        self.adaptive = AdaptiveLimit()
        self._paused_until = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._limits: object = None
        self._own = PerMinuteLimit()
        self._minutes: list[PerMinuteLimit] = []

    def configure(self, connection: Connection) -> None:
        """Take over the limits set with `connect`, if they changed."""
        limits = (connection.concurrency, connection.rpm, connection.tpm)
        if limits != self._limits:
            self._limits = limits
            self.concurrency = connection.concurrency or float("inf")
            self._own = PerMinuteLimit(connection.rpm, connection.tpm)

    @contextmanager
    def limit_rates(self, *, rpm: float | None, tpm: float | None) -> Iterator[None]:
        """Keep to these limits too while inside."""
        minute = PerMinuteLimit(rpm, tpm)
        self._minutes.append(minute)
        try:
            yield
        finally:
            self._minutes.remove(minute)

    async def deltas(
        self, endpoint: Endpoint, request: Request, builder: ReplyBuilder, clock: asyncio.Timeout
    ) -> AsyncGenerator[Delta]:
        """Yield the deltas of an answer, trying again while nothing of it has arrived."""
        attempts = Attempts(request.retry_policy, endpoint.connection.retries)
        while True:
            try:
                async with (
                    self._slot(request, builder, clock),
                    aclosing(self._one_try(endpoint, request)) as deltas,
                ):
                    async for delta in deltas:
                        yield delta
                return
            except HelixError as error:
                attempts.count(error, server_unreachable=self.adaptive.unreachable)
                if not self._worth_another_try(error, attempts, request) or builder.has_content:
                    raise
                delay_s = attempts.delay_s(error)
            await self._wait_to_retry(delay_s, request)

    @asynccontextmanager
    async def _slot(
        self, request: Request, builder: ReplyBuilder, clock: asyncio.Timeout
    ) -> AsyncIterator[None]:
        """Hold a place in flight for one try, and run the clock of a request whose time counts only there."""
        booked = await self._enter(request)
        builder.attempt()
        try:
            _run_clock(clock, request, running=True)
            yield
        finally:
            _run_clock(clock, request, running=False)
            self._leave(booked, builder)

    async def _one_try(self, endpoint: Endpoint, request: Request) -> AsyncGenerator[Delta]:
        """Yield the deltas of one try; the adaptive limit learns from how it goes."""
        started_at, waiting = time.monotonic(), request.retry_policy.adaptive
        try:
            async with aclosing(endpoint.stream(request)) as deltas:
                async for delta in deltas:
                    if waiting and (delta.text or delta.reasoning or delta.finished):
                        waiting = False
                        self.adaptive.answer_began(time.monotonic() - started_at)
                    yield delta
        except HelixError as error:
            if is_refusal(error):
                self.adaptive.request_refused(started_at, error.retry_after_s, self.in_flight)
            raise
        if request.retry_policy.adaptive:
            self.adaptive.answer_ended(self.in_flight)

    def _worth_another_try(self, error: HelixError, attempts: Attempts, request: Request) -> bool:
        """Whether another try may help; a wait that the server asks for holds for everybody, then."""
        if not error.retryable:  # no waiting helps; nor should others wait
            return False
        if error.retry_after_s is not None:
            self.pause(error.retry_after_s)
        too_long = (error.retry_after_s or 0.0) > request.retry_policy.patience_s
        given_up = attempts.overloaded and self.adaptive.given_up
        return not (too_long or given_up or attempts.spent)

    async def _wait_to_retry(self, delay_s: float, request: Request) -> None:
        self.waiting_to_retry += 1
        try:
            await asyncio.sleep(delay_s)
            if request.retry_policy.adaptive:
                await self.adaptive.wait_for_turn()
        finally:
            self.waiting_to_retry -= 1

    def pause(self, seconds: float) -> None:
        """Let nobody start for that long; later pauses only ever extend it."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    async def _enter(self, request: Request) -> list[tuple[PerMinuteLimit, float]]:
        """Wait for a place and the right moment; what it returns goes to `_leave`, once."""
        await self._admitted()
        booked = self._book(request)
        try:
            await self._opened(request)
        except BaseException:
            self._leave(booked, None)
            raise
        self.adaptive.request_started()
        return booked

    def _leave(self, booked: list[tuple[PerMinuteLimit, float]], builder: ReplyBuilder | None) -> None:
        self.in_flight -= 1
        self._wake()
        for minute, reserved in booked:
            minute.settle(reserved, 0 if builder is None else _used(builder))

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
            if rest_s > request.retry_policy.patience_s:
                raise RateLimited(
                    f"The server asked everyone to wait; {rest_s:.0f} seconds are left. Try again then.",
                    retry_after_s=rest_s,
                )
            await asyncio.sleep(rest_s)

    def _book(self, request: Request) -> list[tuple[PerMinuteLimit, float]]:
        counted = [minute for minute in (self._own, *self._minutes) if minute.tpm]
        if not counted:
            return []
        characters = sum(len(message.text) for message in request.messages)
        return [(minute, minute.reserve(characters)) for minute in counted]


def _run_clock(clock: asyncio.Timeout, request: Request, *, running: bool) -> None:
    """Count the timeout of a request only while it is in flight, where its policy says so."""
    in_flight_only, timeout_s = request.retry_policy.timeout_scope == "in_flight", request.timeout_s
    if in_flight_only and timeout_s is not None and not clock.expired():
        clock.reschedule(asyncio.get_running_loop().time() + timeout_s if running else None)


def _used(builder: ReplyBuilder) -> int | None:
    """The tokens of a try: what was reported, nothing where nothing arrived, else unknown."""
    nothing = not (builder.has_content or builder.finished)
    return 0 if nothing else builder.reply().usage.total_tokens
