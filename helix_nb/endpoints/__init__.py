"""The seam: one try at one answer, whoever gives it. A Request goes in, Deltas come out.

Everything above knows only `Endpoint`; tests and users may put their own in its place.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol

from ..config import Connection
from ..messages import Request
from ..replies import Delta
from ..runtime import at_exit


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model an endpoint serves, as far as it says; None is unknown."""

    id: str
    size_bytes: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    note: str | None = None


class Endpoint(Protocol):
    """Whatever answers requests: a server over HTTP, a local model, a replay of the log."""

    connection: Connection

    def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Make one try and yield its deltas; raises HelixError.

        The first delta carries `http_status`, a complete answer has a delta that is `finished`,
        and an iterator that ends without one was cut. Closing the iterator closes the socket.
        """
        ...

    async def models(self) -> list[ModelInfo]:
        """List what the endpoint serves; raises HelixError."""
        ...

    def wire(self, request: Request) -> dict[str, Any]:
        """Return the request as it would be sent, without any key; ConfigError if it cannot be."""
        ...

    async def aclose(self) -> None:
        """Close idle connections, and every other one once its answer ends."""
        ...


_open: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Endpoint]] = weakref.WeakKeyDictionary()
_closing: set[asyncio.Future[None]] = set()  # a loop holds its tasks only weakly


def endpoint_for(connection: Connection) -> Endpoint:
    """Return the endpoint behind a connection, the same one for every request on the running loop."""
    try:
        endpoints = _open.setdefault(asyncio.get_running_loop(), {})
    except RuntimeError:  # no loop runs here: good enough for `wire`
        return _make(connection)
    known = endpoints.get(connection.name)
    if known is not None and known.connection == connection:
        return known
    if known is not None:
        closing = asyncio.ensure_future(known.aclose())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
    endpoints[connection.name] = _make(connection)
    return endpoints[connection.name]


def _make(connection: Connection) -> Endpoint:
    if connection.kind == "local":
        from .mlx import LocalEndpoint

        return LocalEndpoint(connection)
    from .completions import Completions

    return Completions(connection)


async def _close_all() -> None:
    for endpoint in list(_open.get(asyncio.get_running_loop(), {}).values()):
        await endpoint.aclose()


at_exit(_close_all)
