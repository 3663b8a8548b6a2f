"""The log of this process: exchanges go in as they happen, and readers get their own connection."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from ...errors import HelixError, warn
from ...messages import Request
from ...replies import Reply
from ...runtime.fork import after_fork_in_child
from . import batches, rows
from .content import content_policy
from .location import LogLocation, is_per_kernel, log_location, per_kernel_files
from .log_file import LogFile, describe_failure, open_reader
from .writer import Writer, no_op

T = TypeVar("T")
Identify = Callable[[bytes], str]  # the endpoint's part of a request's identity, from the log's salt
Query = Callable[[sqlite3.Connection], T]


class Log:
    """A log, opened at its first use. Nothing that goes into it ever raises.

    What of prompts and answers is stored is `content_policy()`'s to say.
    """

    def __init__(self, location: LogLocation) -> None:
        self.location = location
        self._writer = Writer(location) if location.enabled else None
        self._running: dict[str, tuple[Request, Identify]] = {}  # exchanges that began here, by id
        self._paused = 0
        self._salt = secrets.token_bytes(32)  # of a log that is off

    @property
    def enabled(self) -> bool:
        """Whether exchanges are written at all now."""
        return self._writer is not None and not self._paused

    @property
    def path(self) -> Path | None:
        """The file that is written, or None: in memory, or off."""
        return self._writer.file.path if self._writer else None

    @property
    def problem(self) -> str | None:
        """Why the log is in memory although a file was named; None when all is well."""
        return self._writer.problem if self._writer else None

    @property
    def salt(self) -> bytes:
        """The log's own random bytes, stored in it: what identities of keys are salted with."""
        return self._writer.file.salt if self._writer else self._salt

    async def begin(self, request: Request, reply: Reply, identify: Identify) -> None:
        """Write the `pending` row; it is in the file when this returns."""
        if self._writer is None or self._paused or not request.origin.log or reply.exchange_id is None:
            return
        self._running[reply.exchange_id] = (request, identify)
        policy = content_policy()
        try:
            await self._writer.write(lambda file: rows.insert(file, request, reply, policy))
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as failure:
            _warn_not_written(failure)

    def update(self, reply: Reply) -> None:
        """Bring the row of a running exchange up to date (the partial text); returns at once."""
        if reply.exchange_id in self._running:
            self._update(*self._running[reply.exchange_id], reply)

    def finish(self, request: Request, reply: Reply) -> None:
        """Write the final row; returns at once. What `begin` did not record is not recorded here."""
        if reply.exchange_id in self._running:
            _, identify = self._running.pop(reply.exchange_id)
            self._update(request, identify, reply)

    def _update(self, request: Request, identify: Identify, reply: Reply) -> None:
        assert self._writer is not None
        policy = content_policy()
        self._writer.post(
            lambda file: rows.update(file, request, reply, identify(file.salt), policy),
            _warn_not_written,
        )

    async def aflush(self) -> None:
        """Return when everything queued so far is in the file."""
        if self._writer is not None:
            await self._writer.write(no_op)

    def flush(self) -> None:
        """Block until everything queued so far is in the file."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the file; the next use opens it again."""
        if self._writer is not None:
            self._writer.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Write nothing about exchanges that begin inside this block."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def write(self, change: Query[T]) -> T | None:
        """Make a change in one transaction and return its result (None when the log is off)."""
        if self._writer is None:
            return None
        return self._writer.submit(lambda file: change(file.connection)).result()

    def outside_transaction(self, change: Query[None]) -> None:
        """Make a change on the writer's connection that no transaction may surround."""
        if self._writer is not None:
            with self._writer.exclusive() as file:
                change(file.connection)

    def read(self, query: Query[T]) -> list[T]:
        """Flush, then run a query over each file that holds rows of this log, this process's own first.

        Raises:
            HelixError: this process's own file cannot be read (any more).
        """
        if self._writer is None:
            return []
        self.flush()
        results = [_read_own(self._writer, query)]
        for path in self.other_files():
            try:
                results.append(_read_file(path, query))
            except sqlite3.Error as failure:
                if path != self.location.path:  # what is wrong with that one was said already
                    warn(f"{path} could not be read ({failure}); its exchanges are left out.")
        return results

    def other_files(self) -> list[Path]:
        """Return the files beside this process's own that hold rows of this log."""
        if self._writer is None:
            return []
        own, failed, shared = self._writer.file.path, self._writer.failed_file, self.location.path
        paths = [] if failed is None or failed.path is None else [failed.path]
        if shared is not None:
            if own is None or is_per_kernel(own):
                paths.append(shared)
            paths += per_kernel_files(shared)
        return [path for path in dict.fromkeys(paths) if path != own and os.path.isfile(path)]  # noqa: PTH113 - never raises

    def link(self, batch_id: str, links: Sequence[batches.Link]) -> None:
        """Say which exchange answers which row of a batch; returns at once."""
        if self._writer is not None and links:
            copy = list(links)
            self._writer.post(lambda file: batches.link(file.connection, batch_id, copy), _warn_not_written)

    def answer_ids(self, batch_id: str, identities: Collection[str]) -> dict[str, list[str]]:
        """Return, by identity, the ids of what a batch has answered `ok` (with its text), the best last."""
        return _first_of_each(
            self.read(lambda connection: batches.answer_ids(connection, batch_id, identities))
        )

    def replies(self, exchange_ids: Collection[str]) -> dict[str, Reply]:
        """Return the recorded Replies by exchange id, those that the log has; `parsed` is None."""
        return _first_of_each(self.read(lambda connection: batches.replies(connection, exchange_ids)))

    def claim(self, batch_id: str, identities: Collection[str]) -> set[str]:
        """Claim requests of a batch for this process; return those that no living process had claimed."""
        if self._writer is None:
            return set(identities)
        return self._writer.submit(lambda file: batches.claim(file, batch_id, identities)).result()

    def release(self, batch_id: str, identities: Collection[str] | None = None) -> None:
        """Give back what this process has claimed of a batch (None: all of it); returns at once."""
        if self._writer is not None:
            self._writer.submit(lambda file: batches.release(file, batch_id, identities), urgent=False)

    def after_fork_in_child(self) -> None:
        """Leave the exchanges under way to the parent, which finishes their rows."""
        self._running.clear()


