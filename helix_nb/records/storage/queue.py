"""What the writer has to do: jobs in order, taken in groups, and how those who wait are told."""

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

GROUP_JOBS = 100  # in one transaction: with more, those who wait for it wait longer than it saves
GROUP_S = 0.25


class Done(Protocol):
    """Who is told how a job ended: a future of threads or of a loop, or `Unwatched`."""

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, failure: BaseException, /) -> None: ...


class Unwatched:
    """Nobody waits: a result is dropped, a failure goes to `failed`."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed

    def set_result(self, result: Any, /) -> None:
        """Drop it."""

    def set_exception(self, failure: BaseException, /) -> None:
        self._failed(failure)


@dataclass(slots=True)
class Write:
    """Something to do with the open log; `urgent` when somebody waits for it."""

    run: Callable[[LogFile], Any]
    urgent: bool
    done: Done
    result: Any = None
    failure: BaseException | None = None

    def tell(self) -> None:
        """Say how it ended; who stopped waiting is not told."""
        if isinstance(self.done, asyncio.Future) and self.done.done():
            return
        if self.failure is None:
            self.done.set_result(self.result)
        else:
            self.done.set_exception(self.failure)


def waited(run: Callable[[LogFile], Any], *, urgent: bool) -> tuple[Write, Future[Any]]:
    """A job, and the future by which any thread waits for it."""
    done: Future[Any] = Future()
    done.set_running_or_notify_cancel()  # who waits may stop waiting; the row is written all the same
    return Write(run, urgent, done), done


def tell(jobs: Sequence[Write]) -> None:
    """Say how these jobs ended; a loop is woken once for all of its futures."""
    on_loops: dict[asyncio.AbstractEventLoop, list[Write]] = {}
    for job in jobs:
        if isinstance(job.done, asyncio.Future):
            on_loops.setdefault(job.done.get_loop(), []).append(job)
        else:
            job.tell()
    for loop, some in on_loops.items():
        with suppress(RuntimeError):  # a loop that is closed: nobody waits there
            loop.call_soon_threadsafe(_tell_each, some)


def _tell_each(jobs: Sequence[Write]) -> None:
    for job in jobs:
        job.tell()


class WriteQueue:
    """A queue whose taker is woken for an urgent job, or when a group is full, not for every job."""

    def __init__(self) -> None:
        self._waiting: deque[Write] = deque()
        self._lock = threading.Lock()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._pressing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, job: Write) -> None:
        """Append a job, from any thread."""
        with self._lock:
            self._waiting.append(job)
            presses = job.urgent or len(self._waiting) >= GROUP_JOBS
            if (presses and not self._pressing) or len(self._waiting) == 1:
                self._wakes.put(None)
            self._pressing = self._pressing or presses

    def group(self) -> list[Write]:
        """Wait for a job, then take what comes until one is urgent, 100 wait, or 250 ms are over."""
        self._wakes.get()
        deadline = time.monotonic() + GROUP_S
        while not self._pressing and (left_s := deadline - time.monotonic()) > 0:
            with suppress(Empty):
                self._wakes.get(timeout=left_s)
        return self._taken()

    def _taken(self) -> list[Write]:
        with self._lock:
            while not self._wakes.empty():
                self._wakes.get_nowait()
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_JOBS))]
            self._pressing = bool(self._waiting)
            if self._waiting:
                self._wakes.put(None)
        return taken
