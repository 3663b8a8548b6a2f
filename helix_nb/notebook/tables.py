"""A DataFrame or a Series as text for a model: shape, dtypes, first rows, statistics, within a budget."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MOST_DESCRIBED_ROWS = 1_000_000
LONGEST_VALUE = 80


def frame_text(frame: pd.DataFrame, budget: int) -> tuple[str, str]:
    """What it is, and the fullest description that fits the budget of tokens."""
    from .context import cut, tokens_of

    kind = f"DataFrame, {len(frame):,} × {frame.shape[1]:,}"
    text = ""
    for columns, rows, described in _plans(frame.shape[1]):
        text = _frame(frame, columns, rows, described=described)
        if tokens_of(text) <= budget:
            return kind, text
    return kind, cut(text, budget)


def series_text(series: pd.Series[Any], budget: int) -> tuple[str, str]:
    """What it is, its first values and its statistics, within the budget of tokens."""
    from .context import cut

    kind = f"Series, {len(series):,}"
    frame = series.to_frame(str(series.name) if series.name is not None else "value")
    return kind, cut(_frame(frame, 1, 20, described=True), budget)


def _plans(width: int) -> Iterator[tuple[int, int, bool]]:
    """From the fullest description to the barest: columns, rows, whether with statistics."""
    for columns in [width, *(count for count in (60, 25, 10, 4) if count < width)]:
        for rows, described in ((10, True), (5, True), (5, False), (2, False), (0, False)):
            yield columns, rows, described


def _frame(frame: pd.DataFrame, columns: int, rows: int, *, described: bool) -> str:
    some = frame.iloc[:, :columns]
    missing = some.isna().sum()
    lines = [
        f"{len(frame):,} rows, {frame.shape[1]:,} columns; index: {frame.index.dtype}",
        "column,dtype,missing",
    ]
    lines += [f"{name},{some.dtypes.iloc[at]},{missing.iloc[at]}" for at, name in enumerate(some.columns)]
    if columns < frame.shape[1]:
        lines.append(f"... and {frame.shape[1] - columns:,} more columns")
    if rows and len(frame):
        lines += ["", f"first {min(rows, len(frame))} rows:", _csv(some.head(rows))]
    if described and (statistics := _statistics(some)):
        lines += ["", "statistics:", statistics]
    return "\n".join(lines)


def _statistics(frame: pd.DataFrame) -> str:
    if not len(frame) or len(frame) > MOST_DESCRIBED_ROWS:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _csv(frame.describe(include="all"))
    except (TypeError, ValueError):  # columns of lists or of other things without an order
        return ""


def _csv(frame: pd.DataFrame) -> str:
    shown = frame.map(_short)
    return str(shown.to_csv(lineterminator="\n")).rstrip("\n")


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    said = str(value)
    return said if len(said) <= LONGEST_VALUE else said[: LONGEST_VALUE - 3] + "..."
