"""The answers of a batch while it runs: a stretch of rows that all have theirs is packed into one column.

A Python text of its own costs a row twice the memory, as long as the batch runs and once more when
the column is made.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from .results import BatchResults, RowResult
from .rows.plan import NOT_ASKED, Plan

if TYPE_CHECKING:
    import pandas as pd

STRETCHES = 16
LEAST_ROWS = 1024


class TextColumn:
    """The texts of a plan's rows, by position; takes those of a finished stretch out of `results`."""

    def __init__(self, plan: Plan, results: BatchResults) -> None:
        self._plan, self._results = plan, results
        self._size = max(plan.row_count // STRETCHES + 1, LEAST_ROWS)
        starts = range(0, plan.row_count, self._size)
        slots = (plan.slot_of[start : start + self._size] for start in starts)
        self._missing = array("q", [len(stretch) - stretch.count(NOT_ASKED) for stretch in slots])
        # stretch -> number of its rows without a result
        self._packed: dict[int, pd.Series] = {}

    def add(self, slot: int, _result: RowResult) -> None:
        """Note that a request has its result, once."""
        for position in self._plan.positions(slot):
            number = position // self._size
            self._missing[number] -= 1
            if not self._missing[number]:
                self._packed[number] = self._pack(number)

    def to_series(self) -> pd.Series:
        """Return all texts in the rows' order, NA where there is none; works once."""
        import pandas as pd

        numbers = range(len(self._missing))
        stretches = [
            self._packed.pop(number) if number in self._packed else self._pack(number) for number in numbers
        ]
        return pd.concat(stretches, ignore_index=True) if stretches else pd.Series([], dtype="str")

    def _pack(self, number: int) -> pd.Series:
        slots = self._plan.slot_of[number * self._size : (number + 1) * self._size]
        return _column([None if slot == NOT_ASKED else self._results.take_text(slot) for slot in slots])


def _column(texts: list[str | None]) -> pd.Series:
    """Return texts as a pandas column of no more than their bytes; built by Arrow it takes twice that."""
    import numpy as np
    import pandas as pd

    dtype = pd.StringDtype(na_value=np.nan)
    if dtype.storage != "pyarrow":
        return pd.Series(texts, dtype="str")
    import pyarrow as pa

    encoded = [(text or "").encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in encoded], out=offsets[1:])
    valid = np.packbits(np.array([text is not None for text in texts], dtype=bool), bitorder="little")
    buffers = [pa.py_buffer(part) for part in (valid, offsets, b"".join(encoded))]
    array = pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)
    return pd.Series(pd.array(array, dtype=dtype))
