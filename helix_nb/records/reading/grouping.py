"""What rows of the log are grouped by: columns, and what is worked out from one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any

import pandas as pd

from ...errors import ConfigError
from ..storage.schema import COLUMNS
from .filters import Filter, filter_of
from .sums import KEYS

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
