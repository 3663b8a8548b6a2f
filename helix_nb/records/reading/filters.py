"""What the keywords of `hx.log` mean in SQL: conditions, their values, and a few functions."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ...config.session import aliases, claim_notice
from ...errors import ConfigError, warn
from ...text import did_you_mean
from ..storage.content import plain, to_json
from ..storage.processes import is_alive, this_process
from ..storage.rows import microseconds
from ..storage.schema import STATUSES

SCOPES = ("kernel", "notebook", "all")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

# A pending row whose process is gone is lost; that is found out on reading, never written.
STATUS = "CASE WHEN e.status = 'pending' AND e.process IN (SELECT id FROM lost) THEN 'lost' ELSE e.status END"

# Half of a row's tokens told is not all of them; a replayed answer used none.
UNKNOWN_USAGE = (
    "((e.prompt_tokens IS NULL OR e.completion_tokens IS NULL) AND e.usage_source IS NOT 'replay')"
)

FROM = "FROM exchanges e JOIN processes p ON p.id = e.process"
FROM_WITH_TEXT = f"{FROM} LEFT JOIN payloads w USING (number) LEFT JOIN texts t ON t.hash = w.system_hash"


@dataclass(frozen=True, slots=True)
class Filter:
    """A WHERE clause over exchanges `e`, processes `p`, payloads `w` and texts `t`, and its values."""

    where: str = "1"
    values: list[Any] = field(default_factory=list)
    needs_text: bool = False


def prepare(connection: sqlite3.Connection) -> None:
    """Give a connection what the conditions use: the table `lost`, and two functions."""
    connection.create_function("found_in", -1, _found_in, deterministic=True)
    connection.create_function("tagged", 2, _tagged, deterministic=True)
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS lost (id INTEGER PRIMARY KEY)")
    owners = connection.execute(
        "SELECT id, host, pid, started_ms FROM processes "
        "WHERE id IN (SELECT process FROM exchanges WHERE status = 'pending')"
    ).fetchall()
    gone = [(number,) for number, *owner in owners if not is_alive(*owner)]
    connection.execute("DELETE FROM lost")
    connection.executemany("INSERT INTO lost VALUES (?)", gone)


def filter_of(
    scope: str = "kernel",
    *,
    since: str | date | timedelta | None = None,
    model: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    search: str | None = None,
    tags: str | Mapping[str, Any] | Sequence[str] | None = None,
) -> Filter:
    """Turn the keywords of `hx.log` into SQL; ConfigError says which one makes no sense."""
    parts = [_scope(scope)]
    if since is not None:
        parts.append(("e.started_at >= ?", [since_us(since)]))
    if model is not None:
        globs = [_glob(each) for each in _listed("model", model)]
        one = "(e.model GLOB ? OR e.model_requested GLOB ?)"
        parts.append((f"({' OR '.join(['0', *[one] * len(globs)])})", [glob for glob in globs for _ in "12"]))
    if status is not None:
        wanted = [_one_of("status", each, STATUSES) for each in _listed("status", status)]
        parts.append((f"({STATUS}) IN ({', '.join('?' * len(wanted))})", wanted))
    if tags is not None:
        parts.append(("e.tags IS NOT NULL AND tagged(e.tags, ?)", [_tags(tags)]))
    if search is not None:
        if not isinstance(search, str):
            raise ConfigError(f"search= takes text, not {type(search).__name__}.")
        columns = "e.error, w.prompt, w.response, w.reasoning, w.messages, t.text"
        parts.append((f"found_in(?, {columns})", [plain(search).casefold()]))
    conditions = [condition for condition, _ in parts]
    values = [value for _, some in parts for value in some]
    return Filter(" AND ".join(conditions), values, needs_text=search is not None)


def _scope(scope: str) -> tuple[str, list[Any]]:
    _one_of("scope", scope, SCOPES)
    if scope == "all":
        return "1", []
    if scope == "notebook":
        notebook = os.environ.get("JPY_SESSION_NAME")
        if notebook:
            return "e.notebook = ?", [notebook]
        if claim_notice("no notebook's name"):
            warn("This kernel does not know its notebook's name, so the log shows this kernel's exchanges.")
    me = this_process()
    return "p.host = ? AND p.pid = ? AND p.started_ms = ?", [me.host, me.pid, me.started_ms]


def since_us(since: str | date | timedelta) -> int:
    """The moment `since` means, in microseconds since 1970 UTC; naive times are local ones."""
    if isinstance(since, timedelta):
        moment = _ago(since, since)
    elif isinstance(since, datetime):
        moment = since
    elif isinstance(since, date):
        moment = datetime(since.year, since.month, since.day)
    else:
        moment = _parsed(str(since))
    try:  # to a plain datetime in UTC first: pandas' Timestamp has rules of its own
        us = microseconds(datetime.fromtimestamp(moment.timestamp(), UTC))
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"since={since!r} is no moment in time.") from None
    assert us is not None
    return us


def _parsed(text: str) -> datetime:
    span = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text)
    if span:
        return _ago(text, float(span[1]) * _UNITS_S[span[2]])
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(
            f'since={text!r} is no time: say "12h", "7d", "2w", a date as "2026-11-22", or a datetime.'
        ) from None


def _ago(since: object, span: timedelta | float) -> datetime:
    try:
        return datetime.now(UTC) - (span if isinstance(span, timedelta) else timedelta(seconds=span))
    except (ValueError, OverflowError):
        raise ConfigError(f"since={since!r} is longer ago than any log.") from None


def _listed(what: str, value: str | Sequence[str]) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise ConfigError(f"{what}= takes text or a list of texts, not {type(value).__name__}.")
    return [str(each) for each in value]


def _glob(model: str) -> str:
    """A pattern of SQLite in which `*` and `?` mean something and a bracket is a bracket."""
    return plain(aliases().get(model, model)).replace("[", "[[]")


def _one_of(what: str, value: str, known: Sequence[str]) -> str:
    if value in known:
        return value
    raise ConfigError(f"{what}={value!r} is not one of {', '.join(known)}.{did_you_mean(value, known)}")


def _tags(tags: str | Mapping[str, Any] | Sequence[str]) -> str:
    """As JSON, each value spelled as the log spells it."""
    try:
        return to_json(dict(tags) if isinstance(tags, Mapping) else _listed("tags", tags))
    except TypeError as failure:
        raise ConfigError(f"tags= has a key that no tag can have: {failure}.") from None


def _tagged(stored: str, wanted: str) -> bool:
    have, want = json.loads(stored), json.loads(wanted)
    if isinstance(want, dict):
        return all(key in have and have[key] == value for key, value in want.items())
    return all(key in have for key in want)


def _found_in(needle: str, *texts: str | None) -> bool:
    return any(text is not None and needle in text.casefold() for text in texts)
