"""aiohttp's connections: which one a request got, whether it was kept from before, and how to abort one."""

from __future__ import annotations

import asyncio
import weakref
from contextvars import ContextVar
from typing import Any

import aiohttp


class Attempt:
    """One try at sending a request over aiohttp.

    The clock for the first byte starts when there is a connection; until then `connect` limits.
    """

    def __init__(self, first_byte_s: float) -> None:
        self.first_byte_s = first_byte_s
        self.first_byte_clock = asyncio.timeout(None)
        self.used = False  # its connection was kept from an earlier request
        self.socket: asyncio.Transport | None = None

    def start(self, socket: asyncio.Transport | None, *, used: bool) -> None:
        """Take the connection that the connector found, and start the clock."""
        self.socket, self.used = socket, used
        self.first_byte_clock.reschedule(asyncio.get_running_loop().time() + self.first_byte_s)


current_attempt: ContextVar[Attempt] = ContextVar("attempt")


class Connector(aiohttp.TCPConnector):
    """Tells each attempt which connection it has, and whether that one was kept.

    A kept one on which bytes came without a request is aborted: they would be the next answer.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._sockets: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def connect(self, *request: Any, **options: Any) -> Any:
        """Return a connection, as aiohttp's own connector does."""
        while True:
            connection = await super().connect(*request, **options)
            socket = connection.transport
            used = socket in self._sockets
            if not (used and connection.protocol is not None and connection.protocol.should_close):
                break
            connection.close()
            abort(socket)
        current_attempt.get().start(socket, used=used)
        if socket is not None:
            self._sockets.add(socket)
        return connection

    def abort_all(self) -> None:
        """Close every connection at once; only when no answer is read from one."""
        for socket in list(self._sockets):
            abort(socket)


def abort(socket: asyncio.Transport | None) -> None:
    """Close a socket at once: `close` waits until what was written is read, and over TLS for a goodbye."""
    if socket is not None:
        socket.abort()
