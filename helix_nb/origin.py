"""Where an exchange comes from, as its row in the log says; none of it is sent.

A notebook says here which cell is running (`follow`). Importing this costs nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked, for the log; none of it is sent.

    `new_from` is the index of the first message that the chain of parents does not already hold
    (the system message never counts as held). `log=False` writes no row at all.
    """

    source: Literal["cell", "chat", "batch", "api"] = "api"
    thread_id: str | None = None
    parent_id: str | None = None
    new_from: int = 0
    batch_id: str | None = None
    row_key: str | None = None
    notebook: str | None = None
    cell_id: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    log: bool = True


_cell: Callable[[], Origin] | None = None


def current_origin() -> Origin:
    """Return what a new exchange's row says about where it comes from."""
    return Origin() if _cell is None else _cell()


def set_origin_source(cell: Callable[[], Origin] | None) -> None:
    """Have a notebook say which cell is running; None when it no longer does."""
    global _cell
    _cell = cell


def new_id() -> str:
    """Return a new time-sorted id: 48 bits of milliseconds, then 80 random bits, in hex.

    The random bits are the system's, so that no seed and no fork makes two ids alike.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
