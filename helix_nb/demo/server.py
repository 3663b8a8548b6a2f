"""Demo servers, started and stopped: one per event loop, on 127.0.0.1 only."""

from __future__ import annotations

import asyncio
import os
import weakref
from dataclasses import dataclass
from socket import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado.httpserver import HTTPServer

MAX_BODY_BYTES = 10 * 1024 * 1024


@dataclass(eq=False)
class Server:
    """A demo server on the event loop it was started on."""

    url: str  # ends in /v1
    http: HTTPServer
    sockets: list[socket]

    async def close(self) -> None:
        """Stop listening and close every connection."""
        self.http.stop()
        await self.http.close_all_connections()


_running: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Server] = weakref.WeakKeyDictionary()


async def url() -> str:
    """Start the demo server on the running loop, once per loop and on a free port; return its URL.

    Returns:
        "http://127.0.0.1:PORT/v1".

    >>> import asyncio
    >>> asyncio.run(url()).startswith("http://127.0.0.1:")
    True
    """
    loop = asyncio.get_running_loop()
    if loop not in _running:
        _running[loop] = start()
    return _running[loop].url


def start(port: int = 0) -> Server:
    """Start one more demo server on the running loop.

    Args:
        port: 0 is any free one.

    Raises:
        OSError: the port is taken.
    """
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets

    from .handlers import application

    sockets = bind_sockets(port, "127.0.0.1")
    server = HTTPServer(application(), max_body_size=MAX_BODY_BYTES)
    server.add_sockets(sockets)
    return Server(f"http://127.0.0.1:{sockets[0].getsockname()[1]}/v1", server, sockets)


def _leave_to_parent() -> None:
    """Close the listening sockets in a forked child, or its parent's clients could hang on this copy."""
    for server in _running.values():
        for listening in server.sockets:
            listening.close()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
