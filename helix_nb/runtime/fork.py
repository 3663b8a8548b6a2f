"""Hooks for a fork: a forked child has none of its parent's threads, loops and sockets."""

from __future__ import annotations

import os
from collections.abc import Callable


def after_fork_in_child(
    callback: Callable[[], object],
    *,
    before: Callable[[], object] = lambda: None,
    in_parent: Callable[[], object] = lambda: None,
) -> None:
    """Have a callback run in each child that is forked from now on; never where the system has no fork.

    `before` and `in_parent` run in the process that forks, right before and after.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=callback)
