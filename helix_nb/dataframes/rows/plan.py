"""Which rows of a frame ask the same thing: rows on one side, distinct requests on the other.

A plan keeps digests and positions, never prompts: a prompt is made again when it is sent, so that
a frame of any size costs a few bytes per row. Only prompts from callables are kept as they came.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ...errors import ConfigError
from ...messages import Request
from .requests import EMPTY, RowRequests, Skip
from .values import row_key

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
    """`slot_of[position]` is the index of the row's request, or NOT_ASKED with a word in `problems`.

    `firsts[slot]` is the first position that asks it, `shared[slot]` are the further ones, and
    `identities[slot]` is its identity. `problems` says of a row why it cannot be asked; an empty
    text means that a value is missing. `kept` holds requests that cannot be made again. `equals`
    counts the slots of an identity that has several, where each row is to have its own answer.
    """

    bound: RowRequests
    slot_of: array[int] = field(default_factory=lambda: array("q"))
    firsts: array[int] = field(default_factory=lambda: array("q"))
    identities: Identities = field(default_factory=Identities)
    problems: dict[int, str] = field(default_factory=dict)
    shared: dict[int, list[int]] = field(default_factory=dict)
    kept: dict[int, Request] = field(default_factory=dict)
    equals: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.slot_of)

    @property
    def duplicates(self) -> int:
        """Rows whose request another row asks too, and which send nothing of their own."""
        return self.asked - len(self.firsts)

    @property
    def asked(self) -> int:
        """Rows that have something to ask."""
        return self.rows - len(self.problems)

    def positions(self, slot: int) -> list[int]:
        """The rows that a request answers."""
        return [self.firsts[slot], *self.shared.get(slot, ())]

    def row_key(self, position: int) -> str:
        """A row's index label as JSON."""
        return row_key(self.bound.rows.frame.index[position])

    def requests(self, slots: Iterable[int]) -> Iterator[tuple[int, Request]]:
        """Each slot with its request, made anew, in the order given."""
        ordered = list(slots)
        if self.kept:
            yield from ((slot, self.kept[slot]) for slot in ordered)
            return
        made = self.bound.requests([self.firsts[slot] for slot in ordered])
        for slot, (_, request) in zip(ordered, made, strict=True):
            assert isinstance(request, Request)
            yield slot, request


def make_plan(
    bound: RowRequests, endpoint_identity: Callable[[str | None], str], *, dedupe: bool, whole: bool = True
) -> Plan:
    """Go through the rows once and note what each one asks.

    Raises:
        ConfigError: the frame is a `whole` batch and no row fits the template; nothing was sent.
    """
    plan = Plan(bound)
    slots: dict[bytes, int] = {}
    keep = bound.rows.whole
    for position, request in bound.requests(range(len(bound.rows.frame))):
        if not isinstance(request, Request):
            plan.problems[position] = "" if isinstance(request, Skip) else str(request)
            plan.slot_of.append(NOT_ASKED)
            continue
        identity = request.digest(endpoint_identity(request.model))
        digest = bytes.fromhex(identity)
        slot = slots.get(digest)
        if slot is not None and not dedupe:
            plan.equals[identity] = plan.equals.get(identity, 1) + 1
        if slot is None or not dedupe:
            slot = slots[digest] = len(plan.firsts)
            plan.firsts.append(position)
            plan.identities.append(identity)
            if keep:
                plan.kept[slot] = request
        else:
            plan.shared.setdefault(slot, []).append(position)
        plan.slot_of.append(slot)
    if whole:
        _refuse_hopeless(plan)
    return plan


def _refuse_hopeless(plan: Plan) -> None:
    """When every row fails, and none for being empty, the template is wrong, not the rows."""
    reasons = plan.problems.values()
    if plan.rows and len(reasons) == plan.rows and all(reasons) and EMPTY not in reasons:
        raise ConfigError(f"No row can be asked; the first says: {plan.problems[0]}")
