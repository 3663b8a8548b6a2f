"""Tells whether a person watches the output of this process."""

from __future__ import annotations

import sys
from typing import Any


def front_end_listens(kernel: Any) -> bool:
    """Return whether the client of the running cell takes input, as people's front ends do.

    nbclient, nbval and papermill take none. Where `_allow_stdin`, which is private to ipykernel, is
    gone, a person is assumed to listen.
    """
    return bool(getattr(kernel, "_allow_stdin", True))


def somebody_watches() -> bool:
    """Return whether a person sees output move: a front end that takes input, or a terminal."""
    if (kernel := running_kernel()) is not None:
        return front_end_listens(kernel)
    return bool(sys.stderr is not None and sys.stderr.isatty())


def running_kernel() -> Any:
    """Return the Jupyter kernel that this process is, or None, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)
