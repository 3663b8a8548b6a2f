"""httpx carries: through proxies of every kind, and where there is no wheel of aiohttp.

Its pool of connections is scanned on every request, which costs quadratically many steps, so there
is none: each request in flight has a client with a single connection, and clients are kept for the
next request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from ...config.connection import Connection
from ...errors import ConfigError
from ...redaction import redact
from . import base
from .base import (
    KEEP_IDLE_S,
    connect_timeout_error,
    hang_up_error,
    not_http_error,
    silence_error,
    ssl_context,
    undecodable_error,
    unreachable_error,
    unsendable_error,
)

KEEP_MOST = 256
THROUGH_PROXY = ", through the proxy that the environment names"
LOOK_UP_EVERY = 64  # reads after which everybody else has a turn
_LOGGERS = "httpx httpcore.connection httpcore.http11 httpcore.http2 httpcore.proxy httpcore.socks"
_UNUSABLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError)


class HttpxResponse:
    """See `carrier.Response`."""

    def __init__(self, response: httpx.Response, client: httpx.AsyncClient, carrier: HttpxTransport) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.cut = False
        self._response, self._client, self._carrier = response, client, carrier
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes()
        self._state = "open"
        self._reads = 0
        self._pid = os.getpid()

    async def read(self, timeout_s: float | None) -> bytes:
        """See `carrier.Response.read`."""
        if self._state != "open":
            return b""
        self._reads += 1
        if self._reads % LOOK_UP_EVERY == 0:  # a flood is read without waiting for anything
            await asyncio.sleep(0)
        self._state = "broken"
        try:
            async with asyncio.timeout(timeout_s):
                chunk = await anext(self._chunks, b"")
        except httpx.DecodingError as error:
            raise undecodable_error(error) from None
        except (httpx.TransportError, httpx.StreamError, ssl.SSLError):
            self.cut = True
            return b""
        self._state = "open" if chunk else "whole"
        return chunk

    async def aclose(self) -> None:
        """See `carrier.Response.aclose`."""
        state, self._state = self._state, "closed"
        if self._pid != os.getpid():  # a forked child lets go of its parent's answer, and cannot wait
            return
        if state == "closed" or (state == "whole" and self._carrier.keep(self._client)):
            return
        await asyncio.shield(asyncio.ensure_future(_closed(self._client, self._response)))


class HttpxTransport:
    """See `carrier.Carrier`. `proxied` heeds the proxies that the environment names."""

    def __init__(self, connection: Connection, *, proxied: bool) -> None:
        self._connection = connection
        self._proxied = proxied
        self._context: ssl.SSLContext | None = None
        self._free: list[tuple[float, httpx.AsyncClient]] = []
        self._closed = False

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, first_byte_s: float
    ) -> HttpxResponse:
        """See `carrier.Carrier.send`."""
        # One dict is handed through to httpcore, which reads it again before the body.
        timeout = {"connect": self._connection.connect_timeout_s, "write": first_byte_s, "read": first_byte_s}
        client, used = await self._take()
        while True:
            opened = _Opened(first_byte_s)
            try:
                extensions = {"timeout": timeout, "trace": opened.note}
                request = httpx.Request(method, url, headers=headers, content=body, extensions=extensions)
                async with opened.patience:
                    response = await client.send(request, stream=True, follow_redirects=False)
            except BaseException as error:  # noqa: BLE001 - a cancelled one must close its socket too
                await asyncio.shield(asyncio.ensure_future(_closed(client, opened)))
                if used and _silently_gone(error):
                    client, used = self._client(), False
                    continue
                raise _explained(self._connection, error, first_byte_s, proxied=self._proxied) from None
            timeout.pop("read")
            return HttpxResponse(response, client, self)

    def keep(self, client: httpx.AsyncClient) -> bool:
        """Keep a client whose response was read to its end for the next request, if there will be one."""
        if not self._closed:
            self._free.append((time.monotonic(), client))
        return not self._closed

    async def aclose(self) -> None:
        """See `carrier.Carrier.aclose`."""
        self._closed = True
        free, self._free = self._free, []
        for _, client in free:
            await _closed(client)

    async def _take(self) -> tuple[httpx.AsyncClient, bool]:
        """A client, and whether its connection was used before; old ones are closed on the way."""
        now = time.monotonic()
        while self._free and (len(self._free) > KEEP_MOST or now - self._free[0][0] > KEEP_IDLE_S):
            await _closed(self._free.pop(0)[1])
        return (self._free.pop()[1], True) if self._free else (self._client(), False)

    def _client(self) -> httpx.AsyncClient:
        self._context = self._context or ssl_context(self._connection)
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_IDLE_S)
        try:
            return httpx.AsyncClient(verify=self._context, limits=limits, trust_env=self._proxied)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise ConfigError(
                f"The proxy set in the environment cannot be used: {redact(str(error))}"
            ) from None


def _silently_gone(error: BaseException) -> bool:
    """Whether a connection broke and no answer had begun, which httpcore says in words only."""
    silent_end = isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error)
    return silent_end or isinstance(error, httpx.NetworkError)


def _explained(
    connection: Connection, error: BaseException, first_byte_s: float, *, proxied: bool
) -> BaseException:
    """The HelixError that says what an exception of httpx means; others stay what they are."""
    if isinstance(error, httpx.ConnectTimeout):
        return connect_timeout_error(connection)
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return silence_error(connection, "first_byte_timeout_s", first_byte_s)
    if isinstance(error, httpx.ProxyError | httpx.ConnectError):
        return unreachable_error(connection, f"{error}{THROUGH_PROXY}" if proxied else error)
    if isinstance(error, _UNUSABLE):
        header = isinstance(error, httpx.LocalProtocolError | UnicodeError)
        return unsendable_error(connection, base.BAD_HEADER if header else error)
    if not isinstance(error, httpx.HTTPError | OSError):
        return error
    unreadable = isinstance(error, httpx.RemoteProtocolError) and not _silently_gone(error)
    return (not_http_error if unreadable else hang_up_error)(connection, error)


class _Opened:
    """The socket of a new connection, which httpcore forgets where a handshake on it is cancelled.

    `patience` is the clock for the first byte; httpcore's own starts anew with each byte of the headers.
    """

    def __init__(self, first_byte_s: float) -> None:
        self.patience = asyncio.timeout(None)
        self._first_byte_s = first_byte_s
        self._stream: Any = None

    async def note(self, event: str, info: dict[str, Any]) -> None:
        """See the extension `trace` of httpcore."""
        if event == "connection.connect_tcp.complete":
            self._stream = info.get("return_value")
        elif event.endswith("send_request_headers.started"):
            self.patience.reschedule(asyncio.get_running_loop().time() + self._first_byte_s)

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


async def _closed(client: httpx.AsyncClient, response: httpx.Response | _Opened | None = None) -> None:
    """Close whatever is open; a broken connection may refuse even that."""
    for closing in (response, client):
        try:
            if closing is not None:
                await closing.aclose()
        except (httpx.HTTPError, OSError, RuntimeError):
            continue


def _masked(record: logging.LogRecord) -> bool:
    """The libraries log what a server answers: a key that it repeats in a header or its status line too."""
    record.msg, record.args = redact(record.getMessage()), None
    return True


for _name in _LOGGERS.split():  # a logger's filter does not see what its children log
    logging.getLogger(_name).addFilter(_masked)
