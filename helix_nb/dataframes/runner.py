"""The run of a batch on the background loop: reuse what the log has, send the rest, never lose a row."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..config.connection import Connection
from ..errors import AuthError, ConnectionFailed, HelixError, NotAllowed, QuotaExceeded, RateLimited
from ..exchange.gate import Gate, gate_for
from ..exchange.retries import BATCH_POLICY, OVERLOAD_STATUSES
from ..exchange.rounds import run_rounds
from ..messages import Request
from ..replies import Reply
from .batch_log import BatchLog, Claim
from .limits import Limits, Spending
from .progress import Progress
from .results import BatchResults, RowResult
from .rows.plan import Plan
from .text_column import TextColumn

GROUP = 64  # requests claimed in one transaction
MOST_UNREACHABLE = 20  # rows in a row that found no server, or one that is down: nobody is there
WAIT_FOR_OTHERS_S = 0.5
STOPPING = (AuthError, NotAllowed, QuotaExceeded)  # every further row would meet them, too

_runs = 0  # batches under way; only the background loop counts them
_frozen = False


class Runner:
    """One batch under way: `reuse()`, then `send()`; `results` has what came of it."""

    def __init__(
        self, plan: Plan, connection: Connection, batch_log: BatchLog, limits: Limits, progress: Progress
    ) -> None:
        self.plan, self.connection, self.batch_log = plan, connection, batch_log
        self.limits, self.progress = limits, progress
        self.results = BatchResults(plan)
        self.texts = TextColumn(plan, self.results)
        self.mismatches: list[RowResult] = []  # answers off their schema, whose repair was sent
        self.sent = 0  # requests, repairs counted
        self.stop_reason: str | None = None
        self._spending = Spending(limits)
        self._active: set[asyncio.Task[None]] = set()
        self._claims: set[asyncio.Task[Claim]] = set()
        self._freed = asyncio.Event()
        self._unreachable = 0  # rows in a row
        self.results.listen(self._spending.add, batch_log.add, self.texts.add, self._show)

    async def reuse(self) -> None:
        """Take over what the batch has answered before, and link every row in the log."""
        exchange_ids: list[str | None] = [None] * self.plan.request_count  # of results that may drop theirs
        async for slot, answer in self.batch_log.answers():
            exchange_ids[slot] = answer.exchange_id
            self.results.add(slot, answer)
        await self.batch_log.link_all(exchange_ids)

    async def send(self, most: int | None = None) -> None:
        """Ask the rest, or so many of it. Some may stay without a result; `stop_reason` says why."""
        gate = gate_for(self.connection)
        try:
            with _gc_frozen(), gate.limit_rates(rpm=self.limits.rpm, tpm=self.limits.tpm):
                await self._send(self.results.open_slots()[:most], gate)
        finally:
            await self._leave()

    async def _send(self, slots: Sequence[int], gate: Gate) -> None:
        """Send these requests; those that another run has claimed are sent once it has given them up."""
        while slots and not self.stop_reason:
            claimed_elsewhere = await self._send_groups(slots, gate)
            while self._active:
                await self._wait_for_one()
            slots = [slot for slot in claimed_elsewhere if self.results[slot] is None]
            if slots and not self.stop_reason:
                self.progress.describe(f"waiting for {len(slots)} rows that another kernel asks")
                await asyncio.sleep(WAIT_FOR_OTHERS_S)

    async def _send_groups(self, slots: Sequence[int], gate: Gate) -> list[int]:
        """Send these requests group by group, and return those that another run has claimed."""
        claimed_elsewhere: list[int] = []
        claim = self._begin_claim(slots[:GROUP])
        for start in range(0, len(slots), GROUP):
            to_send, answers = await asyncio.shield(claim)
            claim = self._begin_claim(slots[start + GROUP : start + 2 * GROUP])
            await self._send_group(to_send, answers, gate)
            claimed_elsewhere += set(slots[start : start + GROUP]).difference(to_send, answers)
            if self.stop_reason:
                break
        return sorted(claimed_elsewhere)

    def _begin_claim(self, slots: Sequence[int]) -> asyncio.Task[Claim]:
        """Begin to claim a group while the one before is sent: a free place must not wait for the log."""
        claim = asyncio.create_task(self.batch_log.claim(slots))
        self._claims.add(claim)
        claim.add_done_callback(self._claims.discard)
        return claim

    async def _send_group(self, to_send: Sequence[int], answers: Mapping[int, RowResult], gate: Gate) -> None:
        for slot, answer in answers.items():
            self.results.add(slot, answer)
        for slot, request in self.plan.requests(to_send):
            await self._wait_for_room(gate)
            if self.stop_reason:
                break
            self.sent += 1
            task = asyncio.create_task(self._ask(slot, request))
            self._active.add(task)
            task.add_done_callback(self._end_task)

    async def _wait_for_room(self, gate: Gate) -> None:
        """Wait until one more request may be in flight."""
        while not self.stop_reason:
            in_flight = len(self._active)
            if in_flight < self._most_in_flight(gate):
                reason = self._spending.reason_to_stop(in_flight)
                if reason is None:
                    break
                if not in_flight:
                    self._stop(reason)
                    return
            await self._wait_for_one()
        if self.limits.concurrency == "auto" and not self.stop_reason:
            await gate.adaptive.wait_for_turn()

    def _most_in_flight(self, gate: Gate) -> float:
        most: float = gate.adaptive.limit if self.limits.concurrency == "auto" else self.limits.concurrency
        if self.limits.concurrency == "auto":
            most += min(gate.waiting_to_retry, most)  # because those are not at the server
        return min(most, self._spending.most_in_flight)

    async def _wait_for_one(self) -> None:
        """Wait until a request in flight has ended."""
        self._freed.clear()
        await self._freed.wait()

    def _end_task(self, task: asyncio.Task[None]) -> None:
        self._active.discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stop(f"{type(error).__name__}: {error}")

    async def _ask(self, slot: int, request: Request) -> None:
        row_key = self.plan.row_key(self.plan.first_positions[slot])
        request = replace(request, origin=replace(request.origin, row_key=row_key))
        try:
            ended = await run_rounds(
                request, self.connection, schema=self.plan.schema, on_mismatch=self._count_mismatch
            )
            result = RowResult.of_reply(ended.reply)
            self._unreachable = 0
        except HelixError as error:
            result = RowResult.of_error(error)
            self._stop_where_pointless(error)
        except Exception as bug:  # noqa: BLE001 - because one row's fault must cost no other row
            result = RowResult.of_error(HelixError(f"{type(bug).__name__}: {bug}"))
            self._stop_where_pointless(bug)
        self.results.add(slot, result)

    def _count_mismatch(self, reply: Reply) -> None:
        """Count an answer off its schema, because it is paid for like its repair."""
        self.sent += 1
        result = replace(RowResult.of_reply(reply), text=None, exchange_id=None)
        self.mismatches.append(result)
        self._spending.add_usage(result)
        self.progress.add_usage(result)

    def _show(self, slot: int, result: RowResult) -> None:
        self.progress.add(result, rows=len(self.plan.positions(slot)), in_flight=len(self._active))

    def _stop_where_pointless(self, error: Exception) -> None:
        """Stop the batch where going on would only repeat the same failure."""
        self._unreachable = self._unreachable + 1 if _finds_nobody(error) else 0
        wait_s = (error.retry_after_s or 0.0) if isinstance(error, RateLimited) else 0.0
        if wait_s > BATCH_POLICY.patience_s:
            self._stop(f"the server asks to wait {wait_s:.0f} seconds; run it again then")
        if isinstance(error, STOPPING) or self._unreachable >= MOST_UNREACHABLE:
            self._stop(str(error) if isinstance(error, HelixError) else f"{type(error).__name__}: {error}")

    def _stop(self, reason: str) -> None:
        """Send no further request; the first reason counts."""
        self.stop_reason = self.stop_reason or reason

    async def _leave(self) -> None:
        for task in self._active:
            task.cancel()
        # The last claim ends first, so that what it took is given up with the others.
        await asyncio.gather(*self._active, *self._claims, return_exceptions=True)
        await self.batch_log.leave()


def _finds_nobody(error: Exception) -> bool:
    """Return whether an error would meet every row: no server, one that is overloaded, a bug."""
    if not isinstance(error, HelixError):
        return True
    return isinstance(error, ConnectionFailed) or error.status_code in OVERLOAD_STATUSES


@contextmanager
def _gc_frozen() -> Iterator[None]:
    """Have the collector search only what is made inside; the last one out brings back the rest.

    Because a batch makes so many objects that whole-heap searches follow one another: in a notebook
    65 ms and more each, in which nothing moves. Frozen, 5,000 rows are 10 % faster
    (`benchmarks/batch.py`). Where somebody else has called `gc.freeze`, everything stays as it is.
    """
    global _runs, _frozen
    if not _runs and not gc.get_freeze_count():
        gc.freeze()
        _frozen = True
    _runs += 1
    try:
        yield
    finally:
        _runs -= 1
        if not _runs and _frozen:
            gc.unfreeze()
            _frozen = False
