"""How long a server asks to wait, in the three spellings there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from lower-case headers; None when they do not say or cannot be read.

    >>> retry_after_s({"retry-after-ms": "1500"}), retry_after_s({"retry-after": "2"})
    (1.5, 2.0)
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    return seconds if seconds is not None or value is None else _until(value, headers.get("date"))


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(number, 0.0) if math.isfinite(number) else None


def _until(date: str, server_now: str | None) -> float | None:
    """Seconds until an HTTP date, by the server's own clock where it shows one."""
    then, now = _date(date), _date(server_now or "") or datetime.now(UTC)
    return None if then is None else max((then - now).total_seconds(), 0.0)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
