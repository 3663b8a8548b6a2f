"""The sums of this process so far, in one query and without pandas: for `%helix`."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ..storage.log import current_log
from .filters import filter_of
from .query import UNKNOWN_USAGE, select


@dataclass(frozen=True, slots=True)
class Totals:
    """The exchanges of this process, summed up."""

    exchanges: int = 0
    tokens: int | None = 0  # the sum of the known counts; None: no count is known
    unknown: int = 0  # exchanges without complete token counts


def totals() -> Totals:
    """Sum up this process's exchanges; waits until what is queued has been written."""

    def sum_up(connection: sqlite3.Connection) -> tuple[int, int | None, int]:
        sums = f"count(*), sum(e.total_tokens), coalesce(sum({UNKNOWN_USAGE}), 0)"
        row: tuple[int, int | None, int] = select(connection, sums, filter_of("kernel")).fetchone()
        return row

    parts = current_log().read(sum_up)
    exchanges, unknown = sum(part[0] for part in parts), sum(part[2] for part in parts)
    known = [tokens for _, tokens, _ in parts if tokens is not None]
    return Totals(exchanges, sum(known) if known or not unknown else None, unknown)
