"""Questions about the log: how much, how fast, which answer. Unknown stays NA and is counted.

Without a frame the sums run in SQL, so a log of a million rows is never loaded; with a frame they
run in pandas on whatever rows the user left in it. Both give the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import pandas as pd

from ...errors import ConfigError
from ..storage.log import current_log
from .filters import LogKeywords, filter_from
from .frames import columns_of, frame_of
from .query import needs_text
from .sums import (
    OUTCOMES,
    TOKENS,
    USAGE_DTYPES,
    group_keys,
    key_columns,
    refuse_filters,
    sum_by,
    unknown_usage,
    with_keys,
)

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
MEASURES = ("duration_ms", "time_to_first_token_ms")
By = str | Sequence[str] | None


def usage(
    frame: pd.DataFrame | None = None, by: By = "model", **filters: Unpack[LogKeywords]
) -> pd.DataFrame:
    """Sum up tokens, cost and outcomes: one row per model, day, cell, or whatever `by` says.

    Args:
        frame: rows of `hx.log()` that you filtered; None takes the log itself.
        by: a column of the log, or "day", "hour" or "cell", or several; None for one total. Days
            and hours are those of UTC, like every time in the log, not those of this machine.
        **filters: without a frame, what `hx.log` takes: scope, since, model, status, search, tags.

    Returns:
        A DataFrame indexed by `by`, with `n` and how many were `ok`, `truncated`, `interrupted`,
        `error` and `lost`; `prompt_tokens`, `completion_tokens`, `cached_tokens` and
        `reasoning_tokens` (Int64); `unknown_usage`, the rows without complete token counts; `cost`
        (Float64) with its `currency`; and `unpriced`, the rows without a price. Sums cover what
        is known and are NA, never 0, where nothing is. Costs in several currencies are never
        added: then `currency` joins the index. A row that is in the frame twice counts once.

    Raises:
        ConfigError: `by` names no column, or the frame is not one of the log.

    >>> import helix_nb as hx
    >>> _ = hx.ask("What is the capital of France?", endpoint="demo")
    >>> hx.usage(hx.log(last=1))[["n", "ok", "unknown_usage"]].values.tolist()
    [[1, 1, 0]]
    """
    keys = group_keys(by)
    if frame is None:
        condition = filter_from(filters)
        table = sum_by(current_log(), condition, keys)
        if table is not None:
            return _usage_table(table, keys)
        frame = frame_of(current_log(), condition, text=needs_text(keys))
    else:
        refuse_filters(filters)
    needed = ["status", *TOKENS, "usage_source", "cost", "currency"]
    return _usage_table(_sum_frame(with_keys(frame, keys, needed), keys), keys)


def _sum_frame(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return counts and sums by group and currency, as `sum_by` does in SQL."""
    groups = list(dict.fromkeys([*keys, "currency"]))
    facts = rows[groups].assign(n=1)
    for status in OUTCOMES:
        facts[status] = (rows["status"] == status).astype("Int64")
    for name in TOKENS:
        facts[name] = rows[name].astype("Int64")
    facts["unknown_usage"] = unknown_usage(rows).astype("Int64")
    facts["cost"] = rows["cost"].astype("Float64")
    facts["unpriced"] = rows["cost"].isna().astype("Int64")
    grouped = facts.groupby(groups, observed=True, dropna=False, sort=True)
    return grouped.sum(min_count=1).reset_index()


