"""Where an exchange comes from, as its row in the log says; none of it is sent.

A notebook says here which cell is running (`set_origin_source`). Importing this file costs nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one exchange comes from, for its row in the log."""

    source: Literal["cell", "chat", "batch", "api"] = "api"
    thread_id: str | None = None  # of the conversation
    parent_id: str | None = None  # the exchange that holds the messages before this one's own
    # The first message that the chain of parents does not hold; the system message never counts as held.
    new_from: int = 0
    batch_id: str | None = None
    row_key: str | None = None  # the index label of a batch's row, as JSON
    notebook: str | None = None  # its path
    cell_id: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    log: bool = True  # False: no row is written at all


_source: Callable[[], Origin] | None = None


def current_origin() -> Origin:
    """Return the Origin of an exchange that begins now."""
    return Origin() if _source is None else _source()


def set_origin_source(source: Callable[[], Origin] | None) -> None:
    """Set the function that `current_origin` asks, as a notebook does; None unsets it."""
    global _source
    _source = source


def new_id() -> str:
    """Return a new time-sorted id: 48 bits of milliseconds, then 80 random bits, in hex.

    The random bits are the system's, because a seed or a fork would make two ids alike.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
