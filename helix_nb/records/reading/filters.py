"""What the keywords of `hx.log` mean, as a condition in SQL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from inspect import signature
from typing import Any, TypedDict

from ...config.session import aliases, claim_notice
from ...errors import ConfigError, warn
from ...text import did_you_mean
from ..storage.content import storable, to_json
from ..storage.processes import this_process
from ..storage.rows import microseconds
from ..storage.schema import STATUSES
from .query import STATUS, Filter, text_search

SCOPES = ("kernel", "notebook", "all")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SEARCHED = "e.error, w.prompt, w.response, w.reasoning, w.messages, t.text"


class ScopeKeywords(TypedDict, total=False):
    """The keywords of `hx.log` that choose rows within a scope, for functions that pass them on."""

    since: str | date | timedelta | None
    model: str | Sequence[str] | None
    status: str | Sequence[str] | None
    search: str | None
    tags: str | Mapping[str, Any] | Sequence[str] | None


class LogKeywords(ScopeKeywords, total=False):
    """The keywords of `hx.log` that choose rows, for functions that pass them on."""

    scope: str


def filter_of(
    scope: str = "kernel",
    *,
    since: str | date | timedelta | None = None,
    model: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    search: str | None = None,
    tags: str | Mapping[str, Any] | Sequence[str] | None = None,
) -> Filter:
    """Return the condition for keywords of `hx.log`; ConfigError names a keyword that makes no sense."""
    conditions = [_of_scope(scope)]
    if since is not None:
        conditions.append(Filter("e.started_at >= ?", [since_us(since)]))
    if model is not None:
        conditions.append(_of_models(_listed("model", model)))
    if status is not None:
        statuses = [_one_of("status", each, STATUSES) for each in _listed("status", status)]
        conditions.append(Filter(f"({STATUS}) IN ({', '.join('?' * len(statuses))})", [*statuses]))
    if tags is not None:
        conditions.append(Filter("e.tags IS NOT NULL AND tagged(e.tags, ?)", [_tags_json(tags)]))
    if search is not None:
        if not isinstance(search, str):
            raise ConfigError(f"search= takes text, not {type(search).__name__}.")
        conditions.append(text_search(search, _SEARCHED))
    return Filter(
        " AND ".join(condition.where for condition in conditions),
        [value for condition in conditions for value in condition.values],
        needs_text=search is not None,
    )


def filter_from(keywords: LogKeywords) -> Filter:
    """Return `filter_of` some keywords; ConfigError names a keyword that does not exist."""
    known = list(signature(filter_of).parameters)
    for name in keywords:
        if name not in known:
            raise ConfigError(f"There is no filter {name}=; without a frame there are {', '.join(known)}.")
    return filter_of(**keywords)


def _of_scope(scope: str) -> Filter:
    _one_of("scope", scope, SCOPES)
    if scope == "all":
        return Filter()
    if scope == "notebook":
        notebook = os.environ.get("JPY_SESSION_NAME")
        if notebook:
            return Filter("e.notebook = ?", [notebook])
        if claim_notice("no notebook's name"):
            warn("This kernel does not know its notebook's name, so the log shows this kernel's exchanges.")
    this = this_process()
    return Filter("p.host = ? AND p.pid = ? AND p.started_ms = ?", [this.host, this.pid, this.started_ms])


def _of_models(models: Sequence[str]) -> Filter:
    """Return the condition that one of these models was requested or answered; no models match no row."""
    globs = [_glob(model) for model in models]
    each = "(e.model GLOB ? OR e.model_requested GLOB ?)"
    return Filter(f"({' OR '.join(['0', *[each] * len(globs)])})", [glob for glob in globs for _ in range(2)])


def _glob(model: str) -> str:
    """Return a pattern of SQLite in which `*` and `?` are signs and a bracket is a bracket."""
    return storable(aliases().get(model, model)).replace("[", "[[]")


def since_us(since: str | date | timedelta) -> int:
    """Return the moment that `since` means, in microseconds since 1970 UTC; naive times are local ones."""
    if isinstance(since, timedelta):
        moment = _ago(since, since)
    elif isinstance(since, datetime):
        moment = since
    elif isinstance(since, date):
        moment = datetime(since.year, since.month, since.day)
    else:
        moment = _parse_moment(str(since))
    try:  # to a plain datetime in UTC first: pandas' Timestamp has rules of its own
        us = microseconds(datetime.fromtimestamp(moment.timestamp(), UTC))
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"since={since!r} is no moment in time.") from None
    assert us is not None
    return us


def _parse_moment(text: str) -> datetime:
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


def _listed(keyword: str, value: str | Sequence[str]) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise ConfigError(f"{keyword}= takes text or a list of texts, not {type(value).__name__}.")
    return [str(each) for each in value]


def _one_of(keyword: str, value: str, known: Sequence[str]) -> str:
    if value in known:
        return value
    raise ConfigError(f"{keyword}={value!r} is not one of {', '.join(known)}.{did_you_mean(value, known)}")


def _tags_json(tags: str | Mapping[str, Any] | Sequence[str]) -> str:
    """Return tags as JSON, each value as the log spells it."""
    try:
        return to_json(dict(tags) if isinstance(tags, Mapping) else _listed("tags", tags))
    except TypeError as failure:
        raise ConfigError(f"tags= has a key that no tag can have: {failure}.") from None
