"""Streams of the pieces of an answer: `with hx.stream(...)` and `async with hx.astream(...)`.

Both keep the exchange in lockstep: it reads on only when the reader asks for more.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from ..errors import ConfigError, show_as_stopped
from ..replies import Reply
from ..runtime.loop import resolve_soon
from .pending import PendingReply


class _Lockstep:
    """Back-pressure: while pieces of a pending reply are unread, the exchange reads nothing more."""

    def __init__(self, pending: PendingReply) -> None:
        self._pending = pending
        self._demand: asyncio.Future[None] | None = None
        pending.throttle_with(self._await_demand)

    def _await_demand(self) -> asyncio.Future[None] | None:
        self._demand = asyncio.get_running_loop().create_future()  # first, because a reader may ask meanwhile
        return self._demand if self._pending.has_pieces else None

    def request_more(self) -> None:
        """Let the exchange read on, because the pieces so far are used up."""
        if self._demand is not None:
            resolve_soon(self._demand)


class _BaseStream:
    """The part of a stream that does not wait: its pending reply, and how that starts and ends."""

    def __init__(self, prepare: Callable[[], PendingReply]) -> None:
        self._prepare = prepare
        self._pending: PendingReply | None = None

    @property
    def reply(self) -> Reply:
        """The Reply so far; final after the last piece."""
        return self._pending.reply if self._pending is not None else Reply()

    def _begin(self) -> PendingReply:
        if self._pending is not None:  # because entering it again would pay for another exchange
            raise ConfigError("This stream was entered before; call hx.stream(...) again for another answer.")
        self._pending = pending = self._prepare()
        self._lockstep = _Lockstep(pending)
        finalizer = weakref.finalize(self, pending.cancel, wait=False)  # no reader is left then
        finalizer.atexit = False  # because the loop stops every exchange at exit
        return pending

    @contextmanager
    def _first_piece(self, pending: PendingReply) -> Iterator[None]:
        """Send the request, and raise an error before any text; any in the block stops the exchange."""
        try:
            pending.begin()
            yield
        except BaseException as error:
            pending.cancel()
            show_as_stopped(error)
            raise
        if pending.done and not pending.has_pieces:
            pending.final_reply()

    def _leave(self, error: BaseException | None) -> None:
        if self._pending is not None:
            self._pending.cancel()
        if error is not None:
            show_as_stopped(error)


class Stream(_BaseStream):
    """`with hx.stream(prompt) as s: for piece in s: ...`; `s.reply` is the Reply so far."""

    def __enter__(self) -> Self:
        pending = self._begin()
        with self._first_piece(pending):
            while not (pending.done or pending.has_pieces):
                pending.wait_for_change(0.1)
                pending.serve_calls()
        return self

    def __iter__(self) -> Iterator[str]:
        pending = self._pending
        if pending is None:
            with self:
                yield from self
            return
        while True:
            yield from pending.take_pieces()
            if pending.done and not pending.has_pieces:
                break
            self._lockstep.request_more()
            pending.wait_for_change(0.1)
            pending.serve_calls()
        pending.final_reply()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)


class AsyncStream(_BaseStream):
    """`async with hx.astream(prompt) as s: async for piece in s: ...`"""

    async def __aenter__(self) -> Self:
        pending = self._begin()
        with self._first_piece(pending):
            while not (pending.done or pending.has_pieces):
                await pending.await_change()
                await pending.serve_calls_async()
        return self

    async def __aiter__(self) -> AsyncIterator[str]:
        pending = self._pending
        if pending is None:
            async with self:
                async for piece in self:
                    yield piece
            return
        while True:
            for piece in pending.take_pieces():
                yield piece
            if pending.done and not pending.has_pieces:
                break
            self._lockstep.request_more()
            await pending.await_change()
            await pending.serve_calls_async()
        pending.final_reply()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)
