"""Values of validated answers as cells of a column: of its dtype, or refused with a sentence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from ..text import shorten

_MOST_SHOWN = 40  # characters of a refused value
_EXPECTED = {
    "Int64": "a whole number of at most 64 bits",
    "Float64": "a number that fits a float",
    "boolean": "true or false",
    "str": "text of valid Unicode characters",
    "category": "one of the values listed",
    "datetime": "an ISO 8601 time",
}


def coerce(value: Any, dtype: str, choices: Sequence[Any], name: str) -> Any:
    """Return a value as the column of that name keeps it.

    Whole numbers have 64 bits, times become UTC, text is valid Unicode, a category is one of `choices`.

    Raises:
        ValueError: one sentence that says why the column cannot hold it.
    """
    if value is None or dtype == "object":
        return value
    try:
        return _choice(value, choices) if dtype == "category" else _COERCIONS[dtype](value)
    except (ValueError, TypeError, OverflowError):
        excerpt = shorten(ascii(value), _MOST_SHOWN)
        raise ValueError(f"{name} should be {_EXPECTED[dtype]}, not {excerpt}.") from None


def _integer(value: Any) -> int:
    integer = int(value)
    if integer != value or not -(2**63) <= integer < 2**63:
        raise ValueError
    return integer


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
    time: dt.datetime = value
    return time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _choice(value: Any, choices: Sequence[Any]) -> Any:
    """Return the choice itself; an enum of dates and the like is declared as text."""
    return choices[choices.index(value if value in choices else str(value))]


_COERCIONS: dict[str, Callable[[Any], Any]] = {
    "Int64": _integer,
    "Float64": float,
    "boolean": _boolean,
    "str": _text,
    "datetime": _time,
}
