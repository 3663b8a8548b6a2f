"""Ctrl-C while an answer is awaited.

`asyncio.run` and Jupyter's kernel cancel the coroutine that waits. A loop that is just run, as IPython
runs its own in a terminal, is left by a KeyboardInterrupt without a word to that coroutine: the answer
would go on, and be paid.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import stopped

_awaited: dict[int, Callable[[], object]] = {}


@contextmanager
def stopping(cancel: Callable[[], object]) -> Iterator[None]:
    """Have Ctrl-C call this too, while the main thread is in here; it must not block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _awaited[id(cancel)] = cancel
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_sigint)
    try:
        yield
    finally:
        _awaited.pop(id(cancel), None)
        _let_go()


def _on_sigint(signum: int, frame: FrameType | None) -> None:
    for cancel in tuple(_awaited.values()):
        cancel()
    _awaited.clear()
    _let_go()
    try:
        signal.default_int_handler(signum, frame)
    except KeyboardInterrupt as interrupt:
        stopped(interrupt)
        raise


def _let_go() -> None:
    if not _awaited and signal.getsignal(signal.SIGINT) is _on_sigint:
        signal.signal(signal.SIGINT, signal.default_int_handler)
