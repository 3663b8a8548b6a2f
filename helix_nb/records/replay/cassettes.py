"""Recorded exchanges as replay finds them: in the log, or in a JSONL cassette beside the notebook."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ... import errors
from ...errors import ConfigError, HelixError
from ...replies import Delta, Reply, ToolCallDelta
from ..reading.query import Filter, select
from ..reading.threads import history
from ..storage.log import Log
from ..storage.rows import reply_of
from ..storage.schema import COLUMNS

NEAREST_OF = 200  # how many recorded requests a miss is compared with
_TIMES = ("started_at", "first_token_at", "ended_at")


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded exchange."""

    reply: Reply
    request: Mapping[str, Any]  # what the answer depended on, as JSON data
    kernel_id: str | None = None

    def deltas(self) -> Iterator[Delta]:
        """Yield the answer again, whole and at once; it ends as it ended, in a HelixError too."""
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
        yield Delta(
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
        if reply.status == "error":
            raise self._error()

    def _error(self) -> HelixError:
        kind = getattr(errors, self.reply.error_type or "", HelixError)
        return kind(self.reply.error or "It failed.", status_code=self.reply.http_status, retryable=False)


class Recordings(Protocol):
    """Where recorded exchanges are."""

    def find(self, request_hash: str, identity: str | None, statuses: tuple[str, ...]) -> list[Recording]:
        """Return the recordings of one request, in the order in which they were made."""
        ...

    def newest(self) -> list[Recording]:
        """Return some recordings to compare a missed request with, the newest first."""
        ...


def _of_newest_kernel(recordings: list[Recording]) -> list[Recording]:
    """Return the recordings of the newest kernel among some that come oldest first."""
    return [each for each in recordings if each.kernel_id == recordings[-1].kernel_id]


class LogRecordings:
    """The exchanges recorded in a log."""

    _RECORDED = (
        "w.response IS NOT NULL AND e.usage_source IS NOT 'replay' AND e.error_type IS NOT 'ReplayMiss' "
        "AND e.status IN ('ok', 'truncated', 'error')"
    )

    def __init__(self, log: Log) -> None:
        self._log = log

    def find(self, request_hash: str, identity: str | None, statuses: tuple[str, ...]) -> list[Recording]:
        marks = ", ".join("?" * len(statuses))
        where = f"w.request_hash = ? AND {self._RECORDED} AND e.status IN ({marks})"
        values: list[Any] = [bytes.fromhex(request_hash), *statuses]
        if identity is not None:
            where, values = f"{where} AND w.identity = ?", [*values, identity]
        return _of_newest_kernel(self._select(Filter(where, values), "ORDER BY e.started_at, e.number"))

    def newest(self) -> list[Recording]:
        return self._select(Filter(self._RECORDED), f"ORDER BY e.started_at DESC LIMIT {NEAREST_OF}")

    def _select(self, condition: Filter, ending: str) -> list[Recording]:
        parts = self._log.read(lambda connection: list(full_rows(connection, condition, ending)))
        return [_recording_of(row) for part in parts for row in part]


class Cassette:
    """A file of exported exchanges, one JSON object per line; needs no log and no endpoint.

    What was itself replayed when it was exported answers only where the recording is not there.
    """

    def __init__(self, path: Path) -> None:
        """Read the whole file; ConfigError names the line that is no exported exchange."""
        self._by_hash: dict[str, list[Recording]] = {}
        self._all: list[Recording] = []
        for request_hash, recording in _read_cassette(path):
            self._all.append(recording)
            self._by_hash.setdefault(request_hash, []).append(recording)

    def find(self, request_hash: str, _identity: str | None, statuses: tuple[str, ...]) -> list[Recording]:
        recordings = [each for each in self._by_hash.get(request_hash, []) if each.reply.status in statuses]
        originals = [each for each in recordings if each.reply.usage.source != "replay"]
        return _of_newest_kernel(originals or recordings)

    def newest(self) -> list[Recording]:
        return self._all[: -NEAREST_OF - 1 : -1]


_FULL_ROW = """
e.*, w.prompt, w.messages, w.response, w.reasoning, w.tool_calls, w.notes, w.response_schema,
t.text AS system, p.kernel_id, lower(hex(w.request_hash)) AS request_hash
"""


def full_rows(connection: sqlite3.Connection, condition: Filter, ending: str) -> Iterator[dict[str, Any]]:
    """Yield exchanges with all that is stored of them, and their `request` as JSON data."""
    cursor = select(connection, _FULL_ROW, condition, ending, with_text=True)
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


def _recording_of(row: Mapping[str, Any]) -> Recording:
    """Return the Recording in a row of `full_rows` or of a cassette."""
    return Recording(reply_of(row), row["request"], row["kernel_id"])


_OPTIONAL_FIELDS = (*COLUMNS, "tool_calls", "notes")
_LINE_FIELDS = (*_OPTIONAL_FIELDS, "request_hash", "request")


def cassette_line(row: Mapping[str, Any]) -> str:
    """Return a row of `full_rows` as a line of a cassette."""
    return json.dumps(
        {name: row[name] for name in _LINE_FIELDS if row.get(name) is not None}, ensure_ascii=False
    )


def _read_cassette(path: Path) -> Iterator[tuple[str, Recording]]:
    """Yield the recordings of a file, each with the hash of its request."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise ConfigError(f"The cassette {path} cannot be read: {failure}.") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = dict.fromkeys(_OPTIONAL_FIELDS) | json.loads(line) | dict.fromkeys(_TIMES)
            request_hash, recording = row["request_hash"], _recording_of(row)
        except (ValueError, KeyError, TypeError) as failure:
            raise ConfigError(
                f"Line {number} of {path} is no exported exchange ({type(failure).__name__}: {failure}); "
                "hx.logbook.export('x.jsonl') writes cassettes."
            ) from None
        if _is_recorded(row):
            yield request_hash, recording


def _is_recorded(row: Mapping[str, Any]) -> bool:
    """Return whether a cassette's row is an answer, by the rule that `LogRecordings` has in SQL."""
    stored = row["response"] is not None and row["error_type"] != "ReplayMiss"
    return stored and row["status"] in ("ok", "truncated", "error")
