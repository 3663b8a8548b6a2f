"""A frame's rows as plain values, a chunk at a time: only columns that are used are copied."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from .template import INDEX

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 512
ROW_ITSELF = "\0"  # the key under which a row holds itself, for callables
_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


@dataclass(frozen=True)
class FrameRows:
    """Some columns of a frame, by the names that a template gives them."""

    frame: pd.DataFrame
    labels: Mapping[str, Hashable]  # name in templates -> column label
    for_callables: bool = False  # adds each row itself, under ROW_ITSELF
    of_series: bool = False  # a row itself is then the bare value

    def at(self, positions: Sequence[int] | range) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each position with the row's values by name, in the order given."""
        remaining = iter(positions)
        while chunk := list(islice(remaining, CHUNK_ROWS)):
            columns = {name: self.frame[label].iloc[chunk].tolist() for name, label in self.labels.items()}
            columns.setdefault(INDEX, self.frame.index[chunk].tolist())
            if self.for_callables:
                columns[ROW_ITSELF] = self._rows_themselves(chunk)
            names = list(columns)
            for position, *values in zip(chunk, *columns.values(), strict=True):
                yield position, dict(zip(names, values, strict=True))

    def _rows_themselves(self, chunk: list[int]) -> list[Any]:
        if self.of_series:
            return self.frame.iloc[chunk, 0].tolist()
        return [self.frame.iloc[position] for position in chunk]


def is_missing(value: Any) -> bool:
    """Return whether a cell holds None, NaN, NaT or NA; a list or an array never counts as missing."""
    if isinstance(value, str | int):
        return False
    if isinstance(value, float):
        return value != value  # noqa: PLR0124 - NaN alone does not equal itself
    import pandas as pd

    return bool(pd.api.types.is_scalar(value)) and bool(pd.isna(value))


def row_key(label: Hashable) -> str:
    """Return an index label as JSON, alike for all kinds of index: the log finds the row again by it."""
    kind = type(label)
    if kind is int:
        return str(label)
    key = _to_json(label if kind is str else _json_label(label))
    return key if key.isascii() else key.encode("utf-8", "backslashreplace").decode()  # lone surrogates


def _json_label(label: Any) -> Any:
    """Return numbers and booleans as they are, missing as None, times in ISO form, else text."""
    if isinstance(label, tuple):
        return [_json_label(level) for level in label]
    if type(label).__module__ == "numpy" and label.dtype.kind in "biuf":
        label = label.item()
    if type(label) is int:
        return label
    if is_missing(label):
        return None
    if isinstance(label, date | time):
        return label.isoformat()
    fits_json = isinstance(label, str | int) or (isinstance(label, float) and isfinite(label))
    return label if fits_json else str(label)
