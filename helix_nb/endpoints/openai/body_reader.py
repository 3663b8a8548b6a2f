"""The body of one response, read with no more patience than its connection allows."""

from __future__ import annotations

import time

from ...config.connection import Connection
from ...errors import ConnectionFailed, StreamFailed
from ..transports.base import Response, silence_error

MOST_ERROR_BYTES = 64 * 1024
MOST_LISTING_BYTES = 16 * 1024 * 1024
ERROR_BODY_S = 5.0
AFTER_FINISH_S = 5.0  # how long to wait for token counts once the answer is complete, whatever else comes
AFTER_DONE_S = 0.02  # usually only the end of the body is missing; with it the connection can be kept


class BodyReader:
    """Reads the body of a response; TimedOut where the server is silent for too long."""

    def __init__(self, connection: Connection, response: Response) -> None:
        self._connection, self._response = connection, response
        self._after_finish_s = min(connection.idle_timeout_s, AFTER_FINISH_S)

    async def first(self) -> bytes:
        """Return the first bytes of an answer, b"" where there are none."""
        return await self._read("first_byte_timeout_s", self._connection.first_byte_timeout_s)

    async def next(self) -> bytes:
        """Return the next bytes of an answer, b"" at its end."""
        return await self._read("idle_timeout_s", self._connection.idle_timeout_s)

    async def after_finish(self, *, done: bool) -> bytes:
        """Return the next bytes after a complete answer: its token counts, or b"" where silence ends it.

        Args:
            done: the server said `[DONE]`, so that nothing but the end of the body can follow.
        """
        limit_s, started = AFTER_DONE_S if done else self._after_finish_s, time.monotonic()
        try:
            return await self._response.read(limit_s) if limit_s > 0 else b""
        except TimeoutError:
            return b""
        finally:
            self._after_finish_s -= time.monotonic() - started

    async def listing(self, wait_s: float) -> bytes:
        """Return a whole list of models; ConnectionFailed where it ends too early."""
        body = b""
        while len(body) < MOST_LISTING_BYTES and (chunk := await self._read("first_byte_timeout_s", wait_s)):
            body += chunk
        if self._response.cut:
            raise ConnectionFailed(f"{self._connection.name} hung up before its list of models was whole.")
        return body

    async def error(self) -> bytes:
        """Return as much as comes in time of a body that explains an error: it is welcome, not needed."""
        body, wait_s = b"", min(self._connection.idle_timeout_s, ERROR_BODY_S)
        try:
            while len(body) < MOST_ERROR_BYTES and (chunk := await self._response.read(wait_s)):
                body += chunk
        except (TimeoutError, StreamFailed):
            pass
        return body[:MOST_ERROR_BYTES]

    async def _read(self, setting: str, limit_s: float) -> bytes:
        try:
            return await self._response.read(limit_s)
        except TimeoutError:
            raise silence_error(self._connection, setting, limit_s) from None
