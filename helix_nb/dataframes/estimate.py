"""What a batch will take, before it is sent: counted where it can be, measured on a few rows otherwise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..records.storage.batches import usage_samples
from ..records.storage.log import current_log
from ..runtime.loop import run_sync
from .batch import Batch
from .limits import Limits, is_whole_number
from .runner import Runner

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 200  # answers of the log that are enough to judge by
SIDES = 1.64  # standard errors either way: nine of ten totals lie inside
AT_ONCE = 8  # what "auto" is taken to reach, for the time


Row = tuple[float | None, float | None, float | None, str | None]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one answer took; None is unknown."""

    prompt_tokens: float | None
    completion_tokens: float | None
    cost: float | None
    duration_s: float | None


def estimate(job: Batch, frame: pd.DataFrame, pilot: int) -> pd.DataFrame:
    """See `DataFrame.helix.estimate`."""
    import pandas as pd

    if not is_whole_number(pilot, least=0):
        raise ConfigError(f"pilot= is a number of rows to send, not {pilot!r}.")
    run = replace(job, progress=False).prepare(frame)
    run.memory.looking = not pilot
    run_sync(run.reuse())
    samples, source = _pilot(run, pilot) if pilot else _log(run)
    left = len(run.left())
    counts = {
        "rows": run.plan.rows,
        "skipped": run.plan.rows - run.plan.asked,
        "requests": len(run.plan.firsts),
        "answered": len(run.plan.firsts) - left,
        "to_send": left,
    }
    rows: dict[str, Row] = {name: (number, number, number, "counted") for name, number in counts.items()}
    rows |= _measured(samples, left, source, job.limits)
    dtypes = {"estimate": "Float64", "low": "Float64", "high": "Float64", "source": "str"}
    return pd.DataFrame(
        {
            name: pd.Series([row[at] for row in rows.values()], index=list(rows), dtype=dtype)
            for at, (name, dtype) in enumerate(dtypes.items())
        }
    )


def _pilot(run: Runner, pilot: int) -> tuple[list[Sample], str]:
    """Send a few of the rows as part of the batch, which then has their answers."""
    before = {slot for slot, outcome in enumerate(run.outcomes) if outcome is not None}
    run_sync(run.send(pilot))
    sent = [
        outcome for slot, outcome in enumerate(run.outcomes) if outcome is not None and slot not in before
    ]
    good = [outcome for outcome in sent if outcome.status == "ok"]
    seconds = [None if one.duration_ms is None else one.duration_ms / 1000 for one in good]
    samples = [
        Sample(one.prompt_tokens, one.completion_tokens, one.cost, duration_s)
        for one, duration_s in zip(good, seconds, strict=True)
    ]
    return samples, f"pilot of {len(sent)}"


def _log(run: Runner) -> tuple[list[Sample], str]:
    values = (run.memory.batch_id, run.connection.base_url, run.plan.bound.base.model, SAMPLE)
    found = current_log().read(lambda connection: usage_samples(connection, *values))
    samples = [Sample(*row) for part in found for row in part][:SAMPLE]
    return samples, f"{len(samples)} answers in the log"


def _measured(samples: Sequence[Sample], left: int, source: str, limits: Limits) -> dict[str, Row]:
    """Totals for what is left to send, from what the samples took."""
    rows = {
        name: _total([getattr(sample, name) for sample in samples], left, source)
        for name in ("prompt_tokens", "completion_tokens", "cost")
    }
    at_once = AT_ONCE if limits.concurrency == "auto" else limits.concurrency
    side_by_side = min(at_once, max(left, 1))
    rows["duration_s"] = _total([_seconds(one, side_by_side, limits) for one in samples], left, source)
    return rows


def _seconds(sample: Sample, side_by_side: int, limits: Limits) -> float | None:
    """The share of the whole time that such a request takes: its own, or what the limits per minute ask."""
    if sample.duration_s is None:
        return None
    tokens = (sample.prompt_tokens or 0.0) + (sample.completion_tokens or 0.0)
    each = sample.duration_s / side_by_side
    return max(each, 60.0 / (limits.rpm or math.inf), 60.0 * tokens / (limits.tpm or math.inf))


def _total(values: Iterable[float | None], left: int, source: str) -> Row:
    """The mean times what is left, and where nine of ten such totals lie; unknown without samples."""
    known = [value for value in values if value is not None]
    if not known:
        return (None, None, None, None)
    total = statistics.fmean(known) * left
    if len(known) < 2:
        return (total, None, None, source)
    # What is still to come varies by itself, and the mean of a few samples is off, too.
    spread = SIDES * statistics.stdev(known) * math.sqrt(left + left**2 / len(known))
    return (total, max(total - spread, 0.0), total + spread, source)
