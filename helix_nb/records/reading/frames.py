"""The log as pandas DataFrames. Views, built when asked for; rows are never cut silently."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from numbers import Integral
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...errors import ConfigError
from ..storage.log import Log, current_log
from ..storage.schema import COLUMNS, TEXT_COLUMNS
from .filters import filter_of
from .query import Filter, select_columns
from .threads import HasThread, TranscriptRow, transcript_rows

if TYPE_CHECKING:
    from ...replies import Reply

BLOCK_ROWS = 1000
TRANSCRIPT_DTYPES = ("str", "str", "category", "str", "category", "category", "datetime64[us, UTC]")
Rows = Sequence[Sequence[Any]]


def log(
    scope: str = "kernel",
    *,
    since: str | date | timedelta | None = None,
    model: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    search: str | None = None,
    tags: str | Mapping[str, Any] | Sequence[str] | None = None,
    text: bool = True,
    last: int | None = None,
) -> pd.DataFrame:
    """Return the log: one row per exchange, newest last, everything that matches.

    Args:
        scope: "kernel" (rows this process wrote), "notebook" (rows of this notebook, whichever
            kernel wrote them) or "all".
        since: "30m", "12h", "7d", "2w", an ISO date, a date, a datetime or a timedelta.
        model: a name, an alias or a pattern such as "qwen3*", or several; asked for or answered.
            In a pattern `*` is any text and `?` any character; everything else, brackets too, is
            itself.
        status: one or several of ok, truncated, interrupted, error, pending, lost.
        search: text to find in prompts, answers, reasoning, system prompts or errors; case is
            ignored.
        tags: a key that must be there, several keys, or a mapping that must match.
        text: False leaves out system, prompt, response and reasoning: quicker for many rows.
        last: the newest so many of the rows that match.

    Returns:
        A plain DataFrame. Times are UTC (`datetime64[us, UTC]`), durations `_ms`, token counts
        `Int64`; what nobody reported is NA, never 0. `tags` and `params` are JSON texts.

    Raises:
        ConfigError: a keyword makes no sense.

    >>> import helix_nb as hx
    >>> reply = hx.ask("What is the capital of France?", endpoint="demo")
    >>> frame = hx.log(status="ok", search="capital of france", last=1)
    >>> frame["prompt"].iloc[0], int(frame["total_tokens"].iloc[0]) == reply.usage.total_tokens
    ('What is the capital of France?', True)
    """
    if last is not None:
        if isinstance(last, bool) or not isinstance(last, Integral) or not 0 <= last < 2**63:
            raise ConfigError(f"last={last!r} is not a number of rows.")
        last = int(last)  # numpy's too
    condition = filter_of(scope, since=since, model=model, status=status, search=search, tags=tags)
    return frame_of(current_log(), condition, text=text, last=last)


def frame_of(log: Log, condition: Filter, *, text: bool = True, last: int | None = None) -> pd.DataFrame:
    """Return the rows of a log that meet a condition, newest last."""
    dtypes = {name: dtype for name, dtype in COLUMNS.items() if text or name not in TEXT_COLUMNS}

    def read_rows(connection: sqlite3.Connection) -> Rows:
        if last is None:
            ending = "ORDER BY e.started_at, e.number"
            return select_columns(connection, dtypes, condition, ending).fetchall()
        ending = f"ORDER BY e.started_at DESC, e.number DESC LIMIT {last}"
        return select_columns(connection, dtypes, condition, ending).fetchall()[::-1]

    parts = [part for part in log.read(read_rows) if part]
    rows = _merge_files(parts, last) if len(parts) > 1 else next(iter(parts), [])
    return build_frame(rows, dtypes)


def _merge_files(parts: list[Rows], last: int | None) -> Rows:
    """Return the rows of several files by time; where an id is in two, the first file's row counts."""
    by_id = {row[0]: row for part in reversed(parts) for row in part}
    started_at = list(COLUMNS).index("started_at")
    rows = sorted(by_id.values(), key=lambda row: row[started_at] or 0)
    return rows if last is None else rows[max(len(rows) - last, 0) :]


def columns_of(log: Log, condition: Filter, names: Sequence[str]) -> pd.DataFrame:
    """Return only these columns of the rows that meet a condition, in any order; quicker than all."""
    parts = log.read(lambda connection: select_columns(connection, names, condition).fetchall())
    return build_frame([row for part in parts for row in part], {name: COLUMNS[name] for name in names})


def build_frame(rows: Rows, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return a DataFrame of rows with exactly these columns and dtypes; times come as microseconds."""
    columns: list[list[Any]] = [[] for _ in dtypes]
    for start in range(0, len(rows), BLOCK_ROWS):  # a zip over all rows at once is several times slower
        for column, values in zip(columns, zip(*rows[start : start + BLOCK_ROWS], strict=True), strict=True):
            column.extend(values)
    arrays = {name: _build_column(values, dtypes[name]) for name, values in zip(dtypes, columns, strict=True)}
    return pd.DataFrame(arrays, copy=False)


def _build_column(values: list[Any], dtype: str) -> Any:
    if dtype.startswith("datetime64"):
        microseconds = pd.Series(pd.array(values, dtype="Int64"))
        return microseconds.astype("datetime64[us]").dt.tz_localize("UTC")
    if dtype == "category":
        return _build_categories(values)
    if dtype == "boolean":
        return pd.array([None if value is None else bool(value) for value in values], dtype="boolean")
    return pd.Series(values, dtype=dtype)


def _build_categories(values: list[Any]) -> pd.Categorical:
    """Return a Categorical with its categories sorted; two passes of a dict beat pandas' own hashing here."""
    categories = sorted({value for value in set(values) if value is not None})
    codes = {value: code for code, value in enumerate(categories)} | {None: -1}
    return pd.Categorical.from_codes(
        [codes[value] for value in values], categories=pd.Index(categories, dtype="str")
    )


def transcript(thread: str | Reply | HasThread) -> pd.DataFrame:
    """Return a conversation as one row per message, oldest first.

    Args:
        thread: a `thread_id` of the log, a Chat, a Reply, or the id of one exchange.

    Returns:
        A DataFrame with thread_id, exchange_id (str), role (category), content (str), status,
        model (category) and at (`datetime64[us, UTC]`: when it was sent, or when it ended).
        Parts that are not text appear as `[image]`. What the thread grew out of (a forked Chat)
        comes first, under its own thread_id. Unfinished exchanges are there, with their status.

    Raises:
        ConfigError: the log has no such thread.

    >>> import helix_nb as hx
    >>> chat = hx.Chat(endpoint="demo")
    >>> reply = chat.ask("What is the capital of France?")
    >>> hx.transcript(chat)[["role", "content"]].values.tolist()
    [['user', 'What is the capital of France?'], ['assistant', 'The capital of France is Paris.']]
    """
    name = getattr(thread, "thread_id", None) or getattr(thread, "exchange_id", None) or thread
    parts = current_log().read(lambda connection: transcript_rows(connection, str(name)))
    rows = max(parts, key=len, default=[])
    if not rows:
        raise ConfigError(f"The log has no thread {name!r}; `hx.log(scope='all').thread_id` lists them.")
    return build_frame(rows, dict(zip(TranscriptRow._fields, TRANSCRIPT_DTYPES, strict=True)))
