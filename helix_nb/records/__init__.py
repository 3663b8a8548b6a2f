"""The log: one row per exchange in a SQLite file that several kernels share.

Nothing here is imported until an exchange is made or the log is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .replay import replaying
    from .store import Log, current_log

__all__ = ["Log", "current_log", "replaying"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import replay, store

        return getattr(replay if name == "replaying" else store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
