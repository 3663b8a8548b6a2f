"""A DataFrame or a Series as text for a model: shape, dtypes, first rows, statistics, within a budget."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...text import shorten
from .budget import MAX_KEY_LENGTH, count_tokens, cut, without_keys

if TYPE_CHECKING:
    import pandas as pd

MAX_DESCRIBED_ROWS = 1_000_000
MAX_VALUE_LENGTH = 80


def frame_text(frame: pd.DataFrame, budget: int) -> tuple[str, str]:
    """Return what a frame is, and the fullest description of it that fits the budget of tokens."""
    kind = f"DataFrame, {len(frame):,} × {frame.shape[1]:,}"
    widths = [frame.shape[1], *(count for count in (60, 25, 10, 4) if count < frame.shape[1])]
    columns = ""
    for width in widths:
        columns = _columns(frame, width)
        if count_tokens(columns) > budget:
            continue
        for text in _descriptions(frame.iloc[:, :width], columns):
            if count_tokens(text) <= budget:
                return kind, text
    return kind, cut(columns, budget)


def series_text(series: pd.Series[Any], budget: int) -> tuple[str, str]:
    """Return what a Series is, and its first values and statistics within the budget of tokens."""
    kind = f"Series, {len(series):,}"
    frame = series.to_frame(str(series.name) if series.name is not None else "value")
    _, text = frame_text(frame, budget)
    return kind, cut(text, budget)


def _columns(frame: pd.DataFrame, width: int) -> str:
    """Describe the shape, and of the first columns their names, dtypes and missing values."""
    some = frame.iloc[:, :width]
    missing = some.isna().sum()
    lines = [
        f"{len(frame):,} rows, {frame.shape[1]:,} columns; index: {frame.index.dtype}",
        "column,dtype,missing",
    ]
    lines += [f"{name},{some.dtypes.iloc[at]},{missing.iloc[at]}" for at, name in enumerate(some.columns)]
    if width < frame.shape[1]:
        lines.append(f"... and {frame.shape[1] - width:,} more columns")
    return "\n".join(lines)


def _descriptions(frame: pd.DataFrame, columns: str) -> Iterator[str]:
    """Yield descriptions, from the fullest to the barest."""
    statistics = _statistics(frame)
    for rows, described in ((10, True), (5, True), (2, False)):
        head = f"{columns}\n\nfirst {min(rows, len(frame))} rows:\n{_csv(frame.head(rows))}"
        yield f"{head}\n\nstatistics:\n{statistics}" if described and statistics else head
    yield columns


def _statistics(frame: pd.DataFrame) -> str:
    if not len(frame) or len(frame) > MAX_DESCRIBED_ROWS:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _csv(frame.describe(include="all"))
    except (TypeError, ValueError):  # columns of lists or of other things without an order
        return ""


def _csv(frame: pd.DataFrame) -> str:
    return str(frame.map(_short_value).to_csv(lineterminator="\n")).rstrip("\n")


def _short_value(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    return shorten(without_keys(str(value)[: MAX_VALUE_LENGTH + MAX_KEY_LENGTH]), MAX_VALUE_LENGTH)
