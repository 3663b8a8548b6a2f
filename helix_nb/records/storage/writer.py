"""One thread that writes: jobs in order, grouped into transactions, never an exception outside.

A `pending` row is waited for; the rest is written within 250 ms or 100 jobs. When the file cannot
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
from .log_file import LogFile, LogProblem, explained, open_memory, open_store
from .queue import Unwatched, Write, WriteQueue, tell, waited

FORK_WAIT_S = 5.0
# What is wrong with one job alone: the file takes the next one.
_NOT_THE_FILE = (sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.IntegrityError)
T = TypeVar("T")


class Writer:
    """The only writer of this process's log. Use `do` from any thread."""

    def __init__(self, place: LogLocation) -> None:
        self.place = place
        self.problem: str | None = None
        self._inherited: list[LogFile] = []
        self._store: LogFile | None = None
        self._abandoned: LogFile | None = None
        self._exiting = False
        self._fresh()
        _writers.add(self)
        atexit.register(_leave, weakref.ref(self))

    def _fresh(self) -> None:
        self._jobs = WriteQueue()
        self._busy = threading.RLock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False

    def do(self, run: Callable[[LogFile], T], *, urgent: bool = True) -> Future[T]:
        """Queue a job; its future resolves once its transaction is in the file."""
        job, done = waited(run, urgent=urgent)
        self._queue(job)
        return done

    async def written(self, run: Callable[[LogFile], T]) -> T:
        """Return once a job's transaction is in the file; cheaper on a loop than `do`."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue(Write(run, True, done))
        return await done

    def note(self, run: Callable[[LogFile], object], failed: Callable[[BaseException], None]) -> None:
        """Queue a job that nobody waits for; it is told only of a failure."""
        self._queue(Write(run, False, Unwatched(failed)))

    def _queue(self, job: Write) -> None:
        if self._exiting:
            self._write([job])
            return
        with self._starting:
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="helix_nb log", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            self._write(self._jobs.group())
            with self._starting:
                if self._closing and not self._jobs:
                    self._thread, self._closing = None, False
                    return

    def _write(self, group: list[Write]) -> None:
        writing = [job for job in group if job.run is not nothing]
        with self._busy:
            try:
                if writing:
                    _transaction(self._opened(), writing)
            except Exception:  # noqa: BLE001 - whatever it was, each job gets its own try
                for job in writing:
                    self._write_alone(job)
        tell(group)

    def _write_alone(self, job: Write) -> None:
        """Write one job; if the file refuses, carry on in memory."""
        try:
            _transaction(self._opened(), [job])
        except sqlite3.DatabaseError as failure:
            if self._store is None or self._store.path is None or isinstance(failure, _NOT_THE_FILE):
                job.failure = failure
                return
            self._go_on_in_memory(explained(self._store.path, failure))
            self._write_alone(job)
        except Exception as failure:  # noqa: BLE001 - the one who waits decides
            job.failure = failure

    def _opened(self) -> LogFile:
        if self._store is not None and self._store.moved:
            moved, self._store = self._store, None
            moved.leave()
            warn(f"{moved.path} was deleted or moved: from now on exchanges go into a new file there.")
        if self._store is None:
            try:
                self._store = open_store(self.place)
            except LogProblem as problem:
                self._go_on_in_memory(str(problem))
        assert self._store is not None
        return self._store

    def _go_on_in_memory(self, problem: str) -> None:
        self._abandoned, self._store = self._store, open_memory()
        self.problem = problem
        warn(f"{problem} Until this kernel restarts, its exchanges are kept in memory only.")

    @property
    def store(self) -> LogFile:
        """The open log (opens it)."""
        with self._busy:
            return self._opened()

    @property
    def abandoned(self) -> LogFile | None:
        """The file that was written until it failed, if there was one."""
        return self._abandoned

    @contextmanager
    def at_rest(self) -> Iterator[LogFile]:
        """The open log, with nothing being written to it meanwhile."""
        with self._busy:
            yield self._opened()

    def flush(self) -> None:
        """Return when everything queued so far is written."""
        self.do(nothing).result()

    def close(self) -> None:
        """Write what is queued, close the file and end the thread; the next job opens it again."""
        if self._store is None or self._store.path is None:
            self.flush()  # what is only in memory stays
            return
        self._closing = True
        self.flush()
        with self._busy:
            store, self._store = self._store, None
            if store is not None:
                store.connection.close()

    def leave(self) -> None:
        """Write what is queued; from now on jobs run where they are asked for."""
        self._exiting = True
        if self._thread is not None and self._thread.is_alive():
            last, done = waited(nothing, urgent=True)
            self._jobs.put(last)
            done.result(timeout=5)
        if self._store is not None:
            self._store.connection.execute("PRAGMA busy_timeout = 1000")

    def before_fork(self) -> None:
        self._busy.acquire(timeout=FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        self._busy.release()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connection alone (closing it would touch the file) and open another."""
        if self._store is not None:
            self._inherited.append(self._store)
            self._store = None
        self._fresh()


def nothing(_store: LogFile) -> None:
    """The job of who only waits for those before it; for its sake no file is opened, or made anew."""


def _transaction(store: LogFile, jobs: list[Write]) -> None:
    connection = store.connection
    connection.execute("BEGIN IMMEDIATE")
    try:
        for job in jobs:
            job.result = job.run(store)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _leave(reference: weakref.ref[Writer]) -> None:
    writer = reference()
    if writer is not None:
        try:
            writer.leave()
        except Exception:  # noqa: BLE001, S110 - nothing may keep the interpreter from leaving
            pass


def _each(name: str) -> Callable[[], None]:
    def call() -> None:
        for writer in list(_writers):
            getattr(writer, name)()

    return call


after_fork_in_child(
    _each("after_fork_in_child"), before=_each("before_fork"), in_parent=_each("after_fork_in_parent")
)
