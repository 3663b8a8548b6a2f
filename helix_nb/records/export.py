"""Write exchanges to a file: JSONL (also a cassette for replay), Parquet or CSV, a portion at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd

from ..errors import ConfigError
from .reading.frames import build_frame
from .reading.query import Filter, select_columns
from .replay.cassettes import cassette_line, full_rows
from .storage.log import Log
from .storage.rows import utc_datetime
from .storage.schema import COLUMNS

PORTION = 50_000
_TIMES = ("started_at", "first_token_at", "ended_at")
_OLDEST_FIRST = "ORDER BY e.started_at, e.number"


def export(log: Log, path: Path, condition: Filter) -> int:
    """Write the rows that meet a condition, oldest first, and return how many; only the owner may read them.

    Raises:
        ConfigError: the file has another ending, or cannot be written; then nothing is left of it.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"An export ends in {', '.join(FORMATS)}; {path.name!r} does not.")
    partial = path.with_name(f"{path.name}.partial")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        written = FORMATS[path.suffix](log, partial, condition)
        partial.replace(path)
    except OSError as failure:
        raise ConfigError(f"{path} cannot be written: {failure.strerror or failure}.") from None
    finally:
        partial.unlink(missing_ok=True)
    return written


def _write_jsonl(log: Log, path: Path, condition: Filter) -> int:
    with path.open("w", encoding="utf-8", newline="\n") as file:

        def write(connection: sqlite3.Connection) -> int:
            rows = full_rows(connection, condition, _OLDEST_FIRST)
            return sum(_write_line(row, file) for row in rows)

        return sum(log.read(write))


def _write_line(row: dict[str, Any], file: IO[str]) -> int:
    file.write(cassette_line(row | {name: _iso(row[name]) for name in _TIMES}) + "\n")
    return 1


def _iso(us: int | None) -> str | None:
    moment = utc_datetime(us)
    return None if moment is None else moment.isoformat()


def _write_csv(log: Log, path: Path, condition: Filter) -> int:
    with path.open("w", encoding="utf-8", newline="") as file:
        build_frame([], COLUMNS).to_csv(file, index=False)

        def write(connection: sqlite3.Connection) -> int:
            return sum(_append_csv(portion, file) for portion in _portions(connection, condition))

        return sum(log.read(write))


def _append_csv(portion: pd.DataFrame, file: IO[str]) -> int:
    portion.to_csv(file, index=False, header=False)
    return len(portion)


def _write_parquet(log: Log, path: Path, condition: Filter) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'helix-nb[parquet]'.") from None
    schema = pa.Schema.from_pandas(build_frame([], COLUMNS), preserve_index=False)
    schema = _with_text_dictionaries(pa, schema)
    with pq.ParquetWriter(path, schema) as writer:

        def write(connection: sqlite3.Connection) -> int:
            rows = 0
            for portion in _portions(connection, condition):
                writer.write_table(pa.Table.from_pandas(portion, schema=schema, preserve_index=False))
                rows += len(portion)
            return rows

        return sum(log.read(write))


def _with_text_dictionaries(pa: Any, schema: Any) -> Any:
    """Return a schema whose categories are dictionaries of text: of no rows, pandas does not know it."""
    for index, name in enumerate(schema.names):
        if COLUMNS[name] == "category":
            schema = schema.set(index, pa.field(name, pa.dictionary(pa.int32(), pa.large_string())))
    return schema


def _portions(connection: sqlite3.Connection, condition: Filter) -> Iterator[pd.DataFrame]:
    cursor = select_columns(connection, COLUMNS, condition, _OLDEST_FIRST)
    while rows := cursor.fetchmany(PORTION):
        yield build_frame(rows, COLUMNS)


FORMATS = {".jsonl": _write_jsonl, ".parquet": _write_parquet, ".csv": _write_csv}
