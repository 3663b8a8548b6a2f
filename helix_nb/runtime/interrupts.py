"""Ctrl-C while this process waits for an answer, blocking or in `await`."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import show_as_stopped

_on_interrupt: dict[int, Callable[[], object]] = {}


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a blocking wait inside a running loop.

    The handlers of asyncio.run, and of ipykernel in a cell that awaits, only note the interrupt for
    their loop, which stands still meanwhile.
    """
    handler = signal.getsignal(signal.SIGINT)
    is_deferring = callable(handler) and handler is not signal.default_int_handler
    if not (is_deferring and _on_main_thread() and _in_a_loop()):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def call_on_interrupt(cancel: Callable[[], object]) -> Iterator[None]:
    """Have Ctrl-C call `cancel`, which must not block, too while the main thread is in here.

    asyncio.run and Jupyter's kernel cancel the coroutine that awaits. A loop under `run_until_complete`,
    such as IPython's in a terminal, is left by a KeyboardInterrupt while that coroutine learns
    nothing: the answer would go on, and cost money.
    """
    if not _on_main_thread():
        yield
        return
    _on_interrupt[id(cancel)] = cancel
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle_sigint)
    try:
        yield
    finally:
        _on_interrupt.pop(id(cancel), None)
        _restore_handler()


def _handle_sigint(signum: int, frame: FrameType | None) -> None:
    for cancel in tuple(_on_interrupt.values()):
        cancel()
    _on_interrupt.clear()
    _restore_handler()
    try:
        signal.default_int_handler(signum, frame)
    except KeyboardInterrupt as interrupt:
        show_as_stopped(interrupt)
        raise


def _restore_handler() -> None:
    if not _on_interrupt and signal.getsignal(signal.SIGINT) is _handle_sigint:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
