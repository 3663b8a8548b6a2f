"""Errors of a magic as one red line; the run still fails, and Run All stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import HelixError, show_as_one_line, show_as_stopped


@contextmanager
def one_line() -> Iterator[None]:
    """Let a HelixError or an interrupt leave a magic as one red line instead of a traceback.

    Anything else keeps its traceback: it is a bug, or comes from the user's own code.
    """
    try:
        yield
    except HelixError as error:
        show_as_one_line(error, str(error))
        error.__traceback__ = None
        error.__suppress_context__ = True
        raise
    except KeyboardInterrupt as interrupt:
        show_as_stopped(interrupt)
        raise
