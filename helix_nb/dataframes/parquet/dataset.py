"""A Parquet dataset a chunk at a time: the rows as they are stored, and as a frame to ask about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


def read_chunks(source: Path, rows: int) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Tables of so many rows, each with its frame; one without rows where the dataset has none.

    A stored index comes back as it was, and a range of numbers goes on from chunk to chunk.

    Raises:
        ConfigError: pyarrow or the source is missing, or the source is no Parquet.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'helix-nb[parquet]'.") from None
    try:
        dataset = _dataset(source)
        counted = _range(dataset.schema.pandas_metadata)
        for table in _tables(dataset, rows):
            frame = table.to_pandas(types_mapper=_nullable())
            counted = _count_on(frame, counted)
            yield table, frame
    except FileNotFoundError:
        raise ConfigError(f"There is no file or folder {source}.") from None
    except (OSError, pa.ArrowException) as problem:
        raise ConfigError(f"{source} cannot be read as Parquet: {problem}") from None


def index_counts_rows(dataset_schema: Any) -> bool:
    """Whether a source's index only counts its rows, and is not stored with them."""
    return _range(dataset_schema.pandas_metadata) is not None


def _dataset(source: Path) -> Any:
    """All files as one; a column that only some of them have, or have in a narrower type, is one column."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    found = ds.dataset(source, format="parquet", partitioning="hive")
    if not found.files:
        raise ConfigError(f"{source} holds no Parquet files.")
    each = (fragment.physical_schema for fragment in found.get_fragments())
    try:
        schema = pa.unify_schemas([found.schema, *each], promote_options="permissive")
        return ds.dataset(source, schema, format="parquet", partitioning="hive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return found  # reading says which column of which type


def _tables(dataset: Any, rows: int) -> Iterator[Any]:
    import pyarrow as pa

    schema, held = dataset.schema, []
    for batch in dataset.to_batches(batch_size=rows, batch_readahead=1, fragment_readahead=1):
        held.append(batch)
        while sum(len(one) for one in held) >= rows:
            whole = pa.Table.from_batches(held).combine_chunks()
            yield whole.slice(0, rows).replace_schema_metadata(schema.metadata)
            held = whole.slice(rows).to_batches()
    if held or not dataset.count_rows():
        yield pa.Table.from_batches(held, schema).replace_schema_metadata(schema.metadata)


def _nullable() -> Any:
    """pandas' types for whole numbers: as floats, where a chunk has a missing one, `1` would read `1.0`."""
    import pandas as pd
    import pyarrow as pa

    names = [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
    types = {getattr(pa, name.lower())(): pd.api.types.pandas_dtype(name) for name in names}
    return {**types, pa.bool_(): pd.BooleanDtype()}.get


def _range(stored: Any) -> dict[str, Any] | None:
    """Where a source's index begins if it is a range of numbers; None where it is stored row by row."""
    levels = (stored or {}).get("index_columns") or [{"start": 0, "step": 1, "name": None}]
    return levels[0] if isinstance(levels[0], dict) else None


def _count_on(frame: pd.DataFrame, counted: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give a chunk its part of the range, and return where the next one begins."""
    if counted is None:
        return None
    import pandas as pd

    start, step = counted["start"], counted["step"]
    stop = start + step * len(frame)
    frame.index = pd.RangeIndex(start, stop, step, name=counted["name"])
    return {**counted, "start": stop}
