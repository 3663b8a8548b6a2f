"""The run of a batch on the background loop: reuse what the log has, send the rest, never lose a row."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..config.connection import Connection
from ..errors import AuthError, ConnectionFailed, HelixError, NotAllowed, QuotaExceeded, RateLimited
from ..exchange.gate import Gate, gate_for
from ..exchange.retries import BATCH, OVERLOADED
from ..exchange.rounds import rounds
from ..messages import Request
from ..replies import Reply
from .batch_log import BatchLog, Claim
from .limits import Limits, Spending
from .progress import Progress
from .results import RowResult, answered, failed
from .rows.plan import Plan
from .text_column import TextColumn

if TYPE_CHECKING:
    from ..schemas import Schema

GROUP = 64  # requests claimed in one transaction
UNREACHABLE = 20  # rows in a row that found no server, or one that is down: nobody is there
WAIT_FOR_OTHERS_S = 0.5
STOPPING = (AuthError, NotAllowed, QuotaExceeded)

_runs = 0  # only the background loop counts
_frozen = False


@dataclass
class Runner:
    """One batch under way. `outcomes[slot]` is None until that request is done."""

    plan: Plan
    connection: Connection
    memory: BatchLog
    limits: Limits
    progress: Progress
    schema: Schema | None = None
    outcomes: list[RowResult | None] = field(default_factory=list)
    stopped: str | None = None
    sent: int = 0
    unfit: list[RowResult] = field(default_factory=list)  # answers whose repair was sent
    _active: set[asyncio.Task[None]] = field(default_factory=set)
    _claiming: set[asyncio.Task[Claim]] = field(default_factory=set)
    _unreachable: int = 0

    async def reuse(self) -> None:
        """Take over what the batch has answered before, and note every row in the log."""
        self.outcomes = [None] * len(self.plan.firsts)
        self.texts = TextColumn(self.plan, self.outcomes)
        ids: list[str | None] = [None] * len(self.outcomes)  # what `_set` may drop
        async for slot, outcome in self.memory.answers(self.plan):
            ids[slot] = outcome.exchange_id
            self._set(slot, outcome)
        await self.memory.link_all(self.plan, ids)

    async def send(self, most: int | None = None) -> None:
        """Ask the rest, or so many of it. What stays None in `outcomes` was not; `stopped` says why."""
        self._freed = asyncio.Event()
        self._spending = Spending(self.limits)
        gate = gate_for(self.connection)
        try:
            with _gc_frozen(), gate.limit_rates(rpm=self.limits.rpm, tpm=self.limits.tpm):
                await self._send(self.left()[:most], gate)
        finally:
            await self._leave()

    def left(self) -> list[int]:
        """The slots without an outcome."""
        return [slot for slot, outcome in enumerate(self.outcomes) if outcome is None]

    def _set(self, slot: int, outcome: RowResult) -> None:
        self.outcomes[slot] = outcome
        self.texts.done(slot)
        self.progress.done(outcome, len(self.plan.positions(slot)), len(self._active))

    async def _send(self, todo: Sequence[int], gate: Gate) -> None:
        while todo and not self.stopped:
            elsewhere: list[int] = []
            claimed = self._claim(todo[:GROUP])
            for start in range(0, len(todo), GROUP):
                mine, done = await asyncio.shield(claimed)
                claimed = self._claim(todo[start + GROUP : start + 2 * GROUP])
                await self._send_group(mine, done, gate)
                elsewhere += set(todo[start : start + GROUP]).difference(mine, done)
                if self.stopped:
                    break
            while self._active:
                await self._one_done()
            todo = [slot for slot in sorted(elsewhere) if self.outcomes[slot] is None]
            if todo and not self.stopped:
                self.progress.note(f"waiting for {len(todo)} rows that another kernel asks")
                await asyncio.sleep(WAIT_FOR_OTHERS_S)

    def _claim(self, group: Sequence[int]) -> asyncio.Task[Claim]:
        """Begin to claim a group. The one before it is sent meanwhile: no free place waits for the log."""
        claiming = asyncio.create_task(self.memory.claim(group, self.plan))
        self._claiming.add(claiming)
        claiming.add_done_callback(self._claiming.discard)
        return claiming

    async def _send_group(self, mine: Sequence[int], done: Mapping[int, RowResult], gate: Gate) -> None:
        """Take over what is answered, and start the requests that are ours."""
        for slot, outcome in done.items():
            self._set(slot, outcome)
        for slot, request in self.plan.requests(mine):
            await self._room(gate)
            if self.stopped:
                break
            self.sent += 1
            task = asyncio.create_task(self._ask(slot, request))
            self._active.add(task)
            task.add_done_callback(self._ended)

    async def _room(self, gate: Gate) -> None:
        """Wait until one more may be in flight."""
        fixed = self.limits.concurrency
        while not self.stopped:
            limit = gate.adaptive.limit if fixed == "auto" else float(fixed)
            if fixed == "auto":
                limit += min(gate.waiting_to_retry, limit)
            if len(self._active) < min(limit, self._spending.most_in_flight):
                spent = self._spending.exhausted(len(self._active))
                if spent is None:
                    break
                if not self._active:
                    self.stopped = spent
                    return
            await self._one_done()
        if fixed == "auto" and not self.stopped:
            await gate.adaptive.wait_for_turn()

    async def _one_done(self) -> None:
        self._freed.clear()
        await self._freed.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._active.discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.stopped = self.stopped or f"{type(error).__name__}: {error}"

    async def _ask(self, slot: int, request: Request) -> None:
        origin = replace(request.origin, row_key=self.plan.row_key(self.plan.firsts[slot]))
        try:
            request = replace(request, origin=origin)
            ended = await rounds(request, self.connection, schema=self.schema, on_mismatch=self._repairing)
            outcome = answered(ended.reply)
            self._unreachable = 0
        except HelixError as error:
            outcome = failed(error)
            self._consider(error)
        except Exception as bug:  # noqa: BLE001 - what one row sets off is no other's
            outcome = failed(HelixError(f"{type(bug).__name__}: {bug}"))
            self._consider(bug)
        self._spending.add(outcome)
        self.memory.finished(slot, outcome, self.plan)
        self._set(slot, outcome)

    def _repairing(self, reply: Reply) -> None:
        """Count an answer that does not fit: it is paid for like its repair."""
        self.sent += 1
        outcome = replace(answered(reply), text=None, exchange_id=None)
        self.unfit.append(outcome)
        self._spending.use(outcome)
        self.progress.use(outcome)

    def _consider(self, error: Exception) -> None:
        """Stop the batch where going on would only repeat the same failure."""
        unexpected = not isinstance(error, HelixError)
        nobody = isinstance(error, ConnectionFailed) or getattr(error, "status_code", None) in OVERLOADED
        self._unreachable = self._unreachable + 1 if nobody or unexpected else 0
        wait_s = (error.retry_after_s or 0.0) if isinstance(error, RateLimited) else 0.0
        if wait_s > BATCH.patience_s:
            self.stopped = self.stopped or f"the server asks to wait {wait_s:.0f} seconds; run it again then"
        if isinstance(error, STOPPING) or self._unreachable >= UNREACHABLE:
            self.stopped = self.stopped or (f"{type(error).__name__}: {error}" if unexpected else str(error))

    async def _leave(self) -> None:
        for task in self._active:
            task.cancel()
        # The last claim ends first, so that what it took is given up with the others.
        await asyncio.gather(*self._active, *self._claiming, return_exceptions=True)
        await self.memory.leave(self.plan)


@contextmanager
def _gc_frozen() -> Iterator[None]:
    """Search only what is made inside for cycles of garbage; the last one out brings back the rest.

    Where somebody else has called `gc.freeze`, everything stays as it is.
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
