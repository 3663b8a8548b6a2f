"""Recorded exchanges as replay finds them: in the log, or in a JSONL cassette beside the notebook."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ... import errors
from ...errors import ConfigError, HelixError
from ...replies import Delta, Reply, ToolCallDelta
from ..reading.filters import FROM_WITH_TEXT, Filter, prepare
from ..reading.threads import history
from ..storage.log import Log
from ..storage.rows import reply_of
from ..storage.schema import COLUMNS, EXCHANGE_FIELDS

NEAREST_OF = 200  # how many recorded requests a miss is compared with


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded exchange; `request` is what its answer depended on, as JSON data."""

    reply: Reply
    request: Mapping[str, Any]
    kernel_id: str | None = None

    def deltas(self) -> Iterator[Delta]:
        """The answer again: at once, whole, and ending as it ended."""
        reply = self.reply
        yield Delta(http_status=reply.http_status, replay_of=reply.exchange_id, endpoint=reply.endpoint)
        for note in reply.notes:
            yield Delta(note=note)
        if reply.reasoning:
            yield Delta(reasoning=reply.reasoning)
        calls = tuple(
            ToolCallDelta(index, call.id, call.name, call.arguments)
            for index, call in enumerate(reply.tool_calls)
        )
        facts = Delta(
            text=reply.text,
            tool_calls=calls,
            finish_reason=reply.finish_reason,
            finished=reply.status == "ok",
            usage=replace(reply.usage, source="replay"),
            model=reply.model,
            response_id=reply.response_id,
            cost=reply.cost,
            currency=reply.currency,
        )
        yield facts
        if reply.status == "error":
            raise self._error()

    def _error(self) -> HelixError:
        kind = getattr(errors, self.reply.error_type or "", HelixError)
        return kind(self.reply.error or "It failed.", status_code=self.reply.http_status, retryable=False)


class Source(Protocol):
    """Where recorded exchanges are."""

    def find(self, request_hash: str, identity: str | None, statuses: tuple[str, ...]) -> list[Recording]:
        """The recordings of one request, in the order in which they were made."""
        ...

    def newest(self) -> list[Recording]:
        """Some recordings to compare a missed request with, the newest first."""
        ...


_RECORDED = (
    "w.response IS NOT NULL AND e.usage_source IS NOT 'replay' AND e.error_type IS NOT 'ReplayMiss' "
    "AND e.status IN ('ok', 'truncated', 'error')"
)


def _of_newest_kernel(found: list[Recording]) -> list[Recording]:
    """Of a request's recordings, oldest first, those of the newest kernel that made any."""
    return [one for one in found if one.kernel_id == found[-1].kernel_id]


class Logged:
    """The log as a source."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def find(self, request_hash: str, identity: str | None, statuses: tuple[str, ...]) -> list[Recording]:
        marks = ", ".join("?" * len(statuses))
        where = f"w.request_hash = ? AND {_RECORDED} AND e.status IN ({marks})"
        values: list[Any] = [bytes.fromhex(request_hash), *statuses]
        if identity is not None:
            where, values = f"{where} AND w.identity = ?", [*values, identity]
        rows = self._rows(f"{where} ORDER BY e.started_at, e.number", values)
        return _of_newest_kernel([recording(row) for row in rows])

    def newest(self) -> list[Recording]:
        rows = self._rows(f"{_RECORDED} ORDER BY e.started_at DESC LIMIT {NEAREST_OF}", [])
        return [recording(row) for row in rows]

    def _rows(self, where: str, values: list[Any]) -> list[dict[str, Any]]:
        parts = self._log.read(lambda connection: list(rows_of(connection, Filter(where, values))))
        return [row for part in parts for row in part]


class Cassette:
    """A file of exported exchanges, one JSON object per line; needs no log and no endpoint.

    What was replayed when it was exported answers only where the recording itself is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_hash: dict[str, list[Recording]] = {}
        self._all: list[Recording] = []
        for request_hash, one in _lines(path):
            self._all.append(one)
            self._by_hash.setdefault(request_hash, []).append(one)

    def find(self, request_hash: str, _identity: str | None, statuses: tuple[str, ...]) -> list[Recording]:
        found = [one for one in self._by_hash.get(request_hash, []) if one.reply.status in statuses]
        return _of_newest_kernel([one for one in found if one.reply.usage.source != "replay"] or found)

    def newest(self) -> list[Recording]:
        return self._all[: -NEAREST_OF - 1 : -1]


def rows_of(connection: sqlite3.Connection, wanted: Filter) -> Iterator[dict[str, Any]]:
    """Exchanges with all that is stored of them, `request` (as JSON data) included."""
    prepare(connection)
    columns = [f"e.{name}" for name in EXCHANGE_FIELDS if name != "process"]
    stored = "w.prompt, w.messages, w.response, w.reasoning, w.tool_calls, w.notes, w.response_schema"
    cursor = connection.execute(
        f"SELECT {', '.join(columns)}, {stored}, t.text AS system, p.kernel_id, "
        f"lower(hex(w.request_hash)) AS request_hash {FROM_WITH_TEXT} WHERE {wanted.where}",
        wanted.values,
    )
    names = [column[0] for column in cursor.description]
    for values in cursor:
        row = dict(zip(names, values, strict=True))
        row["request"] = {
            "model": row["model_requested"],
            "messages": history(connection, row),
            "params": json.loads(row["params"] or "{}"),
            "schema": json.loads(row["response_schema"] or "null"),
        }
        yield row


def recording(row: Mapping[str, Any]) -> Recording:
    """A Recording, from a row of `rows_of` or of a cassette."""
    return Recording(reply_of(row), row["request"], row["kernel_id"])


def _answers(row: Mapping[str, Any]) -> bool:
    """What `_RECORDED` says, of a row of a cassette."""
    stored = row["response"] is not None and row["error_type"] != "ReplayMiss"
    return stored and row["status"] in ("ok", "truncated", "error")


_KEPT = (*COLUMNS, "tool_calls", "notes", "request_hash", "request")


def to_line(row: Mapping[str, Any]) -> str:
    """A row of `rows_of` as a line of a cassette."""
    return json.dumps({name: row[name] for name in _KEPT if row.get(name) is not None}, ensure_ascii=False)


def _lines(path: Path) -> Iterable[tuple[str, Recording]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise ConfigError(f"The cassette {path} cannot be read: {failure}.") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            whole = dict.fromkeys(_KEPT) | row | dict.fromkeys(("started_at", "first_token_at", "ended_at"))
            request_hash, one = row["request_hash"], recording(whole)
        except (ValueError, KeyError, TypeError) as failure:
            raise ConfigError(
                f"Line {number} of {path} is no exported exchange ({type(failure).__name__}: {failure}); "
                "hx.logbook.export('x.jsonl') writes cassettes."
            ) from None
        if _answers(whole):
            yield request_hash, one
