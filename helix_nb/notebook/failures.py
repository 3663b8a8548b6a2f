"""Errors of a magic as one red line; the run still fails, and Run All stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..errors import HelixError

RED, PLAIN = "\x1b[31m", "\x1b[0m"


@contextmanager
def one_line() -> Iterator[None]:
    """Let a HelixError or an interrupt leave a magic as one red line instead of a traceback.

    Anything else keeps its traceback: it is a bug, or comes from the user's own code.
    """
    try:
        yield
    except HelixError as error:
        _render(error, f"{type(error).__name__}: {error}")
        raise
    except KeyboardInterrupt as stopped:
        _render(stopped, "KeyboardInterrupt: stopped; what had arrived is kept.")
        raise


def _render(error: BaseException, line: str) -> None:
    """Give this one exception IPython's own hook for tracebacks."""
    error.__traceback__ = None
    error.__suppress_context__ = True
    error._render_traceback_: Callable[[], list[str]] = partial(_lines, " ".join(line.split()))  # type: ignore[misc, attr-defined]


def _lines(line: str) -> list[str]:
    return [f"{RED}{line}{PLAIN}"]
