"""A batch over Parquet files larger than memory: a chunk at a time, each written as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, RowsFailed
from .job import Job
from .limits import is_whole

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 10_000


def ask_parquet(
    source: str | Path,
    destination: str | Path,
    template: str | Callable[[Any], Any],
    into: str = "answer",
    *,
    chunk_rows: int = CHUNK_ROWS,
    **options: Any,
) -> pd.DataFrame:
    """Ask a model about every row of a Parquet file or folder, chunk by chunk.

    Each chunk becomes `part-00000.parquet` and so on in `destination`, with all its columns and the
    new ones; memory holds one chunk. Run it again after a crash or Ctrl-C: answers that the log has
    are not asked again. `hx.batch(name)` counts positions through the whole source.

    Args:
        source: a Parquet file, or a folder of them, read in the order of their names.
        destination: a folder for the parts; made if it is not there.
        template, into: as in `df.helix.ask`.
        chunk_rows: rows per part.
        **options: as in `df.helix.ask`. Limits such as `max_cost` hold for all chunks together.

    Returns:
        A DataFrame with a row per part: `part` (str), `rows`, `ok`, `truncated`, `error`, `skipped`,
        `reused`, `requests`, `prompt_tokens`, `completion_tokens` (Int64) and `cost` (Float64).

    Raises:
        ConfigError: pyarrow or the source is missing, or a column or setting is wrong.

    >>> import helix_nb as hx, pandas as pd
    >>> pd.DataFrame({"country": ["France", "Japan"]}).to_parquet("countries.parquet")
    >>> asked = "What is the capital of {{country}}?"
    >>> parts = hx.ask_parquet("countries.parquet", "capitals", asked, endpoint="demo", progress=False)
    >>> pd.read_parquet("capitals")["answer"].tolist()
    ['The capital of France is Paris.', 'The capital of Japan is Tokyo.']
    """
    from .accessor import job

    if not is_whole(chunk_rows, least=1):
        raise ConfigError(f"chunk_rows= is a whole number from 1 up, not {chunk_rows!r}.")
    each = replace(job(template, into, **options), errors="keep")
    folder = Path(destination)
    if folder.resolve() == Path(source).resolve():
        raise ConfigError("The destination is the source itself; name another folder for the parts.")
    folder.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Any]] = []
    offset = 0
    for number, chunk in enumerate(_chunks(Path(source), chunk_rows)):
        result = replace(_rest(each, done), offset=offset)(chunk)
        part = f"part-{number:05d}.parquet"
        _write(result, folder / part, offset)
        done.append({"part": part, **result.attrs["batch"]})
        offset += len(chunk)
        if result.attrs["batch"]["stopped"]:
            break
    else:
        _drop_parts_from(len(done), folder)
    parts = _parts(done)
    failed = int(parts["error"].sum() + parts["truncated"].sum())
    if options.get("errors") == "raise" and failed:
        raise RowsFailed(f"{failed} of {offset} rows failed; the parts in {folder} say which.", parts)
    return parts


def _chunks(source: Path, rows: int) -> Iterator[pd.DataFrame]:
    """The frames of a dataset; a stored index comes back as it was, and a range of numbers goes on."""
    try:
        import pyarrow as pa
        import pyarrow.dataset as ds
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'helix-nb[parquet]'.") from None
    try:
        dataset = ds.dataset(source, format="parquet")
        metadata = dataset.schema.metadata
        counted = _range(dataset.schema.pandas_metadata)
        held: list[Any] = []
        for batch in dataset.to_batches(batch_size=rows, batch_readahead=1, fragment_readahead=1):
            held.append(batch)
            while sum(len(one) for one in held) >= rows:
                whole = pa.Table.from_batches(held).combine_chunks()
                frame = whole.slice(0, rows).replace_schema_metadata(metadata).to_pandas()
                counted = _count_on(frame, counted)
                yield frame
                held = whole.slice(rows).to_batches()
        if held or not dataset.count_rows():
            last = pa.Table.from_batches(held, dataset.schema)
            frame = last.replace_schema_metadata(metadata).to_pandas()
            _count_on(frame, counted)
            yield frame
    except (OSError, pa.ArrowException) as problem:
        raise ConfigError(f"{source} cannot be read as Parquet: {problem}") from None


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


def _rest(each: Job, done: list[dict[str, Any]]) -> Job:
    """The job with what the chunks so far have left of its limits."""
    limits = each.limits
    cost = sum(part["cost"] or 0.0 for part in done)
    tokens = sum((part["prompt_tokens"] or 0) + (part["completion_tokens"] or 0) for part in done)
    if limits.max_cost is not None:
        limits = replace(limits, max_cost=max(limits.max_cost - cost, 1e-12))
    if limits.max_total_tokens is not None:
        limits = replace(limits, max_total_tokens=max(limits.max_total_tokens - tokens, 1))
    return replace(each, limits=limits)


def _write(frame: pd.DataFrame, path: Path, offset: int) -> None:
    """Write a part whole or not at all; only an index that just counts rows is left to the reader."""
    import pandas as pd

    index = frame.index
    counts = isinstance(index, pd.RangeIndex) and (index.start, index.step, index.name) == (offset, 1, None)
    partial = path.with_name(f".{path.name}.partial")  # readers of a folder pass over a leading dot
    try:
        frame.to_parquet(partial, index=None if counts else True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _drop_parts_from(number: int, folder: Path) -> None:
    """Remove parts that an earlier run with smaller chunks left behind the last one."""
    while (path := folder / f"part-{number:05d}.parquet").exists():
        path.unlink()
        number += 1


def _parts(done: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    whole = ("rows", "ok", "truncated", "error", "skipped", "reused", "requests")
    tokens = ("prompt_tokens", "completion_tokens")
    dtypes = {"part": "str", **dict.fromkeys((*whole, *tokens), "Int64"), "cost": "Float64"}
    return pd.DataFrame(
        {name: pd.Series([one[name] for one in done], dtype=dtype) for name, dtype in dtypes.items()}
    )
