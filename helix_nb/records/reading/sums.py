"""Groups of rows of the log, and their sums by SQL, over a log that need not fit into memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ...errors import ConfigError
from ..storage.log import Log
from ..storage.schema import COLUMNS, STATUSES
from .frames import Rows, build_frame
from .query import STATUS, UNKNOWN_USAGE, Filter, needs_text, select, sql_column

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Key:
    """Something to group by that is worked out from a column: in SQL, and from a frame."""

    column: str
    sql: str
    of: Callable[[pd.DataFrame], pd.Series]
    dtype: str


KEYS = {
    "day": Key(
        "started_at",
        f"e.started_at / {DAY_US} * {DAY_US}",
        lambda frame: frame["started_at"].dt.floor("D"),
        "datetime64[us, UTC]",
    ),
    "hour": Key(
        "started_at",
        f"e.started_at / {HOUR_US} * {HOUR_US}",
        lambda frame: frame["started_at"].dt.floor("h"),
        "datetime64[us, UTC]",
    ),
    "cell": Key("cell_id", "e.cell_id", lambda frame: frame["cell_id"], "str"),
}
OUTCOMES = tuple(status for status in STATUSES if status != "pending")
TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
NUMBERS = (*TOKENS, "total_tokens", "cost", "duration_ms", "time_to_first_token_ms")

_SUMS = {
    "n": "count(*)",
    **{status: f"sum(({STATUS}) = '{status}')" for status in OUTCOMES},
    **{name: f"sum(e.{name})" for name in TOKENS},
    "unknown_usage": f"sum({UNKNOWN_USAGE})",
    "cost": "sum(e.cost)",
    "unpriced": "sum(e.cost IS NULL)",
}
USAGE_DTYPES = {  # the columns of `hx.usage`
    **dict.fromkeys(("n", *OUTCOMES, *TOKENS, "unknown_usage"), "Int64"),
    "cost": "Float64",
    "currency": "category",
    "unpriced": "Int64",
}


def sum_by(log: Log, condition: Filter, keys: Sequence[str]) -> pd.DataFrame | None:
    """Return counts and sums by group and currency; None where several files would have to be added up."""
    names = list(dict.fromkeys([*keys, "currency"]))
    groups = ", ".join(KEYS[name].sql if name in KEYS else sql_column(name) for name in names)

    def sum_up(connection: sqlite3.Connection) -> Rows:
        sums = f"{groups}, {', '.join(_SUMS.values())}"
        return select(
            connection, sums, condition, f"GROUP BY {groups}", with_text=needs_text(names)
        ).fetchall()

    parts = log.read(sum_up)
    if len(parts) > 1:
        return None
    dtypes = {name: KEYS[name].dtype if name in KEYS else COLUMNS[name] for name in names}
    dtypes |= {name: USAGE_DTYPES[name] for name in _SUMS}
    table = build_frame(parts[0] if parts else [], dtypes)
    return table.sort_values(names, kind="stable", na_position="last")


def group_keys(by: Any) -> list[str]:
    """Return the keys that `by=` names, each once; ConfigError names a key that rows cannot be grouped by."""
    keys = [] if by is None else [by] if isinstance(by, str) or not isinstance(by, Iterable) else list(by)
    for key in keys:
        if key in NUMBERS:
            raise ConfigError(f"by={key!r} is a number to sum up; by= takes what rows have in common.")
        if not isinstance(key, str) or (key not in COLUMNS and key not in KEYS):
            raise ConfigError(f"by={key!r} is neither a column of the log nor {', '.join(map(repr, KEYS))}.")
    return list(dict.fromkeys(keys))


def key_columns(keys: Sequence[str]) -> list[str]:
    """Return the columns of the log that these keys are worked out from."""
    return list(dict.fromkeys(KEYS[key].column if key in KEYS else key for key in keys))


def refuse_filters(filters: Iterable[str]) -> None:
    """Raise ConfigError where filters of the log came along with a frame."""
    if names := ", ".join(filters):
        raise ConfigError(f"Filter the frame itself, or leave it out and say {names}=.")


def with_keys(frame: pd.DataFrame, keys: Sequence[str], needed: Sequence[str]) -> pd.DataFrame:
    """Return keys and needed columns of a frame, each exchange once; "day", "hour", "cell" are worked out."""
    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"Give rows of hx.log(), not {type(frame).__name__}.")
    frame = _with_moments(frame) if {"day", "hour", "started_at"} & {*keys, *needed} else frame
    derived = {key: KEYS[key].of(frame) for key in keys if key in KEYS and KEYS[key].column in frame}
    missing = [name for name in dict.fromkeys((*keys, *needed)) if name not in frame and name not in derived]
    if missing:
        raise ConfigError(f"This frame has no column {', '.join(map(str, missing))}: give rows of hx.log().")
    rows = frame.drop_duplicates("id") if "id" in frame else frame
    names = dict.fromkeys([*(key for key in keys if key not in derived), *needed])
    return rows[list(names)].assign(**{key: values.loc[rows.index] for key, values in derived.items()})


def _with_moments(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn times that are texts into times: a frame that came back from a file may hold such."""
    if "started_at" not in frame or isinstance(frame["started_at"].dtype, pd.DatetimeTZDtype):
        return frame
    try:
        return frame.assign(started_at=pd.to_datetime(frame["started_at"], utc=True, format="ISO8601"))
    except (ValueError, TypeError):
        raise ConfigError("The column started_at holds something that is no time.") from None


def unknown_usage(rows: pd.DataFrame) -> pd.Series:
    """Return a mask of the rows without complete token counts; in SQL it is UNKNOWN_USAGE."""
    replayed = (rows["usage_source"] == "replay").fillna(False)
    unknown: pd.Series = rows[["prompt_tokens", "completion_tokens"]].isna().any(axis=1) & ~replayed
    return unknown
