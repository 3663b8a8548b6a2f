"""Requests over aiohttp: one pool of connections per endpoint, a quarter of httpx's CPU per request."""

from __future__ import annotations

import asyncio
import io
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Literal

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from yarl import URL

from ...config.connection import Connection
from ...errors import HelixError
from ...runtime.fork import after_fork_in_child
from .aiohttp_connector import Attempt, Connector, abort, current_attempt
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

MOST_HEADER_BYTES = 64 * 1024
PIECE_BYTES = 8 * 1024  # of an answer, read before the loop does other things
LARGE_BYTES = 512 * 1024  # sent in pieces, between which the loop does other things
LOOK_S = 1.0  # how soon a connection is noticed that aiohttp gave up in mid-answer without a word


class AiohttpResponse:
    """A `Response` of aiohttp's, which reads the socket no further than it is asked to."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        socket: asyncio.Transport | None,
        transport: AiohttpTransport,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.cut = False
        self._response, self._socket, self._transport = response, socket, transport
        self._state: Literal["open", "whole", "broken", "closed"] = "open"
        self._flooded = False  # the last piece was a full one: more is there already
        self._paused = False

    async def read(self, timeout_s: float | None) -> bytes:
        """Return the next bytes of the body, b"" at its end or where the connection broke (`cut`)."""
        if self._state != "open":
            return b""
        if self._flooded:  # the read below would not wait, and nothing else on the loop had a turn
            await asyncio.sleep(0)
        self._state = "broken"
        self._resume()
        try:
            chunk = await self._read_piece(timeout_s)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            encoding_error = _protocol_error(error)
            if isinstance(encoding_error, ContentEncodingError):
                raise undecodable_error(encoding_error.message) from None
            self.cut = True
            return _withheld_by_aiohttp(self._response.content)
        self._state = "whole" if self._response.content.at_eof() else "open"
        self._flooded = len(chunk) == PIECE_BYTES
        if not self._flooded:
            asyncio.get_running_loop().call_soon(self._pause)
        return chunk

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end; else close its socket at once."""
        state, self._state = self._state, "closed"
        if state == "closed":
            return
        # Whole and not given back: the request is still going out, or the server changed the protocol.
        unfinished = state != "whole" or self._response.connection is not None
        if unfinished or (self._socket is not None and self._socket.is_closing()):
            self._response.close()
            abort(self._socket)
        await self._transport.release()

    async def _read_piece(self, timeout_s: float | None) -> bytes:
        """Return what comes next; ClientPayloadError where nothing can come any more."""
        left_s = float("inf") if timeout_s is None else timeout_s
        while True:
            try:
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    return await self._response.content.read(PIECE_BYTES)
            except TimeoutError:
                if self._socket is None or self._socket.is_closing():
                    raise aiohttp.ClientPayloadError("the connection was given up") from None
                left_s -= LOOK_S
                if left_s <= 0:
                    raise

    def _pause(self) -> None:
        """Leave on the socket what is not asked for yet: the loop need not wake up for each packet of it."""
        ours = self._state == "open" and self._response.connection is not None
        if ours and self._socket is not None and self._socket.is_reading():
            self._paused = True
            self._socket.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._socket is not None:
            self._paused = False
            self._socket.resume_reading()