def _warn_not_written(failure: BaseException) -> None:
    warn(f"An exchange could not be written to the log ({type(failure).__name__}: {failure}).")


def _read_own(writer: Writer, query: Query[T]) -> T:
    """Query the file that a writer has open: over its own connection where no other may read it."""
    file = writer.file
    if not file.shared or file.path is None:
        return writer.submit(lambda file: query(file.connection)).result()
    try:
        return _read_file(file.path, query)
    except sqlite3.Error as failure:
        raise HelixError(_why_unreadable(file, failure)) from failure


def _why_unreadable(file: LogFile, failure: sqlite3.Error) -> str:
    if isinstance(failure, sqlite3.OperationalError):
        return f"{file.path} cannot be read ({failure}): is it still there?"
    return describe_failure(file.path, failure)


def _read_file(path: Path, query: Query[T]) -> T:
    with closing(open_reader(path)) as connection:
        return query(connection)


def _first_of_each(results: list[dict[str, T]]) -> dict[str, T]:
    """Return one dict; where a key is in several files, the first one (this process's) counts."""
    return {key: value for result in reversed(results) for key, value in result.items()}


_logs: dict[str, Log] = {}
_current: Log | None = None
_lock = threading.Lock()


def current_log() -> Log:
    """Return the log that HELIX_NB_LOG names now; one per process and setting, never an exception."""
    global _current
    setting = os.environ.get("HELIX_NB_LOG", "")
    with _lock:
        if setting not in _logs:
            _logs[setting] = Log(log_location(setting))
        if _current is not None and _current is not _logs[setting]:
            _current.close()
        _current = _logs[setting]
        return _current


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for log in _logs.values():
        log.after_fork_in_child()


after_fork_in_child(_after_fork)
