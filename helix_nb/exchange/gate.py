"""One gate per endpoint and process: every request, single or of a batch, passes through it.

It paces (concurrency, requests and tokens per minute), lets a server's Retry-After pause all
requests, and tries a failed request again as long as nothing of its answer has arrived.
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

Reservations = list[tuple[PerMinuteLimit, float]]  # tokens, by limit

_gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Gate]] = weakref.WeakKeyDictionary()


def gate_for(connection: Connection) -> Gate:
    """Return the gate of an endpoint on the running loop; with another key it has another gate and limits."""
    gates = _gates.setdefault(asyncio.get_running_loop(), {})
    gate = gates.get(identity := _identity(connection))
    if gate is None:
        gate = gates[identity] = Gate()
    gate.configure(connection)
    return gate


@lru_cache(maxsize=16)
def _identity(connection: Connection) -> str:
    return f"{connection.identity(b'')}\n{connection.name}"


class Gate:
    """Pace and retry the requests to one endpoint. All methods run on the background loop."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting_to_retry = 0  # requests that wait before their next try
        self.concurrency = float("inf")  # the most that may be in flight
        self.adaptive = AdaptiveLimit()  # learnt from the requests of batches
        self._paused_until_s = 0.0
        self._queue: deque[asyncio.Future[None]] = deque()  # requests that wait for a place in flight
        self._limits: tuple[float | None, ...] = ()  # as configured
        self._per_minute = [PerMinuteLimit()]  # the endpoint's, then those of `limit_rates`

    def configure(self, connection: Connection) -> None:
        """Take over the limits of a connection, if they changed."""
        limits = (connection.concurrency, connection.rpm, connection.tpm)
        if limits != self._limits:
            self._limits = limits
            self.concurrency = connection.concurrency or float("inf")
            self._per_minute[0] = PerMinuteLimit(connection.rpm, connection.tpm)

    @contextmanager
    def limit_rates(self, *, rpm: float | None, tpm: float | None) -> Iterator[None]:
        """Keep to these limits too inside the block."""
        limit = PerMinuteLimit(rpm, tpm)
        self._per_minute.append(limit)
        try:
            yield
        finally:
            self._per_minute.remove(limit)

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
                if not self._may_succeed_later(error, attempts, request) or builder.has_content:
                    raise
                delay_s = attempts.delay_s(error)
            await self._wait_to_retry(delay_s, request)

    @asynccontextmanager
    async def _slot(
        self, request: Request, builder: ReplyBuilder, clock: asyncio.Timeout
    ) -> AsyncIterator[None]:
        """Hold a place in flight for one try; the timeout of some requests counts only there."""
        reservations = await self._enter(request)
        builder.count_attempt()
        try:
            _run_clock(clock, request, running=True)
            yield
        finally:
            _run_clock(clock, request, running=False)
            self._leave(reservations, builder.tokens_used)

    async def _one_try(self, endpoint: Endpoint, request: Request) -> AsyncGenerator[Delta]:
        """Yield the deltas of one try; the adaptive limit learns from how it goes."""
        started_s, awaits_answer = time.monotonic(), request.retry_policy.adaptive
        try:
            async with aclosing(endpoint.stream(request)) as deltas:
                async for delta in deltas:
                    if awaits_answer and (delta.text or delta.reasoning or delta.finished):
                        awaits_answer = False
                        self.adaptive.answer_began(time.monotonic() - started_s)
                    yield delta
        except HelixError as error:
            if is_refusal(error):
                self.adaptive.request_refused(started_s, error.retry_after_s, self.in_flight)
            raise
        if request.retry_policy.adaptive:
            self.adaptive.answer_ended(self.in_flight)

    def _may_succeed_later(self, error: HelixError, attempts: Attempts, request: Request) -> bool:
        """Return whether another try may help; a wait that the server asks for then pauses all requests."""
        if not error.retryable:  # nor should others wait
            return False
        if error.retry_after_s is not None:
            self.pause(error.retry_after_s)
        is_too_long = (error.retry_after_s or 0.0) > request.retry_policy.patience_s
        is_given_up = attempts.overloaded and self.adaptive.given_up
        return not (is_too_long or is_given_up or attempts.spent)

    async def _wait_to_retry(self, delay_s: float, request: Request) -> None:
        self.waiting_to_retry += 1
        try:
            await asyncio.sleep(delay_s)
            if request.retry_policy.adaptive:
                await self.adaptive.wait_for_turn()
        finally:
            self.waiting_to_retry -= 1

    def pause(self, seconds: float) -> None:
        """Let no request start for so long; a later pause can only extend this one."""
        self._paused_until_s = max(self._paused_until_s, time.monotonic() + seconds)

    async def _enter(self, request: Request) -> Reservations:
        """Wait for a place in flight and for the limits; return the tokens reserved, for `_leave`."""
        await self._take_place()
        reservations = self._reserve_tokens(request)
        try:
            await self._wait_for_limits(request)
        except BaseException:
            self._leave(reservations, used=0)
            raise
        self.adaptive.request_started()
        return reservations

    def _leave(self, reservations: Reservations, used: int | None) -> None:
        self.in_flight -= 1
        self._wake_next()
        for limit, reserved in reservations:
            limit.settle(reserved, used)

    async def _take_place(self) -> None:
        while self.in_flight >= self.concurrency:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake_next()
                raise
        self.in_flight += 1

    def _wake_next(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _wait_for_limits(self, request: Request) -> None:
        await self._wait_out_pause(request)
        wait_s = max(limit.wait_s() for limit in self._per_minute)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
            await self._wait_out_pause(request)

    async def _wait_out_pause(self, request: Request) -> None:
        while (left_s := self._paused_until_s - time.monotonic()) > 0:
            if left_s > request.retry_policy.patience_s:
                raise RateLimited(
                    f"The server asked everyone to wait; {left_s:.0f} seconds are left. Try again then.",
                    retry_after_s=left_s,
                )
            await asyncio.sleep(left_s)

    def _reserve_tokens(self, request: Request) -> Reservations:
        limits = [limit for limit in self._per_minute if limit.tpm]
        if not limits:
            return []
        characters = sum(len(message.text) for message in request.messages)
        return [(limit, limit.reserve(characters)) for limit in limits]


def _run_clock(clock: asyncio.Timeout, request: Request, *, running: bool) -> None:
    """Count the timeout of a request only while it is in flight, where its RetryPolicy says so."""
    in_flight_only, timeout_s = request.retry_policy.timeout_scope == "in_flight", request.timeout_s
    if in_flight_only and timeout_s is not None and not clock.expired():
        clock.reschedule(asyncio.get_running_loop().time() + timeout_s if running else None)
