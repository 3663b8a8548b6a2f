"""The answers of a batch while it runs: a stretch of rows that is done is packed into one column.

A text of its own costs a row twice the memory, for as long as the batch runs and once more when the
column is made.
"""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

from .results import RowResult
from .rows.plan import NOT_ASKED, Plan

if TYPE_CHECKING:
    import pandas as pd

STRETCHES = 16
LEAST_ROWS = 1024


class TextColumn:
    """The texts of a plan's rows. Takes each one out of `outcomes` when its stretch is packed."""

    def __init__(self, plan: Plan, outcomes: list[RowResult | None]) -> None:
        self._plan, self._outcomes = plan, outcomes
        self._size = max(plan.rows // STRETCHES + 1, LEAST_ROWS)
        starts = range(0, plan.rows, self._size)
        slots = (plan.slot_of[start : start + self._size] for start in starts)
        self._left = array("q", [len(some) - some.count(NOT_ASKED) for some in slots])
        self._packed: dict[int, pd.Series] = {}

    def done(self, slot: int) -> None:
        """Note that a request has its outcome, once."""
        for position in self._plan.positions(slot):
            number = position // self._size
            self._left[number] -= 1
            if not self._left[number]:
                self._packed[number] = self._stretch(number)

    def column(self) -> pd.Series:
        """All of them, in the rows' order; NA where there is none."""
        import pandas as pd

        stretches = [self._packed.pop(number, None) for number in range(len(self._left))]
        made = [
            self._stretch(number) if stretch is None else stretch for number, stretch in enumerate(stretches)
        ]
        return pd.concat(made, ignore_index=True) if made else pd.Series([], dtype="str")

    def _stretch(self, number: int) -> pd.Series:
        slots = self._plan.slot_of[number * self._size : (number + 1) * self._size]
        texts = _column([self._text(slot) for slot in slots])
        for slot in slots:
            self._drop(slot)
        return texts

    def _text(self, slot: int) -> str | None:
        outcome = None if slot == NOT_ASKED else self._outcomes[slot]
        return None if outcome is None else outcome.text

    def _drop(self, slot: int) -> None:
        """Forget a text that no other row shares, and the id that is in the log by then."""
        outcome = None if slot == NOT_ASKED or slot in self._plan.shared else self._outcomes[slot]
        if outcome is not None:
            self._outcomes[slot] = replace(outcome, text=None, exchange_id=None)


def _column(texts: list[str | None]) -> pd.Series:
    """Texts as a pandas column that takes their bytes and no more: one built by Arrow takes twice that."""
    import numpy as np
    import pandas as pd

    dtype = pd.StringDtype(na_value=np.nan)
    if dtype.storage != "pyarrow":
        return pd.Series(texts, dtype="str")
    import pyarrow as pa

    pieces = [(text or "").encode() for text in texts]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    known = np.packbits(np.array([text is not None for text in texts], dtype=bool), bitorder="little")
    buffers = [pa.py_buffer(part) for part in (known, offsets, b"".join(pieces))]
    array = pa.Array.from_buffers(pa.large_string(), len(pieces), buffers)
    return pd.Series(pd.array(array, dtype=dtype))
