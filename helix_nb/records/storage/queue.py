"""What the writer has to do: writes in order, taken in groups, each with a promise of its result."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from .log_file import LogFile

GROUP_SIZE = 100  # writes in a transaction: with more, those who wait for it wait longer than it saves
GROUP_S = 0.25


class Promise(Protocol):
    """Where the result of a write goes: a Future of threads or of a loop, or a `FailureCallback`."""

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, failure: BaseException, /) -> None: ...


class FailureCallback:
    """The promise of a write without a waiter: a result is dropped, a failure goes to a function."""

    def __init__(self, callback: Callable[[BaseException], None]) -> None:
        self._callback = callback

    def set_result(self, result: Any, /) -> None:
        """Drop the result."""

    def set_exception(self, failure: BaseException, /) -> None:
        self._callback(failure)


@dataclass(slots=True)
class Write:
    """Something to do with the open log."""

    run: Callable[[LogFile], Any]
    urgent: bool  # a thread or a loop waits for its result
    promise: Promise
    result: Any = None
    failure: BaseException | None = None

    def settle(self) -> None:
        """Give the result or the failure to the promise, unless its waiter has left."""
        if isinstance(self.promise, asyncio.Future) and self.promise.done():
            return
        if self.failure is None:
            self.promise.set_result(self.result)
        else:
            self.promise.set_exception(self.failure)


def write_and_future(run: Callable[[LogFile], Any], *, urgent: bool) -> tuple[Write, Future[Any]]:
    """Return a write, and the future by which any thread waits for it."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()  # no longer cancellable: the row is written all the same
    return Write(run, urgent, future), future


def settle(writes: Sequence[Write]) -> None:
    """Settle writes from the writer's thread; a loop is woken once for all of its futures."""
    on_loops: dict[asyncio.AbstractEventLoop, list[Write]] = {}
    for write in writes:
        if isinstance(write.promise, asyncio.Future):
            on_loops.setdefault(write.promise.get_loop(), []).append(write)
        else:
            write.settle()
    for loop, its_writes in on_loops.items():
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle_each, its_writes)


def _settle_each(writes: Sequence[Write]) -> None:
    for write in writes:
        write.settle()


class WriteQueue:
    """A queue whose reader is woken for an urgent write, or when a group is full, not for every write."""

    def __init__(self) -> None:
        self._waiting: deque[Write] = deque()
        self._lock = threading.Lock()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._urgent = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, write: Write) -> None:
        """Append a write, from any thread."""
        with self._lock:
            self._waiting.append(write)
            urgent = write.urgent or len(self._waiting) >= GROUP_SIZE
            if (urgent and not self._urgent) or len(self._waiting) == 1:
                self._wakes.put(None)
            self._urgent = self._urgent or urgent

    def take_group(self) -> list[Write]:
        """Wait for a write, then take what comes until one is urgent, 100 wait, or 250 ms are over."""
        self._wakes.get()
        deadline = time.monotonic() + GROUP_S
        while not self._urgent and (left_s := deadline - time.monotonic()) > 0:
            with suppress(Empty):
                self._wakes.get(timeout=left_s)
        return self._take()

    def _take(self) -> list[Write]:
        with self._lock:
            while not self._wakes.empty():
                self._wakes.get_nowait()
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_SIZE))]
            self._urgent = bool(self._waiting)
            if self._waiting:
                self._wakes.put(None)
        return group
