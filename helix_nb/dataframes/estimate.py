"""What a batch will take, before it is sent: counted where it can be, measured on a few rows otherwise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError
from ..records.storage.batches import usage_samples
from ..records.storage.log import current_log
from ..runtime.loop import run_sync
from .batch import Batch
from .limits import Limits, is_whole_number
from .results import RowResult
from .runner import Runner

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = 200  # answers of the log that are enough to judge by
STANDARD_ERRORS = 1.64  # either way: nine of ten totals lie inside
AUTO_CONCURRENCY = 8  # what "auto" is taken to reach, for the time


class Estimate(NamedTuple):
    """One row of the result: a total, the bounds of nine such totals in ten, and where they come from."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    source: str | None = None


DTYPES = {"estimate": "Float64", "low": "Float64", "high": "Float64", "source": "str"}


@dataclass(frozen=True, slots=True)
class Sample:
    """What one answer took; None is unknown."""

    prompt_tokens: float | None
    completion_tokens: float | None
    cost: float | None
    duration_s: float | None


def estimate(batch: Batch, frame: pd.DataFrame, pilot: int) -> pd.DataFrame:
    """Estimate what a batch would send and take; see `DataFrame.helix.estimate`.

    Raises:
        ConfigError: a setting is wrong; nothing was sent.
    """
    import pandas as pd

    if not is_whole_number(pilot, least=0):
        raise ConfigError(f"pilot= is a number of rows to send, not {pilot!r}.")
    run = replace(batch, progress=False).prepare(frame, read_only=not pilot)
    run_sync(run.reuse())
    samples, source = _send_pilot(run, pilot) if pilot else _samples_of_log(run)
    plan, to_send = run.plan, len(run.results.open_slots())
    counts = {
        "rows": plan.row_count,
        "skipped": plan.row_count - plan.asking_count,
        "requests": plan.request_count,
        "answered": plan.request_count - to_send,
        "to_send": to_send,
    }
    rows = {name: Estimate(count, count, count, "counted") for name, count in counts.items()}
    rows |= _measure(samples, to_send, source, batch.limits)
    columns = {name: [getattr(row, name) for row in rows.values()] for name in DTYPES}
    index = list(rows)
    return pd.DataFrame(
        {name: pd.Series(columns[name], index=index, dtype=dtype) for name, dtype in DTYPES.items()}
    )


def _send_pilot(run: Runner, pilot: int) -> tuple[list[Sample], str]:
    """Send a few of the rows as part of the batch, which then has their answers."""
    results: list[RowResult] = []
    run.results.listen(lambda _slot, result: results.append(result))
    run_sync(run.send(pilot))
    samples = [
        Sample(
            result.prompt_tokens,
            result.completion_tokens,
            result.cost,
            None if result.duration_ms is None else result.duration_ms / 1000,
        )
        for result in results
        if result.status == "ok"
    ]
    return samples, f"pilot of {len(results)}"


def _samples_of_log(run: Runner) -> tuple[list[Sample], str]:
    key = (run.batch_log.batch_id, run.connection.base_url, run.plan.model, SAMPLES)
    parts = current_log().read(lambda connection: usage_samples(connection, *key))
    samples = [Sample(*row) for part in parts for row in part][:SAMPLES]
    return samples, f"{len(samples)} answers in the log"


def _measure(samples: Sequence[Sample], to_send: int, source: str, limits: Limits) -> dict[str, Estimate]:
    """Return totals for the requests that are left to send, from what the samples took."""
    values: dict[str, list[float | None]] = {
        name: [getattr(sample, name) for sample in samples]
        for name in ("prompt_tokens", "completion_tokens", "cost")
    }
    concurrency = AUTO_CONCURRENCY if limits.concurrency == "auto" else limits.concurrency
    in_flight = min(concurrency, max(to_send, 1))
    values["duration_s"] = [_share_of_time(sample, in_flight, limits) for sample in samples]
    return {name: _total(of_each, to_send, source) for name, of_each in values.items()}


def _share_of_time(sample: Sample, in_flight: int, limits: Limits) -> float | None:
    """Return the seconds that one more such request adds: its own, or those that the limits ask for."""
    if sample.duration_s is None:
        return None
    tokens = (sample.prompt_tokens or 0.0) + (sample.completion_tokens or 0.0)
    share = sample.duration_s / in_flight
    return max(share, 60.0 / (limits.rpm or math.inf), 60.0 * tokens / (limits.tpm or math.inf))


def _total(values: Iterable[float | None], to_send: int, source: str) -> Estimate:
    """Return the mean times the requests to send, and where nine of ten such totals lie."""
    reported = [value for value in values if value is not None]
    if not reported:
        return Estimate()
    total = statistics.fmean(reported) * to_send
    if len(reported) < 2:
        return Estimate(total, source=source)
    # Because what is still to come varies by itself, and the mean of a few samples is off, too.
    variance_factor = math.sqrt(to_send + to_send**2 / len(reported))
    margin = STANDARD_ERRORS * statistics.stdev(reported) * variance_factor
    return Estimate(total, max(total - margin, 0.0), total + margin, source)
