"""How much this process has asked so far, in one query and without pandas: for `%helix`."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ..storage.log import current_log
from .filters import FROM, UNKNOWN_USAGE, filter_of, prepare


@dataclass(frozen=True, slots=True)
class Totals:
    """Exchanges of this process; `tokens` sums the known ones (None: none is), `unknown` counts the rest."""

    exchanges: int = 0
    tokens: int | None = 0
    unknown: int = 0


def totals() -> Totals:
    """Sum up this process's exchanges; waits until what is queued has been written."""
    wanted = filter_of("kernel")
    sums = f"count(*), sum(e.total_tokens), coalesce(sum({UNKNOWN_USAGE}), 0)"
    query = f"SELECT {sums} {FROM} WHERE {wanted.where}"

    def summed(connection: sqlite3.Connection) -> tuple[int, int | None, int]:
        prepare(connection)
        found: tuple[int, int | None, int] = connection.execute(query, wanted.values).fetchone()
        return found

    parts = current_log().read(summed)
    known = [tokens for _, tokens, _ in parts if tokens is not None]
    exchanges, unknown = sum(part[0] for part in parts), sum(part[2] for part in parts)
    return Totals(exchanges, sum(known) if known or not unknown else None, unknown)
