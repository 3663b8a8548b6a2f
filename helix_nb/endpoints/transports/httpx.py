"""Requests over httpx: through proxies of every kind, and where there is no wheel of aiohttp.

httpx's pool of connections is scanned on every request, which costs quadratically many steps, so
there is none: each request in flight has a client with a single connection, and clients are kept
for the next request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import httpx

from ...config.connection import Connection
from ...errors import ConfigError, HelixError
from ...redaction import redact
from .base import (
    BAD_HEADER,
    KEEP_IDLE_S,
    Meanings,
    connect_timeout_error,
    explain,
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
YIELD_EVERY = 64  # reads after which the loop does other things
_LOGGERS = "httpx httpcore.connection httpcore.http11 httpcore.http2 httpcore.proxy httpcore.socks"


class HttpxResponse:
    """A `Response` of httpx's; its client is kept for the next request once the body is read."""

    def __init__(
        self, response: httpx.Response, client: httpx.AsyncClient, transport: HttpxTransport
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.cut = False
        self._response, self._client, self._transport = response, client, transport
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes()
        self._state: Literal["open", "whole", "broken", "closed"] = "open"
        self._reads = 0
        self._pid = os.getpid()

    async def read(self, timeout_s: float | None) -> bytes:
        """Return the next bytes of the body, b"" at its end or where the connection broke (`cut`)."""
        if self._state != "open":
            return b""
        self._reads += 1
        if self._reads % YIELD_EVERY == 0:  # a flood is read without waiting for anything
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
        """Give the connection back if the body was read to its end; else close its socket at once."""
        state, self._state = self._state, "closed"
        if self._pid != os.getpid():  # a forked child lets go of its parent's answer, and cannot wait
            return
        if state == "closed" or (state == "whole" and self._transport.keep(self._client)):
            return
        await asyncio.shield(asyncio.ensure_future(_close(self._client, self._response)))


class HttpxTransport:
    """The `Transport` over httpx; `proxied` heeds the proxies that the environment names."""

    def __init__(self, connection: Connection, *, proxied: bool) -> None:
        self._connection = connection
        self._proxied = proxied
        self._context: ssl.SSLContext | None = None
        self._free: list[tuple[float, httpx.AsyncClient]] = []  # since when, by time.monotonic()
        self._closed = False

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, first_byte_s: float
    ) -> HttpxResponse:
        """Send a request and return the response when its headers are there, as `Transport.send` says."""
        # One dict is handed through to httpcore, which reads it again before the body.
        timeout = {"connect": self._connection.connect_timeout_s, "write": first_byte_s, "read": first_byte_s}
        client, used = await self._take()
        while True:
            attempt = _Attempt(first_byte_s)
            try:
                extensions = {"timeout": timeout, "trace": attempt.trace}
                request = httpx.Request(method, url, headers=headers, content=body, extensions=extensions)
                async with attempt.first_byte_clock:
                    response = await client.send(request, stream=True, follow_redirects=False)
            except BaseException as error:  # a cancelled one must close its socket too
                await asyncio.shield(asyncio.ensure_future(_close(client, attempt)))
                if used and _broke_silently(error):
                    client, used = self._new_client(), False
                    continue
                if (meaning := explain(self._connection, error, self._meanings(first_byte_s))) is not None:
                    raise meaning from None
                raise
            timeout.pop("read")
            return HttpxResponse(response, client, self)

    async def aclose(self) -> None:
        """Close idle connections, every other one once its answer ends, and keep none from now on."""
        self._closed = True
        free, self._free = self._free, []
        for _, client in free:
            await _close(client)

    def keep(self, client: httpx.AsyncClient) -> bool:
        """Keep a client whose response was read to its end for the next request, if there will be one."""
        if not self._closed:
            self._free.append((time.monotonic(), client))
        return not self._closed

    async def _take(self) -> tuple[httpx.AsyncClient, bool]:
        """Return a client, and whether its connection was used before; close those that are too old."""
        now = time.monotonic()
        while self._free and (len(self._free) > KEEP_MOST or now - self._free[0][0] > KEEP_IDLE_S):
            await _close(self._free.pop(0)[1])
        return (self._free.pop()[1], True) if self._free else (self._new_client(), False)

    def _new_client(self) -> httpx.AsyncClient:
        self._context = self._context or ssl_context(self._connection)
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_IDLE_S)
        try:
            return httpx.AsyncClient(verify=self._context, limits=limits, trust_env=self._proxied)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise ConfigError(
                f"The proxy set in the environment cannot be used: {redact(str(error))}"
            ) from None

    def _meanings(self, first_byte_s: float) -> Meanings:
        by_way_of = THROUGH_PROXY if self._proxied else ""
        return (
            (httpx.ConnectTimeout, lambda connection, _: connect_timeout_error(connection)),
            (
                (httpx.TimeoutException, TimeoutError),
                lambda connection, _: silence_error(connection, "first_byte_timeout_s", first_byte_s),
            ),
            (
                (httpx.ProxyError, httpx.ConnectError),
                lambda connection, error: unreachable_error(connection, f"{error}{by_way_of}"),
            ),
            (
                (httpx.LocalProtocolError, UnicodeError),
                lambda connection, _: unsendable_error(connection, BAD_HEADER),
            ),
            ((httpx.UnsupportedProtocol, httpx.InvalidURL), unsendable_error),
            (httpx.RemoteProtocolError, _remote_protocol_error),
            ((httpx.HTTPError, OSError), hang_up_error),
        )


def _broke_silently(error: BaseException) -> bool:
    """Return whether a connection broke and no answer had begun, which httpcore says in words only."""
    silent_end = isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error)
    return silent_end or isinstance(error, httpx.NetworkError)


def _remote_protocol_error(connection: Connection, error: httpx.RemoteProtocolError) -> HelixError:
    return (hang_up_error if _broke_silently(error) else not_http_error)(connection, error)


class _Attempt:
    """One try at sending a request over httpx: the clock for its first byte, and its new connection.

    httpcore's own clock starts anew with each byte of the headers, and httpcore forgets the socket of
    a connection where a handshake on it is cancelled.
    """

    def __init__(self, first_byte_s: float) -> None:
        self.first_byte_clock = asyncio.timeout(None)
        self._first_byte_s = first_byte_s
        self._stream: Any = None

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take what httpcore's extension `trace` reports."""
        if event == "connection.connect_tcp.complete":
            self._stream = info.get("return_value")
        elif event.endswith("send_request_headers.started"):
            self.first_byte_clock.reschedule(asyncio.get_running_loop().time() + self._first_byte_s)

    async def aclose(self) -> None:
        """Close the socket, if this attempt made one."""
        if self._stream is not None:
            await self._stream.aclose()


async def _close(client: httpx.AsyncClient, response: httpx.Response | _Attempt | None = None) -> None:
    """Close whatever is open; a broken connection may refuse even that."""
    for closing in (response, client):
        try:
            if closing is not None:
                await closing.aclose()
        except (httpx.HTTPError, OSError, RuntimeError):
            continue


def _mask(record: logging.LogRecord) -> bool:
    """Redact a log record: the libraries log what a server answers, a key that it repeats too."""
    record.msg, record.args = redact(record.getMessage()), None
    return True


for _name in _LOGGERS.split():  # a logger's filter does not see what its children log
    logging.getLogger(_name).addFilter(_mask)
