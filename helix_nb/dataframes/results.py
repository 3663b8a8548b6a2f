"""The result of each request of a batch, and the columns that these results make."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, HelixError
from ..replies import Reply
from .rows.plan import NOT_ASKED, Plan

if TYPE_CHECKING:
    import pandas as pd

    from ..schemas import Schema

Listener = Callable[[int, "RowResult"], None]  # called with a slot and its result

# Fields of a RowResult that are columns behind `into`, with the dtypes of these.
FIELDS = {
    "status": "str",
    "error": "str",
    "finish_reason": "str",
    "prompt_tokens": "Int64",
    "completion_tokens": "Int64",
}


@dataclass(frozen=True, slots=True)
class RowResult:
    """The part of a Reply, or of an error, that a frame keeps; None is unknown."""

    status: str  # ok, truncated, error or skipped
    text: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    exchange_id: str | None = None
    parsed: Any = None  # the validated object, with a schema
    cost: float | None = None
    currency: str | None = None
    duration_ms: float | None = None
    reused: bool = False  # from the log; this run did not ask for it

    @classmethod
    def of_reply(cls, reply: Reply, *, reused: bool = False) -> RowResult:
        """Return the result of an exchange that ended well."""
        return cls._of(reply, status=reply.status, text=reply.text, parsed=reply.parsed, reused=reused)

    @classmethod
    def of_error(cls, error: HelixError) -> RowResult:
        """Return the result of an exchange that did not end well, with the text that arrived."""
        reply = error.reply or Reply()
        status = "truncated" if reply.status == "truncated" else "error"
        sentence = f"{type(error).__name__}: {error}"
        return cls._of(reply, status=status, text=reply.text or None, error=sentence)

    @classmethod
    def _of(cls, reply: Reply, **fields: Any) -> RowResult:
        return cls(
            finish_reason=reply.finish_reason and sys.intern(reply.finish_reason),
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
            exchange_id=reply.exchange_id,
            cost=reply.cost,
            currency=reply.currency,
            duration_ms=reply.duration_ms,
            **fields,
        )

    @property
    def tokens(self) -> int | None:
        """Tokens in and out together; None when neither is known."""
        counts = [count for count in (self.prompt_tokens, self.completion_tokens) if count is not None]
        return sum(counts) if counts else None


class BatchResults:
    """The result of each request of a plan by its slot, None before it is there.

    Listeners are called once per result, in the order in which they were given.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._by_slot: list[RowResult | None] = [None] * plan.request_count
        self._listeners: list[Listener] = []

    def listen(self, *listeners: Listener) -> None:
        """Have these called with each result from now on."""
        self._listeners += listeners

    def add(self, slot: int, result: RowResult) -> None:
        """Set the result of a request and tell every listener."""
        self._by_slot[slot] = result
        for listener in self._listeners:
            listener(slot, result)

    def __getitem__(self, slot: int) -> RowResult | None:
        return self._by_slot[slot]

    def __iter__(self) -> Iterator[RowResult]:
        return (result for result in self._by_slot if result is not None)

    def open_slots(self) -> list[int]:
        """Return the slots without a result."""
        return [slot for slot, result in enumerate(self._by_slot) if result is None]

    def take_text(self, slot: int) -> str | None:
        """Return the text of a result, which keeps it only where several rows share it.

        The exchange's id goes too, because by then the log has it.
        """
        result = self._by_slot[slot]
        if result is None:
            return None
        if slot not in self._plan.further_positions:
            self._by_slot[slot] = replace(result, text=None, exchange_id=None)
        return result.text


def column_names(into: str, schema: Schema | None) -> list[str]:
    """Return the names of the columns that a batch adds, in their order.

    Raises:
        ConfigError: a field of the schema would take the place of a column of the batch itself.
    """
    own = [f"{into}_{field}" for field in FIELDS]
    fields = [] if schema is None else list(schema.columns())
    for name in fields:
        if name in own:
            raise ConfigError(f"The schema's field {name!r} is a column of the batch: choose another into=.")
    return list(dict.fromkeys([into, *own, *fields]))


def result_columns(
    plan: Plan, results: BatchResults, texts: pd.Series, *, into: str, stopped: str | None
) -> dict[str, pd.Series]:
    """Return the columns of a finished batch by name, on its frame's own index.

    `texts` are the answers by position; `stopped` says why the batch ended early, if it did.
    """
    unsent = RowResult("skipped", error=f"Not asked: {stopped}" if stopped else None)
    rows = [
        _without_request(plan.problems[position]) if slot == NOT_ASKED else results[slot] or unsent
        for position, slot in enumerate(plan.slot_of)
    ]
    index, schema = plan.frame.index, plan.schema
    columns = {into: texts.set_axis(index)}
    for field, dtype in FIELDS.items():
        columns[f"{into}_{field}"] = _series([getattr(row, field) for row in rows], index, dtype)
    if schema is not None:
        objects = [None if row.parsed is None else schema.column_values(row.parsed) for row in rows]
        for name, dtype in schema.columns().items():
            cells = [None if fields is None else fields[name] for fields in objects]
            columns[name] = _series(cells, index, dtype, schema.choices(name))
    return columns


def _without_request(problem: str) -> RowResult:
    return RowResult("error", error=problem) if problem else RowResult("skipped")


def _series(values: list[Any], index: pd.Index, dtype: str, choices: Sequence[Any] = ()) -> pd.Series:
    import pandas as pd

    pandas_dtypes: dict[str, Any] = {
        "datetime": "datetime64[us, UTC]",
        "category": pd.CategoricalDtype(list(choices)),
    }
    series: pd.Series = pd.Series(values, index=index, dtype=pandas_dtypes.get(dtype, dtype))
    return series
