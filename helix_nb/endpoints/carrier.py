"""What carries bytes: one HTTP request out, a response whose body is read piece by piece.

This is the only module that knows httpx. A pool of connections is scanned by httpx on every
request, which costs quadratically many steps, so there is none: each request in flight has a
client with a single connection, and clients are kept for the next request.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..config import Connection, redact
from ..errors import ConfigError, ConnectionFailed, StreamFailed, TimedOut

if TYPE_CHECKING:
    import httpx

KEEP_IDLE_S = 30.0  # most servers hang up on an idle connection after 5 to 75 seconds
KEEP_MOST = 256


class Response:
    """A response whose headers have arrived. Read it to its end, then `aclose` it, or just `aclose` it."""

    def __init__(self, response: httpx.Response, client: httpx.AsyncClient, carrier: Carrier) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.cut = False
        self._response, self._client, self._carrier = response, client, carrier
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes()
        self._state = "open"

    async def read(self, timeout_s: float | None) -> bytes:
        """Return the next bytes of the body, b"" at its end or where the connection broke (`cut`).

        Raises:
            TimeoutError: nothing came for that many seconds.
            StreamFailed: the bytes cannot be decompressed.
        """
        import httpx

        if self._state != "open":
            return b""
        self._state = "broken"
        try:
            async with asyncio.timeout(timeout_s):
                chunk = await anext(self._chunks, b"")
        except httpx.DecodingError as error:
            raise StreamFailed(f"The server's answer cannot be decompressed: {redact(str(error))}.") from None
        except (httpx.TransportError, httpx.StreamError):
            self.cut = True
            return b""
        self._state = "open" if chunk else "whole"
        return chunk

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end; else close its socket at once."""
        state, self._state = self._state, "closed"
        if state == "closed" or (state == "whole" and self._carrier.keep(self._client)):
            return
        await asyncio.shield(asyncio.ensure_future(_closed(self._client, self._response)))


class Carrier:
    """Carries the requests of one connection, on one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._secure = connection.base_url.startswith("https://")
        self._context: ssl.SSLContext | None = None
        self._free: list[tuple[float, httpx.AsyncClient]] = []
        self._closed = False

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, first_byte_s: float
    ) -> Response:
        """Send a request and return the response when its headers are there.

        A kept connection that turns out to be closed before any byte of an answer is replaced once.

        Raises:
            ConnectionFailed: no connection, or it broke before an answer.
            TimedOut: no connection within `connect_timeout_s`, no answer within `first_byte_s`.
            ConfigError: the URL, a header or the proxy cannot be used.
        """
        import httpx

        # One dict is handed through to httpcore, which reads it again before the body.
        timeout = {"connect": self._connection.connect_timeout_s, "write": first_byte_s, "read": first_byte_s}
        client, used = await self._take(url)
        while True:
            try:
                extensions = {"timeout": timeout}
                request = httpx.Request(method, url, headers=headers, content=body, extensions=extensions)
                response = await client.send(request, stream=True, follow_redirects=False)
            except BaseException as error:  # noqa: BLE001 - a cancelled one must close its socket too
                await asyncio.shield(asyncio.ensure_future(_closed(client)))
                if used and isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
                    client, used = self._client(url), False
                    continue
                raise self._explained(error, first_byte_s) from None
            timeout.pop("read")
            return Response(response, client, self)

    def keep(self, client: httpx.AsyncClient) -> bool:
        """Keep a client whose response was read to its end for the next request, if there will be one."""
        if not self._closed:
            self._free.append((time.monotonic(), client))
        return not self._closed

    async def aclose(self) -> None:
        """Close the kept connections, and keep no other from now on."""
        self._closed = True
        free, self._free = self._free, []
        for _, client in free:
            await _closed(client)

    async def _take(self, url: str) -> tuple[httpx.AsyncClient, bool]:
        """A client, and whether its connection was used before; old ones are closed on the way."""
        now = time.monotonic()
        while self._free and (len(self._free) > KEEP_MOST or now - self._free[0][0] > KEEP_IDLE_S):
            await _closed(self._free.pop(0)[1])
        return (self._free.pop()[1], True) if self._free else (self._client(url), False)

    def _client(self, url: str) -> httpx.AsyncClient:
        import httpx

        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_IDLE_S)
        # A proxy cannot reach this machine's own address on our behalf.
        direct = _is_loopback(urlsplit(url).hostname or "")
        try:
            return httpx.AsyncClient(verify=self._verified(), limits=limits, trust_env=not direct)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise ConfigError(
                f"The proxy set in the environment cannot be used: {redact(str(error))}"
            ) from None

    def _verified(self) -> ssl.SSLContext:
        """One SSLContext for all clients; making one takes longer than a request."""
        if self._context is None:
            verify = self._connection.verify
            self._context = _ssl_context(verify) if self._secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self._context

    def _explained(self, error: BaseException, first_byte_s: float) -> BaseException:
        """The HelixError that says what an exception of httpx means; others stay what they are."""
        import httpx

        connection = self._connection
        where = f"{connection.name} ({connection.base_url})"
        said = _plainly(redact(str(error)))
        waits = f"{connection.connect_timeout_s:g} seconds"
        if isinstance(error, httpx.ConnectTimeout):
            return TimedOut(f"{where} took no connection for {waits} (connect_timeout_s).", retryable=True)
        if isinstance(error, httpx.TimeoutException):
            return silent(connection, "first_byte_timeout_s", first_byte_s)
        if isinstance(error, httpx.ProxyError | httpx.ConnectError):
            trust = " Name its authority with verify='ca.pem'." if "certificate" in said else ""
            return ConnectionFailed(
                f"{where} cannot be reached{said}. Is it running, is the URL right?{trust}"
            )
        unusable = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError)
        if isinstance(error, unusable):
            header = isinstance(error, httpx.LocalProtocolError | UnicodeError)
            hint = ": a header, perhaps the key, holds characters that HTTP cannot carry" if header else said
            return ConfigError(f"The request to {where} cannot be sent{hint}.")
        if isinstance(error, httpx.HTTPError):
            return ConnectionFailed(f"{where} hung up before answering{said}.")
        return error


def silent(connection: Connection, setting: str, seconds: float) -> TimedOut:
    """The error for a server that is connected and sends nothing."""
    return TimedOut(f"{connection.name} sent nothing for {seconds:g} seconds ({setting}).")


async def _closed(client: httpx.AsyncClient, response: httpx.Response | None = None) -> None:
    """Close whatever is open; a broken connection may refuse even that."""
    import httpx

    for closing in (response, client):
        try:
            if closing is not None:
                await closing.aclose()
        except (httpx.HTTPError, OSError, RuntimeError):
            continue


def _ssl_context(verify: bool | str) -> ssl.SSLContext:
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    try:
        if isinstance(verify, str):
            return ssl.create_default_context(cafile=verify)
        import certifi

        # The system's store knows a company's own authority, certifi serves where there is no store.
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The certificates in verify={verify!r} cannot be loaded: {error}.") from None
    return context


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _plainly(said: str) -> str:
    """`: what an operating system or library said`, without its number; empty where it said nothing."""
    words = (said.partition("] ")[2] or said).strip().rstrip(".")
    return f": {words}" if words else ""