def _usage_table(sums: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the sums indexed by the keys, columns in order; one row per group unless currencies differ."""
    if "currency" in keys or sums["currency"].nunique() > 1:
        index = list(dict.fromkeys([*keys, "currency"]))
    else:
        index = keys
        known = sums["currency"].dropna()
        sums = _add_up(sums, keys).assign(currency=known.iloc[0] if len(known) else None)
        sums.loc[sums["cost"].isna(), "currency"] = None
    dtypes = {name: dtype for name, dtype in USAGE_DTYPES.items() if name not in index}
    table = sums[[*index, *dtypes]].astype(dtypes)
    return table.set_index(index) if index else table


def _add_up(sums: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Add up the rows of each group whose currency is known and those whose is not."""
    numbers = sums.drop(columns="currency")
    if not keys:
        counts = dict.fromkeys(("n", *OUTCOMES, "unknown_usage", "unpriced"), 0)  # of no rows, that is known
        return numbers.sum(min_count=1).to_frame().T.fillna(counts)
    return numbers.groupby(keys, observed=True, dropna=False, sort=True).sum(min_count=1).reset_index()


def latency(
    frame: pd.DataFrame | None = None, by: By = "model", **filters: Unpack[LogKeywords]
) -> pd.DataFrame:
    """Tell how fast answers came: quantiles of duration and time to first text, tokens per second.

    Args:
        frame: rows of `hx.log()` that you filtered; None takes the log itself.
        by: as in `usage`.
        **filters: without a frame, what `hx.log` takes.

    Returns:
        A DataFrame indexed by `by` (Float64): `n` (Int64, the finished exchanges it is made of),
        `duration_ms_p50`, `_p90`, `_p99`, `time_to_first_token_ms_p50`, `_p90`, `_p99` (NA where
        nothing was streamed), and `tokens_per_s`, the median rate of completion tokens after the
        first one. Replayed answers are left out: they took no time.

    Raises:
        ConfigError: `by` names no column, or the frame is not one of the log.

    >>> import helix_nb as hx
    >>> _ = hx.ask("What is the capital of France?", endpoint="demo")
    >>> bool((hx.latency()["duration_ms_p50"] > 0).all())
    True
    """
    keys = group_keys(by)
    needed = ["status", "usage_source", "completion_tokens", *MEASURES]
    if frame is None:
        condition = filter_from(LogKeywords(status="ok") | filters)
        frame = columns_of(current_log(), condition, key_columns(["id", *keys, *needed]))
    else:
        refuse_filters(filters)
    rows = with_keys(frame, keys, needed)
    rows = rows[(rows["status"] == "ok") & (rows["usage_source"] != "replay")]
    rows = rows.astype(dict.fromkeys(MEASURES, "Float64"))
    facts = rows[[*keys, *MEASURES]].assign(tokens_per_s=tokens_per_s(rows))
    if not keys:
        facts, keys = facts.assign(all="all"), ["all"]
    groups = facts.groupby(keys, observed=True, dropna=False, sort=True)
    columns = {"n": groups.size().astype("Int64")}
    for name in MEASURES:
        columns |= {f"{name}_{label}": groups[name].quantile(q) for label, q in QUANTILES.items()}
    columns["tokens_per_s"] = groups["tokens_per_s"].median()
    return pd.DataFrame(columns).astype({name: "Float64" for name in columns if name != "n"})


def tokens_per_s(rows: pd.DataFrame) -> pd.Series:
    """Return the completion tokens per second of each answer, after its first token where it was streamed."""
    streamed = rows["time_to_first_token_ms"].notna()
    waited_ms = rows["time_to_first_token_ms"].fillna(0)
    tokens = rows["completion_tokens"].astype("Float64") - streamed.astype("Float64")
    seconds = (rows["duration_ms"] - waited_ms).astype("Float64") / 1000
    rate: pd.Series = (tokens / seconds).where((seconds > 0) & (tokens > 0))
    return rate


def compare(
    frame: pd.DataFrame | None = None,
    by: str | Sequence[str] = "prompt",
    across: str = "model",
    values: str | Sequence[str] = "response",
    **filters: Unpack[LogKeywords],
) -> pd.DataFrame:
    """Put answers side by side: a row per prompt, a column per model.

    Args:
        frame: rows of `hx.log()` that you filtered; None takes the log itself.
        by: what makes two exchanges comparable; a column, or several.
        across: what the columns are: model, endpoint, system, params, ...
        values: what is in the cells; several names give columns in two levels.
        **filters: without a frame, what `hx.log` takes.

    Returns:
        A DataFrame in the order in which prompts were first asked. Of several finished answers
        the newest counts; where there is none the cell is missing.

    Raises:
        ConfigError: a name is no column, or the frame has no such column.

    >>> import helix_nb as hx
    >>> for model in ("small", "large"):
    ...     _ = hx.ask("What is the capital of France?", endpoint="demo", model=model)
    >>> side_by_side = hx.compare(hx.log(last=2), across="model_requested")
    >>> list(side_by_side.columns), side_by_side["large"].iloc[0]
    (['large', 'small'], 'The capital of France is Paris.')
    """
    keys = group_keys(by)
    if not keys or not isinstance(across, str) or across in keys:
        raise ConfigError("by= names what is compared, across= one other column, which is spread out.")
    contents = [values] if isinstance(values, str) or not isinstance(values, Sequence) else list(values)
    if frame is None:
        frame = frame_of(current_log(), filter_from(LogKeywords(status="ok") | filters))
    else:
        refuse_filters(filters)
    rows = with_keys(frame, [*keys, across], ["status", "started_at", *contents])
    rows = rows[rows["status"] == "ok"].sort_values("started_at", kind="stable")
    newest = rows.drop_duplicates([*keys, across], keep="last")
    table = newest.astype({across: "str"}).pivot(index=keys, columns=across, values=contents)
    order = rows.drop_duplicates(keys)[keys]
    index = order[keys[0]] if len(keys) == 1 else pd.MultiIndex.from_frame(order)
    table = table.reindex(pd.Index(index) if len(keys) == 1 else index)
    return table.droplevel(0, axis=1) if isinstance(values, str) else table
