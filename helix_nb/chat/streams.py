"""The two ways to read an answer piece by piece: `with hx.stream(...)` and `async with hx.astream(...)`.

Both are in lockstep with the exchange: it reads on only when the reader asks for more.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Self

from ..errors import ConfigError, stopped
from ..replies import Reply
from .pending import PendingReply


class Stream:
    """`with hx.stream(prompt) as s: for piece in s: ...`; `s.reply` is the Reply so far."""

    def __init__(self, make: Callable[[], PendingReply]) -> None:
        self._make = make
        self._running: PendingReply | None = None

    @property
    def reply(self) -> Reply:
        """The Reply so far; final after the last piece."""
        return self._running.reply if self._running is not None else Reply()

    def __enter__(self) -> Self:
        _first(self._running)
        self._running = running = self._make()
        running.lockstep = True
        _stop_when_forgotten(self, running)
        try:
            running.begin()
            while not running.done and not running._pieces:
                running.wait_for_change(0.1)
                running.serve_calls()
        except BaseException as error:
            running.cancel()
            stopped(error)
            raise
        if running.done and not running._pieces:
            running.final_reply()
        return self

    def __iter__(self) -> Iterator[str]:
        running = self._running
        if running is None:
            with self:
                yield from self
            return
        while True:
            while piece := running.next_piece():
                yield piece
            if running.done and not running._pieces:
                break
            running.request_more()
            running.wait_for_change(0.1)
            running.serve_calls()
        running.final_reply()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.cancel()
        if error is not None:
            stopped(error)


class AsyncStream:
    """`async with hx.astream(prompt) as s: async for piece in s: ...`"""

    def __init__(self, make: Callable[[], PendingReply]) -> None:
        self._make = make
        self._running: PendingReply | None = None

    @property
    def reply(self) -> Reply:
        """The Reply so far; final after the last piece."""
        return self._running.reply if self._running is not None else Reply()

    async def __aenter__(self) -> Self:
        _first(self._running)
        self._running = running = self._make()
        running.lockstep = True
        _stop_when_forgotten(self, running)
        try:
            running.begin()
            while not running.done and not running._pieces:
                await running.await_change()
                await running.serve_calls_async()
        except BaseException as error:
            running.cancel()
            stopped(error)
            raise
        if running.done and not running._pieces:
            running.final_reply()
        return self

    async def __aiter__(self) -> AsyncIterator[str]:
        running = self._running
        if running is None:
            async with self:
                async for piece in self:
                    yield piece
            return
        while True:
            while piece := running.next_piece():
                yield piece
            if running.done and not running._pieces:
                break
            running.request_more()
            await running.await_change()
            await running.serve_calls_async()
        running.final_reply()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.cancel()
        if error is not None:
            stopped(error)


def _first(running: PendingReply | None) -> None:
    """A stream is one exchange: entering it again would send, and pay for, another."""
    if running is not None:
        raise ConfigError("This stream was entered before; call hx.stream(...) again for another answer.")


def _stop_when_forgotten(stream: Stream | AsyncStream, running: PendingReply) -> None:
    """Stop the exchange of a stream that nobody can read on and nobody left."""
    forgotten = weakref.finalize(stream, running.cancel, wait=False)
    forgotten.atexit = False  # what runs then is stopped with the loop
