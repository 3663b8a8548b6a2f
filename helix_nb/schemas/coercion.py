"""What a column can hold: one value of a validated answer as a cell of its dtype, or a sentence why not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from ..text import shorten


def coerce(value: Any, dtype: str, choices: Sequence[Any], name: str) -> Any:
    """The value as that column keeps it; ValueError says in one sentence why it cannot.

    Whole numbers have 64 bits, times become UTC, text is valid Unicode, a category is one of `choices`.
    """
    if value is None or dtype == "object":
        return value
    try:
        return _among(value, choices) if dtype == "category" else _READ[dtype](value)
    except (ValueError, TypeError, OverflowError):
        shown = ascii(value)
        shown = shorten(shown, _LONGEST)
        raise ValueError(f"{name} should be {_SAID[dtype]}, not {shown}.") from None


_LONGEST = 40
_SAID = {
    "Int64": "a whole number of at most 64 bits",
    "Float64": "a number that fits a float",
    "boolean": "true or false",
    "str": "text of valid Unicode characters",
    "category": "one of the values listed",
    "datetime": "an ISO 8601 time",
}


def _whole(value: Any) -> int:
    whole = int(value)
    if whole != value or not -(2**63) <= whole < 2**63:
        raise ValueError
    return whole


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _text(value: Any) -> Any:
    if isinstance(value, str):
        value.encode()
    return value


def _time(value: Any) -> dt.datetime:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value.strip().upper())
    elif not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    moment: dt.datetime = value
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _among(value: Any, choices: Sequence[Any]) -> Any:
    """The choice itself; an enum of dates and the like is declared as text."""
    return choices[choices.index(value if value in choices else str(value))]


_READ: dict[str, Callable[[Any], Any]] = {
    "Int64": _whole,
    "Float64": float,
    "boolean": _boolean,
    "str": _text,
    "datetime": _time,
}
