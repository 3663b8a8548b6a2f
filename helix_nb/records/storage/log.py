"""The log of this process: exchanges go in as they happen, and readers get their own connection."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from ...errors import HelixError, warn
from ...messages import Request
from ...replies import Reply
from ...runtime.fork import after_fork_in_child
from . import batches, rows
from .content import ContentPolicy
from .location import LogLocation, is_off, wanted
from .log_file import LogFile, alone_beside, explained, is_alone, open_reader
from .writer import Writer, nothing

T = TypeVar("T")
Identify = Callable[[bytes], str]


class Log:
    """A log, opened at its first use. Nothing that goes into it ever raises.

    `place` says where; what of the words is stored is `keeping()`'s to say.
    """

    def __init__(self, place: LogLocation) -> None:
        self.place = place
        self._writer = Writer(place) if place.kept else None
        self._begun: dict[str, tuple[Request, Identify]] = {}
        self._paused = 0
        self._salt = secrets.token_bytes(32)  # of a log that is off

    @property
    def enabled(self) -> bool:
        """Whether exchanges are written at all now."""
        return self._writer is not None and not self._paused

    @property
    def path(self) -> Path | None:
        """The file that is written, or None: in memory, or off."""
        return self._writer.store.path if self._writer else None

    @property
    def problem(self) -> str | None:
        """Why the log is in memory although a file was wanted; None when all is well."""
        return self._writer.problem if self._writer else None

    @property
    def salt(self) -> bytes:
        """The log's own random bytes, stored in it: what identities of keys are salted with."""
        return self._writer.store.salt if self._writer else self._salt

    async def begin(self, request: Request, reply: Reply, endpoint: Identify) -> None:
        """Write the `pending` row; it is in the file when this returns.

        `endpoint` gives the endpoint's part of the request's identity, from the log's salt.
        """
        if not self.enabled or not request.origin.log or reply.exchange_id is None:
            return
        assert self._writer is not None
        self._begun[reply.exchange_id] = (request, endpoint)
        kept = keeping()
        try:
            await self._writer.written(lambda store: rows.insert(store, request, reply, kept))
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as failure:
            self._not_kept(failure)

    def keep(self, reply: Reply) -> None:
        """Bring the row of a running exchange up to date (the partial text); returns at once."""
        if reply.exchange_id in self._begun:
            self._update(*self._begun[reply.exchange_id], reply)

    def finish(self, request: Request, reply: Reply) -> None:
        """Write the final row; returns at once. What `begin` did not record is not recorded here."""
        if reply.exchange_id in self._begun:
            _, endpoint = self._begun.pop(reply.exchange_id)
            self._update(request, endpoint, reply)

    def _update(self, request: Request, endpoint: Identify, reply: Reply) -> None:
        assert self._writer is not None
        kept = keeping()
        self._writer.note(
            lambda store: rows.update(store, request, reply, _part(endpoint, store.salt), kept),
            self._not_kept,
        )

    def _not_kept(self, failure: BaseException) -> None:
        warn(f"An exchange could not be written to the log ({type(failure).__name__}: {failure}).")

    async def flushed(self) -> None:
        """Return when everything queued so far is in the file."""
        if self._writer is not None:
            await self._writer.written(nothing)

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

    def do(self, run: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run something in one write transaction and return its result (None when off)."""
        if self._writer is None:
            return None
        return self._writer.do(lambda store: run(store.connection)).result()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> list[T]:
        """Flush, then run a query over each file that holds rows of this log, this process's own first.

        Raises HelixError where its own file cannot be read (any more).
        """
        if self._writer is None:
            return []
        self.flush()
        own = self._writer.store
        results = [self._read_own(own, query)]
        for path in self._others(own):
            try:
                results.append(_read_file(path, query))
            except sqlite3.Error as failure:
                if path != self.place.path:  # what is wrong with that one was said already
                    warn(f"{path} could not be read ({failure}); its exchanges are left out.")
        return results

    def outside_transaction(self, run: Callable[[sqlite3.Connection], None]) -> None:
        """Run something on the writer's connection that no transaction may surround."""
        if self._writer is not None:
            with self._writer.at_rest() as store:
                run(store.connection)

    def other_files(self) -> list[Path]:
        """Files beside this process's own that hold rows of this log."""
        return [] if self._writer is None else self._others(self._writer.store)

    def _read_own(self, own: LogFile, query: Callable[[sqlite3.Connection], T]) -> T:
        if own.shared and own.path is not None:
            try:
                return _read_file(own.path, query)
            except sqlite3.OperationalError as failure:
                raise HelixError(f"{own.path} cannot be read ({failure}): is it still there?") from failure
            except sqlite3.Error as failure:
                raise HelixError(explained(own.path, failure)) from failure
        result = self.do(query)
        assert self._writer is not None
        return result  # type: ignore[return-value]  # None only when there is no writer

    def _others(self, own: LogFile) -> list[Path]:
        """The file that could not be written, and other kernels' files beside ours."""
        assert self._writer is not None
        found: list[Path] = []
        if self._writer.abandoned is not None and self._writer.abandoned.path is not None:
            found.append(self._writer.abandoned.path)
        elif own.path is None and self.place.path is not None:
            found += [self.place.path] if os.path.isfile(self.place.path) else []  # noqa: PTH113 - never raises
        if self.place.path is not None:
            found += [path for path in alone_beside(self.place.path) if path != own.path]
            if own.path is not None and is_alone(own.path) and self.place.path.is_file():
                found.append(self.place.path)
        return found

    def link(self, batch_id: str, links: Sequence[batches.Link]) -> None:
        """Say which exchange answers which row of a batch; returns at once."""
        if self._writer is not None and links:
            kept = list(links)
            self._writer.note(lambda store: batches.link(store.connection, batch_id, kept), self._not_kept)

    def answered(self, batch_id: str, identities: Collection[str]) -> dict[str, list[str]]:
        """Identity -> ids of what a batch has answered `ok` (with its text), the best last."""
        return _merged(self.read(lambda connection: batches.answered(connection, batch_id, identities)))

    def replies(self, exchange_ids: Collection[str]) -> dict[str, Reply]:
        """The recorded Replies by exchange id, as far as they are in the log; `parsed` is None."""
        return _merged(self.read(lambda connection: batches.replies(connection, exchange_ids)))

    def claim(self, batch_id: str, identities: Collection[str]) -> set[str]:
        """Take requests of a batch for this process; returns those that nobody alive has taken."""
        if self._writer is None:
            return set(identities)
        return self._writer.do(lambda store: batches.claim(store, batch_id, identities)).result()

    def release(self, batch_id: str, identities: Collection[str] | None = None) -> None:
        """Give back what this process has claimed of a batch (None: all of it); returns at once."""
        if self._writer is not None:
            self._writer.do(lambda store: batches.release(store, batch_id, identities), urgent=False)

    def pending_elsewhere(self, batch_id: str) -> set[str]:
        """Identities of a batch that another living process has claimed."""
        if self._writer is None:
            return set()
        return self._writer.do(lambda store: batches.claimed_elsewhere(store, batch_id)).result()


@lru_cache(maxsize=64)
def _part(endpoint: Identify, salt: bytes) -> str:
    """An endpoint's part of its requests' identities, worked out once for all of them."""
    return endpoint(salt)


_keeping = ContentPolicy(text=not is_off(os.environ.get("HELIX_NB_LOG_TEXT", "")))


def keeping() -> ContentPolicy:
    """What of the words is stored from now on, in any log of this process."""
    return _keeping


def keep_as(chosen: ContentPolicy) -> None:
    """Store the words like this from now on."""
    global _keeping
    _keeping = chosen


def _read_file(path: Path, query: Callable[[sqlite3.Connection], T]) -> T:
    connection = open_reader(path)
    try:
        return query(connection)
    finally:
        connection.close()


def _merged(found: list[dict[str, T]]) -> dict[str, T]:
    """One dict; where a key is in several files, the first one (this process's) wins."""
    return {key: value for part in reversed(found) for key, value in part.items()}


_logs: dict[str, Log] = {}
_current: Log | None = None
_lock = threading.Lock()


def current_log() -> Log:
    """The log that HELIX_NB_LOG names now; one per process and setting, never an exception."""
    global _current
    setting = os.environ.get("HELIX_NB_LOG", "")
    with _lock:
        if setting not in _logs:
            _logs[setting] = Log(wanted(setting))
        if _current is not None and _current is not _logs[setting]:
            _current.close()
        _current = _logs[setting]
        return _current


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for log in _logs.values():
        log._begun.clear()


after_fork_in_child(_after_fork)
