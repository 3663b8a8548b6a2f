"""Write exchanges out: JSONL (also a cassette for replay), Parquet or CSV, a portion at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd

from ..errors import ConfigError
from .reading.filters import FROM_WITH_TEXT, Filter, prepare
from .reading.frames import column, typed
from .replay.cassettes import rows_of, to_line
from .storage.log import Log
from .storage.schema import COLUMNS

PORTION = 50_000
FORMATS = (".jsonl", ".parquet", ".csv")
_TIMES = ("started_at", "first_token_at", "ended_at")


def export(log: Log, path: Path, wanted: Filter) -> int:
    """Write what a filter lets through, oldest first; the file is its owner's only. Returns the rows."""
    if path.suffix not in FORMATS:
        raise ConfigError(f"An export ends in {', '.join(FORMATS)}; {path.name!r} does not.")
    ordered = Filter(f"{wanted.where} ORDER BY e.started_at, e.number", wanted.values)
    write = {".jsonl": _write_jsonl, ".parquet": _write_parquet, ".csv": _write_csv}[path.suffix]
    partial = path.with_name(f"{path.name}.partial")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        written = write(log, partial, ordered)
        partial.replace(path)
    except OSError as failure:
        raise ConfigError(f"{path} cannot be written: {failure.strerror or failure}.") from None
    finally:
        partial.unlink(missing_ok=True)
    return written


def _write_jsonl(log: Log, path: Path, wanted: Filter) -> int:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        return sum(log.read(lambda connection: _lines(connection, file, wanted)))


def _lines(connection: sqlite3.Connection, file: IO[str], wanted: Filter) -> int:
    written = 0
    for row in rows_of(connection, wanted):
        times = {name: _iso(row[name]) for name in _TIMES}
        file.write(to_line(row | times) + "\n")
        written += 1
    return written


def _write_csv(log: Log, path: Path, wanted: Filter) -> int:
    with path.open("w", encoding="utf-8", newline="") as file:
        typed([], COLUMNS).to_csv(file, index=False)

        def write(connection: sqlite3.Connection) -> int:
            return sum(_append_csv(part, file) for part in _portions(connection, wanted))

        return sum(log.read(write))


def _append_csv(part: pd.DataFrame, file: IO[str]) -> int:
    part.to_csv(file, index=False, header=False)
    return len(part)


def _write_parquet(log: Log, path: Path, wanted: Filter) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'helix-nb[parquet]'.") from None
    schema = pa.Schema.from_pandas(typed([], COLUMNS), preserve_index=False)
    schema = _with_plain_dictionaries(pa, schema)
    with pq.ParquetWriter(path, schema) as writer:

        def write(connection: sqlite3.Connection) -> int:
            rows = 0
            for part in _portions(connection, wanted):
                writer.write_table(pa.Table.from_pandas(part, schema=schema, preserve_index=False))
                rows += len(part)
            return rows

        return sum(log.read(write))


def _with_plain_dictionaries(pa: Any, schema: Any) -> Any:
    """Categories are dictionaries of strings, also where a portion has none."""
    for at, name in enumerate(schema.names):
        if COLUMNS[name] == "category":
            schema = schema.set(at, pa.field(name, pa.dictionary(pa.int32(), pa.large_string())))
    return schema


def _portions(connection: sqlite3.Connection, wanted: Filter) -> Iterator[pd.DataFrame]:
    prepare(connection)
    chosen = ", ".join(column(name) for name in COLUMNS)
    query = f"SELECT {chosen} {FROM_WITH_TEXT} WHERE {wanted.where}"
    cursor = connection.execute(query, wanted.values)
    while rows := cursor.fetchmany(PORTION):
        yield typed(rows, COLUMNS)


def _iso(us: int | None) -> str | None:
    from .storage.rows import moment

    at = moment(us)
    return None if at is None else at.isoformat()
