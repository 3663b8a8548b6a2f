"""What `attrs["batch"]` says of a finished batch: plain data that survives Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .results import RowResult

if TYPE_CHECKING:
    import pandas as pd

    from .runner import Runner


def report(run: Runner, statuses: pd.Series, added: Sequence[str]) -> dict[str, Any]:
    """Counts are rows; tokens and cost are those of the requests sent in this run, None if unknown."""
    counts = statuses.value_counts()
    sent = [outcome for outcome in run.outcomes if outcome is not None and not outcome.reused]
    sent += run.unfit
    currencies = {outcome.currency for outcome in sent if outcome.currency}
    return {
        "name": run.memory.batch_id,
        "rows": run.plan.rows,
        **{status: int(counts.get(status, 0)) for status in ("ok", "truncated", "error", "skipped")},
        "reused": run.progress.reused,
        "duplicates": run.plan.duplicates,
        "requests": run.sent,
        "prompt_tokens": _sum(outcome.prompt_tokens for outcome in sent),
        "completion_tokens": _sum(outcome.completion_tokens for outcome in sent),
        "unknown_usage": sum(_ok_without_usage(outcome) for outcome in sent),
        "cost": _sum(outcome.cost for outcome in sent),
        "currency": currencies.pop() if len(currencies) == 1 else None,
        "stopped": run.stopped,
        "columns": list(dict.fromkeys([*batch_columns(run.plan.bound.rows.frame), *added])),
    }


def batch_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame that batches made: asked again, they may be made anew."""
    facts = frame.attrs.get("batch")
    return list(facts.get("columns") or ()) if isinstance(facts, dict) else []


def _sum(values: Iterable[float | None]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ok_without_usage(outcome: RowResult) -> bool:
    return outcome.status == "ok" and outcome.tokens is None
