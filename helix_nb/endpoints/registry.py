"""The endpoints that are open: one per connection and event loop."""

from __future__ import annotations

import asyncio
import weakref

from ..config.connection import Connection
from ..runtime.loop import at_exit
from .base import Endpoint

_open: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Endpoint]] = weakref.WeakKeyDictionary()
_closing: set[asyncio.Future[None]] = set()  # a loop holds its tasks only weakly


def endpoint_for(connection: Connection) -> Endpoint:
    """Return the endpoint behind a connection, the same one for every request on the running loop.

    One that is open under the same name with other settings is closed once its answers end.
    """
    try:
        endpoints = _open.setdefault(asyncio.get_running_loop(), {})
    except RuntimeError:  # no loop runs here: good enough for `wire`
        return _make(connection)
    endpoint = endpoints.get(connection.name)
    if endpoint is not None and endpoint.connection == connection:
        return endpoint
    if endpoint is not None:
        closing = asyncio.ensure_future(endpoint.aclose())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
    endpoints[connection.name] = _make(connection)
    return endpoints[connection.name]


def _make(connection: Connection) -> Endpoint:
    if connection.kind == "local":
        from .local.endpoint import LocalEndpoint

        return LocalEndpoint(connection)
    from .openai.endpoint import OpenAIEndpoint

    return OpenAIEndpoint(connection)


async def _close_all() -> None:
    for endpoint in list(_open.get(asyncio.get_running_loop(), {}).values()):
        await endpoint.aclose()


at_exit(_close_all)
