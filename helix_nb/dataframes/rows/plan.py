"""Which rows of a frame ask the same thing: rows on one side, distinct requests on the other.

A plan keeps digests and positions, never prompts: a prompt is made again when it is sent, so that
a frame of any size costs a few bytes per row. Only the requests of callables are kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ...messages import Request
from .requests import EMPTY, RowRequests, Skip
from .values import row_key

if TYPE_CHECKING:
    import pandas as pd

    from ...schemas import Schema

NOT_ASKED = -1


class Identities:
    """The identities of a plan's requests, 32 bytes each instead of a text's 113."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def append(self, identity: str) -> None:
        self._bytes += bytes.fromhex(identity)

    def __getitem__(self, slot: int) -> str:
        return self._bytes[slot * 32 : slot * 32 + 32].hex()

    def __len__(self) -> int:
        return len(self._bytes) // 32


@dataclass
class Plan:
    """Each row by its position in the frame, each distinct request by its slot, both from 0."""

    row_requests: RowRequests
    slot_of: array[int] = field(default_factory=lambda: array("q"))
    # position -> slot of the row's request, or NOT_ASKED
    first_positions: array[int] = field(default_factory=lambda: array("q"))
    # slot -> the first position that asks it
    further_positions: dict[int, list[int]] = field(default_factory=dict)
    # slot -> the other positions that ask it, where there are any
    identities: Identities = field(default_factory=Identities)
    # slot -> identity of the request
    problems: dict[int, str] = field(default_factory=dict)
    # position -> why it cannot be asked; an empty text for a missing value
    equal_slots: dict[str, int] = field(default_factory=dict)
    # identity -> number of its slots, where each of several equal rows is to have its own answer
    unrepeatable: dict[int, Request] = field(default_factory=dict)
    # slot -> request, of callables, which could make another one the next time

    def __post_init__(self) -> None:
        self._index = self.frame.index  # found once, because each row's key needs it twice

    @property
    def frame(self) -> pd.DataFrame:
        """The frame whose rows are asked about."""
        return self.row_requests.frame

    @property
    def model(self) -> str | None:
        """The model of all rows; None where each row names its own, or the endpoint chooses."""
        return self.row_requests.base.model

    @property
    def schema(self) -> Schema | None:
        """The shape of the answers, where they have one."""
        return self.row_requests.spec.schema

    @property
    def row_count(self) -> int:
        """The number of rows in the frame."""
        return len(self.slot_of)

    @property
    def request_count(self) -> int:
        """The number of distinct requests, which is that of slots."""
        return len(self.first_positions)

    @property
    def asking_count(self) -> int:
        """The number of rows that have something to ask."""
        return self.row_count - len(self.problems)

    @property
    def duplicate_count(self) -> int:
        """The number of rows whose request another row asks too, and which send nothing of their own."""
        return self.asking_count - self.request_count

    def positions(self, slot: int) -> list[int]:
        """Return the positions of the rows that a request answers."""
        return [self.first_positions[slot], *self.further_positions.get(slot, ())]

    def row_key(self, position: int) -> str:
        """Return a row's index label as JSON."""
        return row_key(self._index[position])

    def requests(self, slots: Iterable[int]) -> Iterator[tuple[int, Request]]:
        """Yield each slot with its request, made anew, in the order given."""
        slots = list(slots)
        if self.unrepeatable:
            yield from ((slot, self.unrepeatable[slot]) for slot in slots)
            return
        remade = self.row_requests.at([self.first_positions[slot] for slot in slots])
        for slot, (_, request) in zip(slots, remade, strict=True):
            assert isinstance(request, Request)
            yield slot, request


def make_plan(
    row_requests: RowRequests,
    identify_endpoint: Callable[[str | None], str],
    *,
    dedupe: bool,
    is_chunk: bool = False,
) -> Plan:
    """Go through the rows once and note what each one asks.

    Args:
        row_requests: the rows, with the settings of their batch.
        identify_endpoint: returns the endpoint's part of an identity for the model of a request.
        dedupe: whether equal rows share one request.
        is_chunk: whether the frame is a part of its batch, in which every row may be a bad one.

    Raises:
        ConfigError: the frame is a whole batch and no row fits the template; nothing was sent.
    """
    plan = Plan(row_requests)
    slots: dict[bytes, int] = {}
    repeatable = not row_requests.rows.for_callables
    for position, request in row_requests.at(range(len(plan.frame))):
        if not isinstance(request, Request):
            plan.problems[position] = "" if isinstance(request, Skip) else str(request)
            plan.slot_of.append(NOT_ASKED)
            continue
        identity = request.digest(identify_endpoint(request.model))
        digest = bytes.fromhex(identity)
        slot = slots.get(digest)
        if slot is not None and dedupe:
            plan.further_positions.setdefault(slot, []).append(position)
            plan.slot_of.append(slot)
            continue
        if slot is not None:
            plan.equal_slots[identity] = plan.equal_slots.get(identity, 1) + 1
        slot = slots[digest] = _add_slot(plan, position, identity)
        if not repeatable:
            plan.unrepeatable[slot] = request
    if not is_chunk:
        _refuse_hopeless(plan)
    return plan


def _add_slot(plan: Plan, position: int, identity: str) -> int:
    slot = len(plan.first_positions)
    plan.slot_of.append(slot)
    plan.first_positions.append(position)
    plan.identities.append(identity)
    return slot


def _refuse_hopeless(plan: Plan) -> None:
    """Refuse a frame whose rows all fail, none for being empty: the template is wrong, not the rows."""
    reasons = plan.problems.values()
    if plan.row_count and len(reasons) == plan.row_count and all(reasons) and EMPTY not in reasons:
        raise ConfigError(f"No row can be asked; the first says: {plan.problems[0]}")
