"""A Parquet dataset chunk by chunk: the rows as they are stored, and as a frame to ask about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


def read_chunks(source: Path, rows: int) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield tables of so many rows, each with its frame; one without rows where the dataset has none.

    A stored index comes back as it was, and a range of numbers goes on from chunk to chunk.

    Raises:
        ConfigError: pyarrow or the source is missing, or the source is no Parquet.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'helix-nb[parquet]'.") from None
    try:
        dataset = _open_dataset(source)
        index_range = _stored_range(dataset.schema.pandas_metadata)
        for table in _tables(dataset, rows):
            frame = table.to_pandas(types_mapper=_nullable_types())
            index_range = _set_range(frame, index_range)
            yield table, frame
    except FileNotFoundError:
        raise ConfigError(f"There is no file or folder {source}.") from None
    except (OSError, pa.ArrowException) as problem:
        raise ConfigError(f"{source} cannot be read as Parquet: {problem}") from None


def index_counts_rows(schema: Any) -> bool:
    """Return whether the index of a source only counts its rows, and is not stored with them."""
    return _stored_range(schema.pandas_metadata) is not None


def _open_dataset(source: Path) -> Any:
    """Open all files as one; a column that some files lack, or have in a narrower type, is one column."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    dataset = ds.dataset(source, format="parquet", partitioning="hive")
    if not dataset.files:
        raise ConfigError(f"{source} holds no Parquet files.")
    of_files = (fragment.physical_schema for fragment in dataset.get_fragments())
    try:
        schema = pa.unify_schemas([dataset.schema, *of_files], promote_options="permissive")
        return ds.dataset(source, schema, format="parquet", partitioning="hive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return dataset  # because reading it names the column and its types


def _tables(dataset: Any, rows: int) -> Iterator[Any]:
    import pyarrow as pa

    schema, waiting = dataset.schema, []
    for batch in dataset.to_batches(batch_size=rows, batch_readahead=1, fragment_readahead=1):
        waiting.append(batch)
        while sum(map(len, waiting)) >= rows:
            table = pa.Table.from_batches(waiting).combine_chunks()
            yield table.slice(0, rows).replace_schema_metadata(schema.metadata)
            waiting = table.slice(rows).to_batches()
    if waiting or not dataset.count_rows():
        yield pa.Table.from_batches(waiting, schema).replace_schema_metadata(schema.metadata)


def _nullable_types() -> Any:
    """Return pandas' types for whole numbers, because beside a missing value a float would read `1.0`."""
    import pandas as pd
    import pyarrow as pa

    names = [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
    types = {getattr(pa, name.lower())(): pd.api.types.pandas_dtype(name) for name in names}
    return {**types, pa.bool_(): pd.BooleanDtype()}.get


def _stored_range(metadata: Any) -> dict[str, Any] | None:
    """Return the range of numbers that is a source's index; None where an index is stored row by row."""
    levels = (metadata or {}).get("index_columns") or [{"start": 0, "step": 1, "name": None}]
    return levels[0] if isinstance(levels[0], dict) else None


def _set_range(frame: pd.DataFrame, index_range: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give a chunk its part of the range, and return the range of the chunks after it."""
    if index_range is None:
        return None
    import pandas as pd

    start, step = index_range["start"], index_range["step"]
    stop = start + step * len(frame)
    frame.index = pd.RangeIndex(start, stop, step, name=index_range["name"])
    return {**index_range, "start": stop}