class AiohttpTransport:
    """The `Transport` over aiohttp. It heeds no proxy."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._context = ssl_context(connection)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}  # whether it keeps connections: its session
        self._open_responses = 0
        self._closed = False
        _transports.add(self)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, first_byte_s: float
    ) -> AiohttpResponse:
        """Send a request and return the response when its headers are there, as `Transport.send` says."""
        self._open_responses += 1
        try:
            return await self._send(method, url, headers, body, first_byte_s)
        except BaseException as error:
            await self.release()
            if (meaning := _explain(self._connection, error)) is not None:
                raise meaning from None
            raise

    async def aclose(self) -> None:
        """Close idle connections, every other one once its answer ends, and keep none from now on."""
        self._closed = True
        if not self._open_responses:
            sessions, self._sessions = self._sessions, {}
            for session in sessions.values():
                connector = session.connector
                await session.close()
                if isinstance(connector, Connector):
                    connector.abort_all()

    async def release(self) -> None:
        """Count a response that ended; after `aclose`, the last one closes what it would be kept in."""
        self._open_responses -= 1
        if self._closed:
            await self.aclose()

    def abandon(self) -> None:
        """In a forked child: leave the parent's connections alone, closing them would end its answers."""
        for session in self._sessions.values():
            if session.connector is not None:
                session.connector._conns.clear()  # its finaliser would take them out of the shared epoll
            session.detach()
        self._sessions = {}

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, first_byte_s: float
    ) -> AiohttpResponse:
        """Send over a kept connection, and once more over a fresh one where the kept one was closed."""
        if not all(value.isascii() for value in headers.values()):
            raise ValueError(BAD_HEADER)
        request: dict[str, Any] = {"method": method, "url": URL(url), "headers": headers}
        for keeping in (True, False):
            request["data"] = io.BytesIO(body) if body and len(body) > LARGE_BYTES else body
            attempt = Attempt(first_byte_s)
            try:
                return await self._try(attempt, self._session(keeping=keeping), request)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if not attempt.used or _has_begun(error):
                    raise
            except TimeoutError as error:
                if isinstance(error, aiohttp.ClientError):  # about the connection, not about the answer
                    raise
                raise silence_error(self._connection, "first_byte_timeout_s", first_byte_s) from None
        raise AssertionError("a fresh connection was never used before")

    async def _try(
        self, attempt: Attempt, session: aiohttp.ClientSession, request: dict[str, Any]
    ) -> AiohttpResponse:
        current_attempt.set(attempt)
        try:
            async with attempt.first_byte_clock:
                response = await session.request(**request, allow_redirects=False)
        except BaseException:
            abort(attempt.socket)
            raise
        return AiohttpResponse(response, attempt.socket, self)

    def _session(self, *, keeping: bool) -> aiohttp.ClientSession:
        """Return the session that keeps connections, or the one that uses each only once."""
        if keeping not in self._sessions:
            policy: dict[str, Any] = {"keepalive_timeout": KEEP_IDLE_S} if keeping else {"force_close": True}
            self._sessions[keeping] = aiohttp.ClientSession(
                connector=Connector(limit=0, ssl=self._context, **policy),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connection.connect_timeout_s),
                max_line_size=MOST_HEADER_BYTES,
                max_field_size=MOST_HEADER_BYTES,
            )
        return self._sessions[keeping]


def _withheld_by_aiohttp(content: aiohttp.StreamReader) -> bytes:
    """Return the text before a break: aiohttp 3.14 raises before it hands that out, and has no other way."""
    read: Callable[[int], bytes] = getattr(content, "_read_nowait", lambda _: b"")
    return read(-1)


def _has_begun(error: BaseException) -> bool:
    """Return whether a connection broke within the headers of an answer, which may have cost something."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _protocol_error(error: BaseException) -> BaseException:
    """Return what aiohttp's parser raised, which may stand behind an error, or else the error."""
    kinds = (HttpProcessingError, aiohttp.ClientResponseError)
    return next((cause for cause in (error.__cause__, error) if isinstance(cause, kinds)), error)


def _hang_up(connection: Connection, error: BaseException) -> HelixError:
    reason = "its headers are not whole" if _has_begun(error) else error.__cause__ or error
    return hang_up_error(connection, reason)


def _explain(connection: Connection, error: BaseException) -> HelixError | None:
    return explain(connection, _protocol_error(error), _MEANINGS)


_MEANINGS: Meanings = (
    (ContentEncodingError, lambda _, error: undecodable_error(error.message)),
    (
        (HttpProcessingError, aiohttp.ClientResponseError),
        lambda connection, error: not_http_error(connection, error.message),
    ),
    (aiohttp.ServerTimeoutError, lambda connection, _: connect_timeout_error(connection)),
    (
        aiohttp.ClientConnectorCertificateError,
        lambda connection, error: unreachable_error(connection, error.certificate_error),
    ),
    (aiohttp.ClientConnectorError, lambda connection, error: unreachable_error(connection, error.os_error)),
    (aiohttp.InvalidURL, lambda connection, _: unsendable_error(connection, "its URL is not valid")),
    (aiohttp.ClientError, _hang_up),
    (ValueError, lambda connection, _: unsendable_error(connection, BAD_HEADER)),
    (OSError, _hang_up),
)
_transports: weakref.WeakSet[AiohttpTransport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        transport.abandon()


after_fork_in_child(_after_fork)
