"""A batch's memory is the log: what it has answered, who is asking what, which row shares which answer."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..records.storage.batches import Link
from ..records.storage.content import content_policy
from ..records.storage.log import Log
from ..replies import Reply
from .results import RowResult, answered
from .rows.plan import NOT_ASKED, Plan

if TYPE_CHECKING:
    from ..schemas import Schema

PORTION = 500  # replies read at once
WRITE_EVERY_S = 0.25
Claim = tuple[list[int], dict[int, RowResult]]  # the slots to send now, and those answered meanwhile


@dataclass(eq=False)
class BatchLog:
    """What one run reads from and writes to the log about its batch.

    `fresh` reuses nothing, `reuse_cut` reuses answers that were cut at their token limit too.
    `looking` writes nothing. `offset` is the position of the frame's first row in the whole batch.
    """

    log: Log
    batch_id: str
    schema: Schema | None = None
    fresh: bool = False
    reuse_cut: bool = False
    offset: int = 0
    looking: bool = False
    _held: set[str] = field(default_factory=set)
    _finished: list[tuple[int, RowResult]] = field(default_factory=list)
    _used: set[str] = field(default_factory=set)  # exchanges of equal rows: each answers one of them
    _done: Counter[str] = field(default_factory=Counter)  # of equal rows
    _written_s: float = 0.0

    async def link_all(self, plan: Plan, ids: Sequence[str | None]) -> None:
        """Note every row before anything is sent, so that a killed batch can still be read.

        `ids[slot]` is the exchange that answered the request before.
        """
        for start in range(0, plan.rows, PORTION * 10):
            portion = range(start, min(start + PORTION * 10, plan.rows))
            slots = ((position, plan.slot_of[position]) for position in portion)
            self._write_links(
                [self._link(plan, at, None if slot == NOT_ASKED else ids[slot]) for at, slot in slots]
            )
            await asyncio.sleep(0)

    def _link(self, plan: Plan, position: int, exchange_id: str | None, error: str | None = None) -> Link:
        slot = plan.slot_of[position]
        identity = None if slot == NOT_ASKED else plan.identities[slot]
        problem = error or plan.problems.get(position)
        return Link(self.offset + position, plan.row_key(position), exchange_id, identity, problem)

    async def answers(self, plan: Plan) -> AsyncIterator[tuple[int, RowResult]]:
        """The slots that this batch has answered already, with their answers."""
        if self.fresh:
            return
        for start in range(0, len(plan.identities), PORTION):
            slots = range(start, min(start + PORTION, len(plan.identities)))
            identities = [plan.identities[slot] for slot in slots]
            known = await asyncio.to_thread(self.log.answer_ids, self.batch_id, identities)
            for found in (await self._taken_over(slots, known, plan)).items():
                yield found

    async def claim(self, slots: Sequence[int], plan: Plan) -> Claim:
        """Take these requests for this process: those to send now, and those answered meanwhile."""
        if not slots:
            return [], {}
        identities = [plan.identities[slot] for slot in slots]
        granted = await self._granted(identities)
        known: Mapping[str, list[str]] = {}
        if not self.fresh:
            known = await asyncio.to_thread(self.log.answer_ids, self.batch_id, identities)
        done = await self._taken_over(slots, known, plan) if known else {}
        self._write_links(
            [link for slot, outcome in done.items() for link in self._links(plan, slot, outcome)]
        )
        self._give_up(done, plan)
        return [slot for slot in slots if plan.identities[slot] in granted and slot not in done], done

    async def _granted(self, identities: Sequence[str]) -> set[str]:
        """Those that nobody else asks: no other process, as the log says, and no other run in this one."""
        _running.add(self)
        others = (run for run in _running if run is not self and run.batch_id == self.batch_id)
        taken = {identity for run in others for identity in identities if identity in run._held}
        free = [identity for identity in identities if identity not in taken]
        self._held.update(free)
        granted = await asyncio.to_thread(self.log.claim, self.batch_id, free)
        self._held.difference_update(set(free) - granted)
        return granted

    async def _taken_over(
        self, slots: Iterable[int], known: Mapping[str, list[str]], plan: Plan
    ) -> dict[int, RowResult]:
        """Pair slots with recorded answers; of several to one request each is used once, the best first."""
        left = {identity: [id_ for id_ in ids if id_ not in self._used] for identity, ids in known.items()}
        wanted = [slot for slot in slots if left.get(plan.identities[slot])]
        if not wanted:
            return {}
        ids = {id_ for slot in wanted for id_ in left[plan.identities[slot]]}
        replies = await asyncio.to_thread(self.log.replies, ids)
        usable = {slot: self._first_usable(left[plan.identities[slot]], replies) for slot in wanted}
        taken = {slot: outcome for slot, outcome in usable.items() if outcome is not None}
        for slot, outcome in taken.items():
            self._count(slot, outcome, plan)
        return taken

    def _count(self, slot: int, outcome: RowResult, plan: Plan) -> None:
        """Note that one of several equal rows is done, and that its answer is no other's."""
        if (identity := plan.identities[slot]) in plan.equals:
            self._done[identity] += 1
            if outcome.exchange_id is not None:
                self._used.add(outcome.exchange_id)

    def _first_usable(self, ids: list[str], replies: Mapping[str, Reply]) -> RowResult | None:
        while ids:
            reply = replies.get(ids.pop())
            if reply is None or (reply.finish_reason == "length" and not self.reuse_cut):
                continue
            try:
                parsed = None if self.schema is None else self.schema.validate(reply.text)
            except ValueError:
                continue
            return answered(reply.having(parsed=parsed), reused=True)
        return None

    def _links(self, plan: Plan, slot: int, outcome: RowResult) -> list[Link]:
        error = _kept(outcome.error) if outcome.status == "error" else None
        return [self._link(plan, position, outcome.exchange_id, error) for position in plan.positions(slot)]

    def finished(self, slot: int, outcome: RowResult, plan: Plan) -> None:
        """Note which exchange answers the rows of a request, and give it up; returns at once."""
        self._finished.append((slot, outcome))
        self._count(slot, outcome, plan)
        if time.monotonic() - self._written_s > WRITE_EVERY_S:
            self.write(plan)

    def write(self, plan: Plan) -> None:
        """Hand what is finished to the log."""
        finished, self._finished = self._finished, []
        self._written_s = time.monotonic()
        if finished:
            links = [link for slot, outcome in finished for link in self._links(plan, slot, outcome)]
            self._write_links(links)
            self._give_up((slot for slot, _ in finished), plan)

    def _give_up(self, slots: Iterable[int], plan: Plan) -> None:
        """Release what this run has no row left for: equal rows share a claim."""
        held = {plan.identities[slot] for slot in slots} & self._held
        self._release([one for one in held if self._done[one] >= plan.equals.get(one, 0)])

    def _write_links(self, links: Sequence[Link]) -> None:
        if links and not self.looking:
            self.log.link(self.batch_id, links)

    async def leave(self, plan: Plan) -> None:
        """Write the rest, give up every claim, and return once all of it is in the file."""
        self.write(plan)
        self._release(list(self._held))
        await self.log.aflush()

    def _release(self, identities: Collection[str]) -> None:
        self.log.release(self.batch_id, identities)
        self._held.difference_update(identities)


def _kept(error: str | None) -> str | None:
    """An error as it may be stored: it can quote the answer. Its name always may."""
    return error and (content_policy().clean(error) or error.partition(":")[0])


_running: weakref.WeakSet[BatchLog] = weakref.WeakSet()  # only the background loop looks at it
