"""The libraries that carry requests, and the choice among them: aiohttp where it can, httpx through proxies.

Inside, imports run aiohttp > aiohttp_connector, and aiohttp, httpx > base; this file chooses.
"""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ...config.connection import Connection
from ...config.urls import is_loopback
from .base import Transport


def transport_for(connection: Connection, url: str) -> Transport:
    """Return what carries the requests of a connection; `url` is where they go."""
    direct = _is_direct(url)
    library = connection.carrier or ("aiohttp" if direct else "httpx")
    if library == "aiohttp" and find_spec("aiohttp") is not None:
        from .aiohttp import AiohttpTransport

        return AiohttpTransport(connection)
    from .httpx import HttpxTransport

    return HttpxTransport(connection, proxied=not direct)


def _is_direct(url: str) -> bool:
    """Return whether no proxy stands between here and a URL, as environment and system say."""
    parts, proxies = urlsplit(url), getproxies()
    # A proxy cannot reach this machine's own address on our behalf.
    if is_loopback(parts.hostname) or not (proxies.get(parts.scheme) or proxies.get("all")):
        return True
    return bool(proxy_bypass(parts.netloc))
