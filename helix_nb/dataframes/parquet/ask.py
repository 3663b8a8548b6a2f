"""A batch over Parquet files larger than memory: chunk by chunk, each written as soon as it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...chat.signature import same_parameters_after_two
from ...errors import ConfigError, RowsFailed
from ..limits import Limits, is_whole_number
from ..options import build_batch
from ..results import column_names
from ..rows.requests import PromptSource
from .dataset import read_chunks
from .parts import write_part

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 10_000
ROW_COUNTS = ("rows", "ok", "truncated", "error", "skipped", "reused", "requests")
TOKEN_COUNTS = ("prompt_tokens", "completion_tokens")


@same_parameters_after_two(build_batch)
def ask_parquet(
    source: str | Path,
    destination: str | Path,
    template: PromptSource,
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
        chunk_rows: rows per part.
        template, into, ...: as in `df.helix.ask`. Limits such as `max_cost` hold for all chunks together.

    Returns:
        A DataFrame with a row per part: `part` (str), `rows`, `ok`, `truncated`, `error`, `skipped`,
        `reused`, `requests`, `prompt_tokens`, `completion_tokens` (Int64) and `cost` (Float64).

    Raises:
        ConfigError: pyarrow or the source is missing, a column or setting is wrong, or a part cannot be
            written.

    >>> import helix_nb as hx, pandas as pd
    >>> pd.DataFrame({"country": ["France", "Japan"]}).to_parquet("countries.parquet")
    >>> question = "What is the capital of {{country}}?"
    >>> parts = hx.ask_parquet("countries.parquet", "capitals", question, endpoint="demo", progress=False)
    >>> pd.read_parquet("capitals")["answer"].tolist()
    ['The capital of France is Paris.', 'The capital of Japan is Tokyo.']
    """
    if not is_whole_number(chunk_rows, least=1):
        raise ConfigError(f"chunk_rows= is a whole number from 1 up, not {chunk_rows!r}.")
    batch = build_batch(template, into, **options)
    schema = batch.spec.schema
    source, folder = Path(source), _make_folder(Path(source), Path(destination))
    added = column_names(into, schema)
    reports: list[dict[str, Any]] = []
    offset = 0
    for number, (table, chunk) in enumerate(read_chunks(source, chunk_rows)):
        limits = _limits_left(batch.limits, reports)
        result = replace(batch, errors="keep", limits=limits, offset=offset)(chunk)
        part = f"part-{number:05d}.parquet"
        write_part(table, result, added, schema=schema, path=folder / part, offset=offset)
        reports.append({"part": part, **result.attrs["batch"]})
        offset += len(chunk)
        if result.attrs["batch"]["stopped"]:
            break
    else:
        _delete_parts_from(len(reports), folder)
    parts = _parts_frame(reports)
    failed = int(parts["error"].sum() + parts["truncated"].sum())
    if batch.errors == "raise" and failed:
        raise RowsFailed(f"{failed} of {offset} rows failed; the parts in {folder} say which.", parts)
    return parts


def _make_folder(source: Path, destination: Path) -> Path:
    """Make the folder for the parts, never where they would be read as, or replace, the source."""
    folder, taken = destination.resolve(), source.resolve()
    if folder == taken or taken in folder.parents:
        where = "is" if folder == taken else "lies in"
        raise ConfigError(f"The destination {where} the source itself; name another folder for the parts.")
    if taken.parent == folder and taken.name.startswith("part-"):
        raise ConfigError(f"A part could replace {source}; name another folder for the parts.")
    try:
        destination.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"{destination} cannot be a folder for the parts: {problem}.") from None
    return destination


def _limits_left(limits: Limits, reports: Sequence[dict[str, Any]]) -> Limits:
    """Return the limits without what the chunks so far have used; they stay above 0, as they must."""
    if limits.max_cost is not None:
        cost = sum(report["cost"] or 0.0 for report in reports)
        limits = replace(limits, max_cost=max(limits.max_cost - cost, 1e-12))
    if limits.max_total_tokens is not None:
        tokens = sum(report[name] or 0 for report in reports for name in TOKEN_COUNTS)
        limits = replace(limits, max_total_tokens=max(limits.max_total_tokens - tokens, 1))
    return limits


def _delete_parts_from(number: int, folder: Path) -> None:
    """Delete parts that an earlier run with smaller chunks left behind the last one."""
    while (path := folder / f"part-{number:05d}.parquet").exists():
        path.unlink()
        number += 1


def _parts_frame(reports: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    dtypes = {"part": "str", **dict.fromkeys((*ROW_COUNTS, *TOKEN_COUNTS), "Int64"), "cost": "Float64"}
    return pd.DataFrame(
        {name: pd.Series([report[name] for report in reports], dtype=dtype) for name, dtype in dtypes.items()}
    )
