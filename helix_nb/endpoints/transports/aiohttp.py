"""aiohttp carries: one pool of connections per endpoint, a quarter of httpx's CPU per request."""

from __future__ import annotations

import asyncio
import io
import weakref
from collections.abc import Callable, Mapping
from typing import Any

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
    connect_timeout_error,
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
LOOK_S = 1.0  # how soon a connection is noticed that aiohttp gave up in mid-answer, and says nothing about
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class AiohttpResponse:
    """See `carrier.Response`."""

    def __init__(self, response: aiohttp.ClientResponse, transport: Any, carrier: AiohttpTransport) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.cut = False
        self._response, self._transport, self._carrier = response, transport, carrier
        self._state = "open"
        self._flooded = self._resting = False

    async def read(self, timeout_s: float | None) -> bytes:
        """See `carrier.Response.read`."""
        if self._state != "open":
            return b""
        if self._flooded:  # else nothing here would wait, and nobody else had a turn
            await asyncio.sleep(0)
        self._state = "broken"
        if self._resting:
            self._resting = False
            self._transport.resume_reading()
        content = self._response.content
        try:
            chunk = await self._piece(timeout_s)
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            if (said := _undecodable(error)) is not None:
                raise undecodable_error(said) from None
            self.cut = True
            # aiohttp raises before it hands out what had arrived, and no public method does; text is kept.
            rest: Callable[[int], bytes] = getattr(content, "_read_nowait", lambda _: b"")
            return rest(-1)
        self._state = "whole" if content.at_eof() else "open"
        self._flooded = len(chunk) == PIECE_BYTES
        if not self._flooded:
            asyncio.get_running_loop().call_soon(self._rest)
        return chunk

    async def _piece(self, timeout_s: float | None) -> bytes:
        """What comes next; ClientPayloadError where nothing can come any more."""
        left_s = float("inf") if timeout_s is None else timeout_s
        while True:
            try:
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    return await self._response.content.read(PIECE_BYTES)
            except TimeoutError:
                if self._transport.is_closing():
                    raise aiohttp.ClientPayloadError("the connection was given up") from None
                left_s -= LOOK_S
                if left_s <= 0:
                    raise

    def _rest(self) -> None:
        """Leave on the socket what nobody asks for yet: the loop need not wake up for each packet of it."""
        ours = self._state == "open" and self._response.connection is not None
        if ours and self._transport.is_reading():
            self._resting = True
            self._transport.pause_reading()

    async def aclose(self) -> None:
        """See `carrier.Response.aclose`."""
        state, self._state = self._state, "closed"
        if state == "closed":
            return
        # Whole and not given back: the request is still going out, or the server changed the protocol.
        unfinished = state != "whole" or self._response.connection is not None
        if unfinished or self._transport.is_closing():
            self._response.close()
            abort(self._transport)
        await self._carrier.left()


class AiohttpTransport:
    """See `carrier.Carrier`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._context = ssl_context(connection)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._open = 0
        self._closed = False
        _carriers.add(self)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, first_byte_s: float
    ) -> AiohttpResponse:
        """See `carrier.Carrier.send`."""
        self._open += 1
        try:
            return await self._sent(method, url, headers, body, first_byte_s)
        except BaseException as error:
            await self.left()
            if isinstance(error, aiohttp.ClientError | ValueError | OSError):
                raise _explained(self._connection, error) from None
            raise

    async def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, first_byte_s: float
    ) -> AiohttpResponse:
        if not all(value.isascii() for value in headers.values()):
            raise ValueError(BAD_HEADER)
        request: dict[str, Any] = {"method": method, "url": URL(url), "headers": headers}
        for kept in (True, False):
            request["data"] = io.BytesIO(body) if body and len(body) > LARGE_BYTES else body
            attempt = Attempt(first_byte_s)
            try:
                return await self._tried(attempt, self._session(kept=kept), request)
            except _BROKEN as error:
                if not attempt.used or _begun(error):
                    raise
            except TimeoutError as error:
                if isinstance(error, aiohttp.ClientError):  # about the connection, not about the answer
                    raise
                raise silence_error(self._connection, "first_byte_timeout_s", first_byte_s) from None
        raise AssertionError("a fresh connection was never used before")

    async def _tried(
        self, attempt: Attempt, session: aiohttp.ClientSession, request: dict[str, Any]
    ) -> AiohttpResponse:
        current_attempt.set(attempt)
        try:
            async with attempt.patience:
                response = await session.request(**request, allow_redirects=False)
        except BaseException:
            abort(attempt.transport)
            raise
        return AiohttpResponse(response, attempt.transport, self)

    async def aclose(self) -> None:
        """See `carrier.Carrier.aclose`."""
        self._closed = True
        if not self._open:
            sessions, self._sessions = self._sessions, {}
            for session in sessions.values():
                connector = session.connector
                await session.close()
                if isinstance(connector, Connector):
                    connector.abort()

    async def left(self) -> None:
        """Count an answer that ended; the last one closes what it would have been kept in."""
        self._open -= 1
        if self._closed:
            await self.aclose()

    def _session(self, *, kept: bool) -> aiohttp.ClientSession:
        """Where connections are kept, or where each is used once."""
        if kept not in self._sessions:
            keeping: dict[str, Any] = {"keepalive_timeout": KEEP_IDLE_S} if kept else {"force_close": True}
            self._sessions[kept] = aiohttp.ClientSession(
                connector=Connector(limit=0, ssl=self._context, **keeping),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connection.connect_timeout_s),
                max_line_size=MOST_HEADER_BYTES,
                max_field_size=MOST_HEADER_BYTES,
            )
        return self._sessions[kept]

    def abandon(self) -> None:
        """In a forked child: leave the parent's connections alone, closing them would end its answers."""
        for session in self._sessions.values():
            if session.connector is not None:
                session.connector._conns.clear()  # its finaliser would take them out of the shared epoll
            session.detach()
        self._sessions = {}


def _begun(error: BaseException) -> bool:
    """Whether a connection broke within the headers of an answer, which may have cost something."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _explained(connection: Connection, error: BaseException) -> HelixError:
    """The HelixError that says what an exception of aiohttp means."""
    cause = error.__cause__ or error
    if (encoding := _undecodable(error)) is not None:
        return undecodable_error(encoding)
    if isinstance(cause, HttpProcessingError | aiohttp.ClientResponseError):
        return not_http_error(connection, cause.message)
    said = "its headers are not whole" if _begun(error) else cause
    return _unsent(connection, error) or hang_up_error(connection, said)


def _unsent(connection: Connection, error: BaseException) -> HelixError | None:
    """The HelixError for a request that never reached a server; None for every other failure."""
    if isinstance(error, aiohttp.ServerTimeoutError):
        return connect_timeout_error(connection)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return unreachable_error(connection, error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return unreachable_error(connection, error.os_error)
    if isinstance(error, aiohttp.InvalidURL):
        return unsendable_error(connection, "its URL is not valid")
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return unsendable_error(connection, BAD_HEADER)
    return None


def _undecodable(error: BaseException) -> str | None:
    """What aiohttp says where bytes are not in the encoding they claim; None for every other error."""
    for cause in (error, error.__cause__):
        if isinstance(cause, ContentEncodingError):
            return cause.message
    return None


_carriers: weakref.WeakSet[AiohttpTransport] = weakref.WeakSet()


def _after_fork() -> None:
    for carrier in list(_carriers):
        carrier.abandon()


after_fork_in_child(_after_fork)
