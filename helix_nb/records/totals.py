"""How much this process has asked so far, in one query and without pandas: for `%helix`."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from .filters import FROM, filter_of, prepare
from .store import current_log


@dataclass(frozen=True, slots=True)
class Totals:
    """Exchanges of this process; `tokens` sums those whose usage is known, `unknown` counts the rest."""

    exchanges: int = 0
    tokens: int = 0
    unknown: int = 0


def totals() -> Totals:
    """Sum up this process's exchanges; waits until what is queued has been written."""
    wanted = filter_of("kernel")
    sums = "count(*), coalesce(sum(e.total_tokens), 0), count(*) - count(e.total_tokens)"
    query = f"SELECT {sums} {FROM} WHERE {wanted.where}"

    def summed(connection: sqlite3.Connection) -> tuple[int, int, int]:
        prepare(connection)
        found: tuple[int, int, int] = connection.execute(query, wanted.values).fetchone()
        return found

    parts = current_log().read(summed)
    return Totals(*(sum(column) for column in zip(*parts, strict=True))) if parts else Totals()
