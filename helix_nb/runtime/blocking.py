"""Calls that block: those that Ctrl-C must end although a loop runs here, and those no exit waits for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a blocking wait inside a running loop.

    asyncio.run, and ipykernel in a cell that awaits, only note it for their loop, which stands still.
    """
    handler = signal.getsignal(signal.SIGINT)
    noted = callable(handler) and handler is not signal.default_int_handler
    if not noted or threading.current_thread() is not threading.main_thread() or not _in_a_loop():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class DaemonThreadExecutor(concurrent.futures.ThreadPoolExecutor):
    """Runs each blocking call of the loop on a daemon thread: looking up a host may hang half a minute.

    An executor's own threads are waited for at exit.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future = concurrent.futures.Future[T]()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - it is the caller's
                    future.set_exception(error)

        threading.Thread(target=work, name="helix_nb call", daemon=True).start()
        return future
