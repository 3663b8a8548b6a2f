"""The one thread that writes the log: writes in order, grouped into transactions.

A `pending` row is waited for; the rest is written within 250 ms or 100 writes. When the file cannot
be written any more, one warning says so and the log goes on in memory: an answer is never lost
because its row could not be kept.
"""

from __future__ import annotations

import asyncio
import atexit
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from ...errors import warn
from ...runtime.fork import after_fork_in_child
from .location import LogLocation
from .log_file import LogFile, LogProblem, describe_failure, open_in_memory, open_log, transaction
from .queue import FailureCallback, Write, WriteQueue, settle, write_and_future

FORK_WAIT_S = 5.0
EXIT_WAIT_S = 5.0
# These are failures of one write alone: the file takes the next write.
_NOT_THE_FILE = (sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.IntegrityError)
T = TypeVar("T")


class Writer:
    """The only writer of this process's log. Any thread may use it."""

    def __init__(self, location: LogLocation) -> None:
        self.location = location
        self.problem: str | None = None  # why the log is in memory although a file was named
        self.failed_file: LogFile | None = None  # what was written until it could not be any more
        self._file: LogFile | None = None
        self._inherited: list[LogFile] = []  # of the parent of this fork: closing them would touch the file
        self._exiting = False
        self._start_anew()
        _writers.add(self)
        atexit.register(_write_at_exit, weakref.ref(self))

    def _start_anew(self) -> None:
        """Begin without a thread, as a fork does."""
        self._queue = WriteQueue()
        self._writing = threading.RLock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False

    def submit(self, run: Callable[[LogFile], T], *, urgent: bool = True) -> Future[T]:
        """Queue a write; its future has the result once the transaction is in the file."""
        write, future = write_and_future(run, urgent=urgent)
        self._put(write)
        return future

    async def write(self, run: Callable[[LogFile], T]) -> T:
        """Return the result of a write once it is in the file; on a loop cheaper than `submit`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(Write(run, True, future))
        return await future

    def post(self, run: Callable[[LogFile], object], on_failure: Callable[[BaseException], None]) -> None:
        """Queue a write without waiting for it."""
        self._put(Write(run, False, FailureCallback(on_failure)))

    def _put(self, write: Write) -> None:
        if self._exiting:
            self._write_group([write])
            return
        with self._starting:
            self._queue.put(write)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="helix_nb log", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            self._write_group(self._queue.take_group())
            with self._starting:
                if self._closing and not self._queue:
                    self._thread, self._closing = None, False
                    return

    def _write_group(self, group: list[Write]) -> None:
        writes = [write for write in group if write.run is not no_op]
        with self._writing:
            try:
                if writes:
                    self._write_together(writes)
            except Exception:  # noqa: BLE001 - whatever it was, each write gets its own try
                for write in writes:
                    self._write_alone(write)
        settle(group)

    def _write_together(self, writes: list[Write]) -> None:
        file = self._open_file()
        with transaction(file.connection):
            for write in writes:
                write.result = write.run(file)

    def _write_alone(self, write: Write) -> None:
        """Do one write; if the file refuses it, go on in memory."""
        try:
            self._write_together([write])
        except sqlite3.DatabaseError as failure:
            if self._file is None or self._file.path is None or isinstance(failure, _NOT_THE_FILE):
                write.failure = failure
                return
            self._go_on_in_memory(describe_failure(self._file.path, failure))
            self._write_alone(write)
        except Exception as failure:  # noqa: BLE001 - whoever waits for the write gets it
            write.failure = failure

    def _open_file(self) -> LogFile:
        """Return the open log: opened at its first use, and again where its file was moved away."""
        if self._file is not None and self._file.moved:
            moved, self._file = self._file, None
            moved.close_moved()
            warn(f"{moved.path} was deleted or moved: from now on exchanges go into a new file there.")
        if self._file is None:
            try:
                self._file = open_log(self.location)
            except LogProblem as problem:
                return self._go_on_in_memory(str(problem))
        return self._file

    def _go_on_in_memory(self, problem: str) -> LogFile:
        self.failed_file, self._file = self._file, open_in_memory()
        self.problem = problem
        warn(f"{problem} Until this kernel restarts, its exchanges are kept in memory only.")
        return self._file

    @property
    def file(self) -> LogFile:
        """The open log (opens it)."""
        with self._writing:
            return self._open_file()

    @contextmanager
    def exclusive(self) -> Iterator[LogFile]:
        """Hold the open log, with nothing being written to it meanwhile."""
        with self._writing:
            yield self._open_file()

    def flush(self) -> None:
        """Return when everything queued so far is written."""
        self.submit(no_op).result()

    def close(self) -> None:
        """Write what is queued, close the file and end the thread; the next write opens it again."""
        if self._file is None or self._file.path is None:
            self.flush()  # what is only in memory stays
            return
        self._closing = True
        self.flush()
        with self._writing:
            file, self._file = self._file, None
            if file is not None:
                file.connection.close()

    def write_at_exit(self) -> None:
        """Write what is queued; from now on a write runs in the thread that asks for it."""
        self._exiting = True
        if self._thread is not None and self._thread.is_alive():
            last, future = write_and_future(no_op, urgent=True)
            self._queue.put(last)
            future.result(timeout=EXIT_WAIT_S)
        if self._file is not None:
            self._file.connection.execute("PRAGMA busy_timeout = 1000")

    def before_fork(self) -> None:
        self._writing.acquire(timeout=FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        self._writing.release()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connection alone and open another."""
        if self._file is not None:
            self._inherited.append(self._file)
            self._file = None
        self._start_anew()


def no_op(_file: LogFile) -> None:
    """Do nothing, after all writes before it: no file is opened, or made anew, for its sake."""


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _write_at_exit(reference: weakref.ref[Writer]) -> None:
    writer = reference()
    if writer is not None:
        try:
            writer.write_at_exit()
        except Exception:  # noqa: BLE001, S110 - nothing may keep the interpreter from leaving
            pass


def _for_each_writer(method: Callable[[Writer], None]) -> Callable[[], None]:
    def call() -> None:
        for writer in list(_writers):
            method(writer)

    return call


after_fork_in_child(
    _for_each_writer(Writer.after_fork_in_child),
    before=_for_each_writer(Writer.before_fork),
    in_parent=_for_each_writer(Writer.after_fork_in_parent),
)
