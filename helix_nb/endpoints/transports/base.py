"""The seam of transports: one HTTP request out, a response whose body is read piece by piece.

Two libraries stand behind it. aiohttp carries a request for a quarter of the CPU and is there
wherever its wheel is; httpx speaks to every kind of proxy and carries the rest. What goes wrong
reads the same either way: each has one table from its exceptions to the errors below.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ...config.connection import Connection
from ...errors import ConfigError, ConnectionFailed, HelixError, StreamFailed, TimedOut
from ...redaction import redact

KEEP_IDLE_S = 30.0  # most servers hang up on an idle connection after 5 to 75 seconds
BAD_HEADER = "a header, perhaps the key, holds characters that HTTP cannot carry"
MOST_QUOTED = 160  # characters of what a library says
_SOURCE = re.compile(r" \(_ssl\.c:\d+\)")  # the line of OpenSSL's wrapper, which helps no user

Meanings = tuple[tuple[Any, Callable[[Connection, Any], HelixError]], ...]  # exception types, and the error


class Response(Protocol):
    """A response whose headers have arrived. Read it to its end, then `aclose` it, or just `aclose` it."""

    status: int
    headers: Mapping[str, str]
    cut: bool  # the connection broke before the end of the body

    async def read(self, timeout_s: float | None) -> bytes:
        """Return the next bytes of the body, b"" at its end or where the connection broke (`cut`).

        Raises:
            TimeoutError: nothing came for that many seconds.
            StreamFailed: the bytes cannot be decompressed.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end; else close its socket at once."""
        ...


class Transport(Protocol):
    """Carries the requests of one connection, on one event loop."""

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
        ...

    async def aclose(self) -> None:
        """Close idle connections, every other one once its answer ends, and keep none from now on."""
        ...


def explain(connection: Connection, error: BaseException, meanings: Meanings) -> HelixError | None:
    """Return the error that a library's exception means, by the first row that fits; None for others."""
    return next((make(connection, error) for types, make in meanings if isinstance(error, types)), None)


def silence_error(connection: Connection, setting: str, seconds: float) -> TimedOut:
    """Return the error for a server that is connected and sends nothing."""
    return TimedOut(f"{connection.name} sent nothing for {seconds:g} seconds ({setting}).")


def connect_timeout_error(connection: Connection) -> TimedOut:
    """Return the error for a server that takes no connection in time."""
    waits = f"{connection.connect_timeout_s:g} seconds (connect_timeout_s)"
    return TimedOut(f"{_server(connection)} took no connection for {waits}.", retryable=True)


def unreachable_error(connection: Connection, reason: BaseException | str) -> ConnectionFailed:
    """Return the error for a server that cannot be connected to."""
    quotation = _quote(reason)
    refused = "certificate" in quotation
    out_of_time = any(words in quotation for words in ("expired", "not valid for", "not yet valid"))
    trust = " Name its authority with verify='ca.pem'." if refused and not out_of_time else ""
    return ConnectionFailed(
        f"{_server(connection)} cannot be reached{quotation}. Is it running, is the URL right?{trust}",
        retryable=not refused,
    )


def hang_up_error(connection: Connection, reason: BaseException | str) -> ConnectionFailed:
    """Return the error for a connection that broke before an answer."""
    return ConnectionFailed(f"{_server(connection)} hung up before answering{_quote(reason)}.")


def not_http_error(connection: Connection, reason: BaseException | str) -> ConnectionFailed:
    """Return the error for a server that answers without speaking HTTP."""
    sentence = f"{_server(connection)} does not answer in HTTP that can be read{_quote(reason)}."
    return ConnectionFailed(sentence, retryable=False)


def unsendable_error(connection: Connection, reason: BaseException | str) -> ConfigError:
    """Return the error for a request that HTTP cannot carry."""
    return ConfigError(f"The request to {_server(connection)} cannot be sent{_quote(reason)}.")


def undecodable_error(reason: BaseException | str) -> StreamFailed:
    """Return the error for bytes that are not in the encoding they claim, or in an unknown one."""
    return StreamFailed(f"The server's answer cannot be decompressed{_quote(reason)}.")


def ssl_context(connection: Connection) -> ssl.SSLContext:
    """Return the certificates that a connection trusts; making a context takes longer than a request.

    Raises:
        ConfigError: the file named by `verify` cannot be loaded.
    """
    verify = connection.verify
    if verify is False or not connection.base_url.startswith("https://"):
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


def _server(connection: Connection) -> str:
    return f"{connection.name} ({connection.base_url})"


def _quote(reason: BaseException | str) -> str:
    """Return `: what a system or library said`, without its number; empty where it said nothing."""
    text = _SOURCE.sub("", " ".join(redact(str(reason)).split()))
    words = (text.partition("] ")[2] or text)[:MOST_QUOTED].rstrip("^. ")  # ^ points at a byte above it
    return f": {words}" if words else ""
