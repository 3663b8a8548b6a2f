"""A batch over Parquet files larger than memory: a chunk at a time, each written as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, RowsFailed
from ..batch import Batch
from ..limits import is_whole_number
from ..results import column_names
from .dataset import read_chunks
from .parts import write_part

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
    new ones; memory holds one chunk. Lists and objects of a schema keep their types where Parquet
    has them, and are text otherwise. Run it again after a crash or Ctrl-C: answers that the log has
    are not asked again. `hx.batch(name)` counts positions through the whole source.

    Args:
        source: a Parquet file, or a folder of them, read in the order of their names; folders such
            as `year=2026` are a column.
        destination: a folder for the parts; made if it is not there.
        template, into: as in `df.helix.ask`.
        chunk_rows: rows per part.
        **options: as in `df.helix.ask`. Limits such as `max_cost` hold for all chunks together.

    Returns:
        A DataFrame with a row per part: `part` (str), `rows`, `ok`, `truncated`, `error`, `skipped`,
        `reused`, `requests`, `prompt_tokens`, `completion_tokens` (Int64) and `cost` (Float64).

    Raises:
        ConfigError: pyarrow or the source is missing, a column or setting is wrong, or a part cannot be
            written.

    >>> import helix_nb as hx, pandas as pd
    >>> pd.DataFrame({"country": ["France", "Japan"]}).to_parquet("countries.parquet")
    >>> asked = "What is the capital of {{country}}?"
    >>> parts = hx.ask_parquet("countries.parquet", "capitals", asked, endpoint="demo", progress=False)
    >>> pd.read_parquet("capitals")["answer"].tolist()
    ['The capital of France is Paris.', 'The capital of Japan is Tokyo.']
    """
    from ..accessor import build_batch

    if not is_whole_number(chunk_rows, least=1):
        raise ConfigError(f"chunk_rows= is a whole number from 1 up, not {chunk_rows!r}.")
    each = replace(build_batch(template, into, **options), errors="keep")
    source, folder = Path(source), _folder(Path(source), Path(destination))
    added = column_names(into, each.recipe.schema)
    done: list[dict[str, Any]] = []
    offset = 0
    for number, (table, chunk) in enumerate(read_chunks(source, chunk_rows)):
        result = replace(_rest(each, done), offset=offset)(chunk)
        part = f"part-{number:05d}.parquet"
        write_part(table, result, added, schema=each.recipe.schema, path=folder / part, offset=offset)
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


def _folder(source: Path, destination: Path) -> Path:
    """The folder for the parts, made if need be; never where they would be read, or replace, the source."""
    there, taken = destination.resolve(), source.resolve()
    if there == taken or taken in there.parents:
        where = "is" if there == taken else "lies in"
        raise ConfigError(f"The destination {where} the source itself; name another folder for the parts.")
    if taken.parent == there and taken.name.startswith("part-"):
        raise ConfigError(f"A part could replace {source}; name another folder for the parts.")
    try:
        destination.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"{destination} cannot be a folder for the parts: {problem}.") from None
    return destination


def _rest(each: Batch, done: list[dict[str, Any]]) -> Batch:
    """The job with what the chunks so far have left of its limits."""
    limits = each.limits
    cost = sum(part["cost"] or 0.0 for part in done)
    tokens = sum((part["prompt_tokens"] or 0) + (part["completion_tokens"] or 0) for part in done)
    if limits.max_cost is not None:
        limits = replace(limits, max_cost=max(limits.max_cost - cost, 1e-12))
    if limits.max_total_tokens is not None:
        limits = replace(limits, max_total_tokens=max(limits.max_total_tokens - tokens, 1))
    return replace(each, limits=limits)


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
