"""`hx.batch`: a batch so far, out of the log, after a crash or Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..records.storage.batches import BatchRow, batch_rows
from ..records.storage.log import current_log
from .batch import check_name
from .results import FIELDS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "row_key": "str",
    "answer": "str",
    **{f"answer_{field}": dtype for field, dtype in FIELDS.items()},
    "exchange_id": "str",
}


def batch(name: str) -> pd.DataFrame:
    """Return a batch so far, from the log: one row per row of its frame.

    Args:
        name: the batch's name, as given to `df.helix.ask(..., name=)`, or `attrs["batch"]["name"]`
            of a result, or `batch_id` in `hx.log(scope="all")`.

    Returns:
        A DataFrame indexed by `position` (the row's place in the frame, from 0) with `row_key`
        (str: its index label as JSON), `answer`, `answer_status`, `answer_error`,
        `answer_finish_reason` (str), `answer_prompt_tokens`, `answer_completion_tokens` (Int64) and
        `exchange_id` (str: the row of the log; rows that ask the same share one, so count tokens
        over distinct ids). A row that was not asked yet has the status `pending`.

    Raises:
        ConfigError: the log has no such batch.

    >>> import helix_nb as hx, pandas as pd
    >>> cities = pd.DataFrame({"country": ["France", "France"]})
    >>> done = cities.helix.ask("What is the capital of {{country}}?", endpoint="demo", name="capitals",
    ...                         progress=False)
    >>> hx.batch("capitals")["answer"].tolist()
    ['The capital of France is Paris.', 'The capital of France is Paris.']
    """
    import pandas as pd

    check_name(name)
    rows = _logged_rows(name)
    positions = sorted(rows)
    columns = zip(*(_cells(rows[position]) for position in positions), strict=True)
    gapless = len(positions) == positions[-1] + 1
    index = pd.Index(pd.RangeIndex(len(positions)) if gapless else positions, name="position")
    return pd.DataFrame(
        {
            name: pd.Series(values, index=index, dtype=dtype)
            for (name, dtype), values in zip(COLUMNS.items(), columns, strict=True)
        }
    )


def _logged_rows(name: str) -> dict[int, BatchRow]:
    """Return the rows of a batch by position; those of the log's own file win over those of other files."""
    log = current_log()
    files = [rows for rows in log.read(lambda connection: batch_rows(connection, name)) if rows]
    if not files and not log.enabled:
        raise ConfigError("The log is off, so no batch is kept; HELIX_NB_LOG says where it should be.")
    if not files:
        raise ConfigError(f"The log has no batch {name!r}; `hx.log(scope='all').batch_id` lists them.")
    return {row.position: row for rows in reversed(files) for row in rows}


def _cells(row: BatchRow) -> tuple[Any, ...]:
    """Return the values of COLUMNS for one row."""
    status, error = row.status or "pending", row.error and f"{row.error_type}: {row.error}"
    if row.problem is not None:
        status, error = ("error", row.problem) if row.problem else ("skipped", None)
    answer = row.text if row.text or status == "ok" else None
    tokens = row.prompt_tokens, row.completion_tokens
    return row.row_key, answer, status, error, row.finish_reason, *tokens, row.exchange_id
