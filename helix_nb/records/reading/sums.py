"""Sums by SQL, over a log that need not fit into memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pandas as pd

from ...errors import ConfigError
from ..storage.log import Log
from ..storage.schema import COLUMNS, TEXT_COLUMNS
from .filters import FROM, FROM_WITH_TEXT, STATUS, UNKNOWN_USAGE, Filter, filter_of, prepare
from .frames import column, typed

HOUR_US = 3_600_000_000


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
        f"e.started_at / {24 * HOUR_US} * {24 * HOUR_US}",
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

_COUNTED = ("ok", "truncated", "interrupted", "error", "lost")
_ADDED = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
_SUMS = {
    "n": "count(*)",
    **{name: f"sum(({STATUS}) = '{name}')" for name in _COUNTED},
    **{name: f"sum(e.{name})" for name in _ADDED},
    "unknown_usage": f"sum({UNKNOWN_USAGE})",
    "cost": "sum(e.cost)",
    "unpriced": "sum(e.cost IS NULL)",
}
_SUM_DTYPES = {name: "Float64" if name == "cost" else "Int64" for name in _SUMS}


def summed(log: Log, wanted: Filter, keys: Sequence[str]) -> pd.DataFrame | None:
    """Counts and sums per group and currency; None where several files would have to be added up."""
    names = list(dict.fromkeys([*keys, "currency"]))
    groups = ", ".join(_sql(name) for name in names)
    with_text = wanted.needs_text or any(name in TEXT_COLUMNS for name in keys)
    source = FROM_WITH_TEXT if with_text else FROM
    query = f"SELECT {groups}, {', '.join(_SUMS.values())} {source} WHERE {wanted.where} GROUP BY {groups}"

    def run(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        prepare(connection)
        return connection.execute(query, wanted.values).fetchall()

    parts = log.read(run)
    if len(parts) > 1:
        return None
    dtypes = {name: _dtype(name) for name in names} | _SUM_DTYPES
    table = typed(parts[0] if parts else [], dtypes)
    return table.sort_values(names, kind="stable", na_position="last")


def selected(log: Log, wanted: Filter, names: Sequence[str]) -> pd.DataFrame:
    """Only these columns of the rows a filter lets through, and what the keys among them need."""
    columns = dict.fromkeys(KEYS[name].column if name in KEYS else name for name in ("id", *names))
    with_text = wanted.needs_text or any(name in TEXT_COLUMNS for name in columns)
    chosen = ", ".join(column(name) for name in columns)
    query = f"SELECT {chosen} {FROM_WITH_TEXT if with_text else FROM} WHERE {wanted.where}"

    def run(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        prepare(connection)
        return connection.execute(query, wanted.values).fetchall()

    rows = [row for part in log.read(run) for row in part]
    return typed(rows, {name: COLUMNS[name] for name in columns})


def _sql(name: str) -> str:
    return KEYS[name].sql if name in KEYS else column(name)


def _dtype(name: str) -> str:
    return KEYS[name].dtype if name in KEYS else COLUMNS[name]


TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
NUMBERS = (*TOKENS, "total_tokens", "cost", "duration_ms", "time_to_first_token_ms")


def keys_of(by: Any) -> list[str]:
    """What `by=` names, each once."""
    keys = [] if by is None else [by] if isinstance(by, str) or not isinstance(by, Iterable) else list(by)
    for key in keys:
        if key in NUMBERS:
            raise ConfigError(f"by={key!r} is a number to sum up; by= takes what rows have in common.")
        if not isinstance(key, str) or (key not in COLUMNS and key not in KEYS):
            raise ConfigError(f"by={key!r} is neither a column of the log nor {', '.join(map(repr, KEYS))}.")
    return list(dict.fromkeys(keys))


def wanted_of(filters: dict[str, Any]) -> Filter:
    """The filter that further keywords make, those of `hx.log`."""
    known = list(signature(filter_of).parameters)
    for name in filters:
        if name not in known:
            raise ConfigError(f"There is no filter {name}=; without a frame there are {', '.join(known)}.")
    return filter_of(**filters)


def unknown_usage(rows: pd.DataFrame) -> pd.Series:
    """Whose tokens nobody, or nobody wholly, reported; in SQL it is UNKNOWN_USAGE."""
    replayed = (rows["usage_source"] == "replay").fillna(False)
    unknown: pd.Series = rows[["prompt_tokens", "completion_tokens"]].isna().any(axis=1) & ~replayed
    return unknown


def with_text(keys: Sequence[str]) -> bool:
    """Whether grouping needs the words of exchanges."""
    return bool({"system", "prompt", "response", "reasoning"} & set(keys))


def with_keys(frame: pd.DataFrame, keys: Sequence[str], needed: Sequence[str]) -> pd.DataFrame:
    """Those columns of a frame, each exchange once, with "day", "hour" and "cell" worked out."""
    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"Give rows of hx.log(), not {type(frame).__name__}.")
    frame = _with_moments(frame) if {"day", "hour", "started_at"} & {*keys, *needed} else frame
    made = {key: KEYS[key].of(frame) for key in keys if key in KEYS and KEYS[key].column in frame}
    wanted = dict.fromkeys((*keys, *needed))
    missing = [name for name in wanted if name not in frame and name not in made]
    if missing:
        raise ConfigError(f"This frame has no column {', '.join(map(str, missing))}: give rows of hx.log().")
    kept = frame.drop_duplicates("id") if "id" in frame else frame
    names = dict.fromkeys([*(key for key in keys if key not in made), *needed])
    return kept[list(names)].assign(**{key: values.loc[kept.index] for key, values in made.items()})


def _with_moments(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame that came back from a file, say, may hold its times as texts."""
    if "started_at" not in frame or isinstance(frame["started_at"].dtype, pd.DatetimeTZDtype):
        return frame
    try:
        return frame.assign(started_at=pd.to_datetime(frame["started_at"], utc=True, format="ISO8601"))
    except (ValueError, TypeError):
        raise ConfigError("The column started_at holds something that is no time.") from None
