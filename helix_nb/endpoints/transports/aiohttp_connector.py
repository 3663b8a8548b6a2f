"""aiohttp's connections: which one a request got, whether it was kept from before, and how to drop one."""

from __future__ import annotations

import asyncio
import weakref
from contextvars import ContextVar
from typing import Any

import aiohttp


class Attempt:
    """One try at sending: whether its connection was kept from before, and how long the answer may take.

    The clock for the first byte starts when there is a connection; until then `connect` limits.
    """

    def __init__(self, first_byte_s: float) -> None:
        self.first_byte_s = first_byte_s
        self.used = False
        self.transport: Any = None
        self.patience = asyncio.timeout(None)

    def connected(self, transport: Any, *, used: bool) -> None:
        self.transport, self.used = transport, used
        self.patience.reschedule(asyncio.get_running_loop().time() + self.first_byte_s)


current_attempt: ContextVar[Attempt] = ContextVar("attempt")


class Connector(aiohttp.TCPConnector):
    """Tells each attempt when it has a connection, and whether that one was kept.

    A kept one on which bytes came that nobody asked for is dropped: they would be the next answer.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: weakref.WeakSet[Any] = weakref.WeakSet()

    async def connect(self, *request: Any, **options: Any) -> Any:
        while True:
            connection = await super().connect(*request, **options)
            transport = connection.transport
            used = transport in self._used
            if not (used and connection.protocol is not None and connection.protocol.should_close):
                break
            connection.close()
            abort(transport)
        current_attempt.get().connected(transport, used=used)
        if not used:
            self._used.add(transport)
        return connection

    def abort(self) -> None:
        """Close every connection at once; only when nobody reads from one."""
        for transport in list(self._used):
            abort(transport)


def abort(transport: Any) -> None:
    """Close a socket at once: `close` waits until what was written is read, and over TLS for a goodbye."""
    if transport is not None:
        transport.abort()
