"""What became of each request of a batch, and the columns that these results make."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, HelixError
from ..replies import Reply
from .rows.plan import NOT_ASKED, Plan

if TYPE_CHECKING:
    import pandas as pd

    from ..schemas import Schema

DTYPES = {
    "": "str",
    "_status": "str",
    "_error": "str",
    "_finish_reason": "str",
    "_prompt_tokens": "Int64",
    "_completion_tokens": "Int64",
}


@dataclass(frozen=True, slots=True)
class RowResult:
    """The part of a Reply that a frame keeps; None is unknown. `reused` came out of the log."""

    status: str
    text: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    exchange_id: str | None = None
    parsed: Any = None
    cost: float | None = None
    currency: str | None = None
    duration_ms: float | None = None
    reused: bool = False

    @property
    def tokens(self) -> int | None:
        """Tokens in and out together; None when neither is known."""
        known = [count for count in (self.prompt_tokens, self.completion_tokens) if count is not None]
        return sum(known) if known else None


def answered(reply: Reply, *, reused: bool = False) -> RowResult:
    """An exchange that ended well; `reply.parsed` is its validated object."""
    return _of(reply, status=reply.status, text=reply.text, parsed=reply.parsed, reused=reused)


def failed(error: HelixError) -> RowResult:
    """An exchange that did not; whatever text arrived stays."""
    reply = error.reply or Reply()
    status = "truncated" if reply.status == "truncated" else "error"
    return _of(reply, status=status, text=reply.text or None, error=f"{type(error).__name__}: {error}")


def _of(reply: Reply, **facts: Any) -> RowResult:
    return RowResult(
        finish_reason=reply.finish_reason and sys.intern(reply.finish_reason),
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        exchange_id=reply.exchange_id,
        cost=reply.cost,
        currency=reply.currency,
        duration_ms=reply.duration_ms,
        **facts,
    )


def column_names(into: str, schema: Schema | None) -> list[str]:
    """The columns that a batch adds, in their order.

    Raises:
        ConfigError: a field of the schema would take the place of what the batch itself says of a row.
    """
    fields = list(schema.columns()) if schema is not None else []
    for name in fields:
        if name in (f"{into}{suffix}" for suffix in DTYPES if suffix):
            raise ConfigError(f"The schema's field {name!r} is a column of the batch: choose another into=.")
    return list(dict.fromkeys([*(f"{into}{suffix}" for suffix in DTYPES), *fields]))


def result_columns(
    plan: Plan,
    outcomes: Sequence[RowResult | None],
    texts: pd.Series,
    *,
    stopped: str | None,
    into: str,
    schema: Schema | None,
) -> dict[str, pd.Series]:
    """The columns of a finished batch by name, on the frame's own index; `texts` are its answers."""
    left = RowResult("skipped", error=f"Not asked: {stopped}" if stopped else None)
    rows = [
        _unasked(plan.problems[position]) if slot == NOT_ASKED else outcomes[slot] or left
        for position, slot in enumerate(plan.slot_of)
    ]
    index = plan.bound.rows.frame.index
    made = {into: texts.set_axis(index)}
    for suffix, get in _GETTERS.items():
        made[f"{into}{suffix}"] = _series([get(row) for row in rows], index, DTYPES[suffix])
    if schema is not None:
        plain = [None if row.parsed is None else schema.to_plain(row.parsed) for row in rows]
        for name, dtype in schema.columns().items():
            cells = [None if row is None else row[name] for row in plain]
            made[name] = _series(cells, index, dtype, schema.choices(name))
    return made


_GETTERS: dict[str, Callable[[RowResult], Any]] = {
    "_status": lambda row: row.status,
    "_error": lambda row: row.error,
    "_finish_reason": lambda row: row.finish_reason,
    "_prompt_tokens": lambda row: row.prompt_tokens,
    "_completion_tokens": lambda row: row.completion_tokens,
}


def _unasked(problem: str) -> RowResult:
    return RowResult("error", error=problem) if problem else RowResult("skipped")


def _series(values: list[Any], index: pd.Index, dtype: str, choices: Sequence[Any] = ()) -> pd.Series:
    import pandas as pd

    kinds: dict[str, Any] = {
        "datetime": "datetime64[us, UTC]",
        "category": pd.CategoricalDtype(list(choices)),
    }
    made: pd.Series = pd.Series(values, index=index, dtype=kinds.get(dtype, dtype))
    return made
