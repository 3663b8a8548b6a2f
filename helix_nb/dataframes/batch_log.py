"""What one run of a batch reads from the log and writes to it: answers, links of rows, claims on requests."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..records.storage.batches import Link
from ..records.storage.content import content_policy
from ..records.storage.log import Log
from ..replies import Reply
from .results import RowResult
from .rows.plan import NOT_ASKED, Plan

PORTION = 500  # replies read at once
LINKED_AT_ONCE = 5_000  # rows
WRITE_EVERY_S = 0.25
Claim = tuple[list[int], dict[int, RowResult]]  # the slots to send now, and those answered meanwhile

_running: weakref.WeakSet[BatchLog] = weakref.WeakSet()  # only the background loop looks at it


@dataclass(eq=False)
class BatchLog:
    """The log's side of one run; all of it is called on the background loop."""

    log: Log
    batch_id: str
    plan: Plan
    fresh: bool = False  # reuse nothing
    reuse_cut: bool = False  # reuse answers that were cut at their token limit, too
    offset: int = 0  # position of the frame's first row in the whole batch
    read_only: bool = False
    _claimed: set[str] = field(default_factory=set)  # identities
    _unwritten: list[tuple[int, RowResult]] = field(default_factory=list)
    _used_exchanges: set[str] = field(default_factory=set)  # of equal rows: each answers one of them
    _equal_rows_done: Counter[str] = field(default_factory=Counter)  # by identity
    _written_s: float = 0.0

    @property
    def enabled(self) -> bool:
        """Whether the log keeps anything, so that the batch can go on after a stop."""
        return self.log.enabled

    async def answers(self) -> AsyncIterator[tuple[int, RowResult]]:
        """Yield the slots that this batch has answered already, with their answers."""
        if self.fresh:
            return
        for start in range(0, self.plan.request_count, PORTION):
            slots = range(start, min(start + PORTION, self.plan.request_count))
            for slot_and_answer in (await self._recorded(slots)).items():
                yield slot_and_answer

    async def link_all(self, exchange_ids: Sequence[str | None]) -> None:
        """Link every row before anything is sent, so that a killed batch can still be read.

        `exchange_ids[slot]` is the exchange that answered the request before.
        """
        for start in range(0, self.plan.row_count, LINKED_AT_ONCE):
            links = []
            for position in range(start, min(start + LINKED_AT_ONCE, self.plan.row_count)):
                slot = self.plan.slot_of[position]
                links.append(self._link(position, None if slot == NOT_ASKED else exchange_ids[slot]))
            self._write_links(links)
            await asyncio.sleep(0)

    async def claim(self, slots: Sequence[int]) -> Claim:
        """Claim these requests for this run: those to send now, and those answered meanwhile."""
        if not slots:
            return [], {}
        granted = await self._claim([self.plan.identities[slot] for slot in slots])
        answers = {} if self.fresh else await self._recorded(slots)
        self._write_links([link for slot, answer in answers.items() for link in self._links(slot, answer)])
        self._give_up(answers)
        to_send = [slot for slot in slots if self.plan.identities[slot] in granted and slot not in answers]
        return to_send, answers

    def add(self, slot: int, result: RowResult) -> None:
        """Note which exchange answers the rows of a request, and give it up; returns at once."""
        if result.reused:  # linked before
            return
        self._unwritten.append((slot, result))
        self._count(slot, result)
        if time.monotonic() - self._written_s > WRITE_EVERY_S:
            self._write()

    async def leave(self) -> None:
        """Write the rest, give up every claim, and return once all of it is in the file."""
        self._write()
        self._release(list(self._claimed))
        await self.log.aflush()

    async def _claim(self, identities: Sequence[str]) -> set[str]:
        """Claim the identities that no other process has, as the log says, nor another run in this one."""
        _running.add(self)
        others = (run for run in _running if run is not self and run.batch_id == self.batch_id)
        taken: set[str] = set().union(*(run.claimed_among(identities) for run in others))
        free = [identity for identity in identities if identity not in taken]
        self._claimed.update(free)
        granted = await asyncio.to_thread(self.log.claim, self.batch_id, free)
        self._claimed.difference_update(set(free) - granted)
        return granted

    def claimed_among(self, identities: Sequence[str]) -> set[str]:
        """Return those of the identities whose requests this run sends now, or is about to."""
        return self._claimed.intersection(identities)

    async def _recorded(self, slots: Sequence[int]) -> dict[int, RowResult]:
        """Return the recorded answers of these slots, the best first; each of equal rows gets its own."""
        identities = {slot: self.plan.identities[slot] for slot in slots}
        recorded = await asyncio.to_thread(self.log.answer_ids, self.batch_id, list(identities.values()))
        exchange_ids = {
            identity: [exchange_id for exchange_id in ids if exchange_id not in self._used_exchanges]
            for identity, ids in recorded.items()
        }
        candidates = {
            slot: exchange_ids[identity]
            for slot, identity in identities.items()
            if exchange_ids.get(identity)
        }
        if not candidates:
            return {}
        ids = {exchange_id for ids in candidates.values() for exchange_id in ids}
        replies = await asyncio.to_thread(self.log.replies, ids)
        answers = {slot: self._pop_usable(ids, replies) for slot, ids in candidates.items()}
        usable = {slot: answer for slot, answer in answers.items() if answer is not None}
        for slot, answer in usable.items():
            self._count(slot, answer)
        return usable

    def _pop_usable(self, exchange_ids: list[str], replies: Mapping[str, Reply]) -> RowResult | None:
        """Take ids from the end, where the best is, until one belongs to an answer that can be reused."""
        schema = self.plan.schema
        while exchange_ids:
            reply = replies.get(exchange_ids.pop())
            if reply is None or (reply.finish_reason == "length" and not self.reuse_cut):
                continue
            try:
                parsed = None if schema is None else schema.validate(reply.text)
            except ValueError:
                continue
            return RowResult.of_reply(replace(reply, parsed=parsed), reused=True)
        return None

    def _count(self, slot: int, result: RowResult) -> None:
        """Note that one of several equal rows is done, and that no other may use its answer."""
        if (identity := self.plan.identities[slot]) in self.plan.equal_slots:
            self._equal_rows_done[identity] += 1
            if result.exchange_id is not None:
                self._used_exchanges.add(result.exchange_id)

    def _write(self) -> None:
        """Hand the log what has been added since the last time."""
        added, self._unwritten = self._unwritten, []
        self._written_s = time.monotonic()
        if added:
            self._write_links([link for slot, result in added for link in self._links(slot, result)])
            self._give_up(slot for slot, _ in added)

    def _links(self, slot: int, result: RowResult) -> list[Link]:
        error = _storable(result.error) if result.status == "error" else None
        positions = self.plan.positions(slot)
        return [self._link(position, result.exchange_id, error) for position in positions]

    def _link(self, position: int, exchange_id: str | None, error: str | None = None) -> Link:
        slot = self.plan.slot_of[position]
        identity = None if slot == NOT_ASKED else self.plan.identities[slot]
        problem = error or self.plan.problems.get(position)
        return Link(self.offset + position, self.plan.row_key(position), exchange_id, identity, problem)

    def _write_links(self, links: Sequence[Link]) -> None:
        if links and not self.read_only:
            self.log.link(self.batch_id, links)

    def _give_up(self, slots: Iterable[int]) -> None:
        """Release the claims of which this run has no row left: equal rows share one."""
        claimed = {self.plan.identities[slot] for slot in slots} & self._claimed
        equal_slots, done = self.plan.equal_slots, self._equal_rows_done
        self._release([identity for identity in claimed if done[identity] >= equal_slots.get(identity, 0)])

    def _release(self, identities: Collection[str]) -> None:
        if identities:
            self.log.release(self.batch_id, identities)
        self._claimed.difference_update(identities)


def _storable(error: str | None) -> str | None:
    """Return an error as it may be stored: its sentence can quote the answer, its name cannot."""
    return error and (content_policy().clean(error) or error.partition(":")[0])
