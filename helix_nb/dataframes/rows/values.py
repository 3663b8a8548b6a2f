"""A frame's rows as plain values, a chunk at a time: nothing is copied that is not asked for."""

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
_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode
ROW_ITSELF = "\0"  # the key under which a row holds itself, for callables


@dataclass(frozen=True)
class FrameRows:
    """Some columns of a frame, by the names that a template gives them.

    `whole` adds each row itself (a Series; the bare value where the frame is a `single` Series).
    """

    frame: pd.DataFrame
    labels: Mapping[str, Hashable]
    whole: bool = False
    single: bool = False

    def at(self, positions: Sequence[int] | range) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each position with its values by name, in the order given."""
        ordered = iter(positions)
        while chunk := list(islice(ordered, CHUNK_ROWS)):
            columns = {name: self.frame[label].iloc[chunk].tolist() for name, label in self.labels.items()}
            columns.setdefault(INDEX, self.frame.index[chunk].tolist())
            if self.whole:
                columns[ROW_ITSELF] = self._wholes(chunk)
            names = list(columns)
            for position, *values in zip(chunk, *columns.values(), strict=True):
                yield position, dict(zip(names, values, strict=True))

    def _wholes(self, chunk: list[int]) -> list[Any]:
        if self.single:
            return self.frame.iloc[chunk, 0].tolist()
        return [self.frame.iloc[position] for position in chunk]


def is_missing(value: Any) -> bool:
    """Whether a cell holds None, NaN, NaT or NA; a list or an array never counts as missing."""
    if isinstance(value, str | int):
        return False
    if isinstance(value, float):
        return value != value  # noqa: PLR0124 - NaN alone does not equal itself
    import pandas as pd

    return bool(pd.api.types.is_scalar(value)) and bool(pd.isna(value))


def row_key(label: Hashable) -> str:
    """An index label as JSON, the same from any kind of index: what the log keeps to find the row again."""
    kind = type(label)
    if kind is int:
        return str(label)
    key = _to_json(label if kind is str else _plain(label))
    return key if key.isascii() else key.encode("utf-8", "backslashreplace").decode()  # lone surrogates


def _plain(label: Any) -> Any:
    """Numbers and booleans as they are, missing as None, times in ISO form, else text."""
    if isinstance(label, tuple):
        return [_plain(one) for one in label]
    if type(label).__module__ == "numpy" and label.dtype.kind in "biuf":
        label = label.item()
    if type(label) is int:
        return label
    if is_missing(label):
        return None
    if isinstance(label, date | time):
        return label.isoformat()
    plain = isinstance(label, str | int) or (isinstance(label, float) and isfinite(label))
    return label if plain else str(label)
