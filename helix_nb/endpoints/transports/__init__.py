"""Which library carries the requests of a connection: aiohttp where it can, httpx through proxies."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ...config.connection import Connection
from .base import Transport


def transport_for(connection: Connection, url: str) -> Transport:
    """What will carry the requests of a connection; `url` is where they go."""
    direct = _direct(url)
    wanted = connection.carrier or ("aiohttp" if direct else "httpx")
    if wanted == "aiohttp" and find_spec("aiohttp") is not None:
        from .aiohttp import AiohttpTransport

        return AiohttpTransport(connection)
    from .httpx import HttpxTransport

    return HttpxTransport(connection, proxied=not direct)


def _direct(url: str) -> bool:
    """Whether no proxy stands between here and a URL, as environment and system say."""
    parts, proxies = urlsplit(url), getproxies()
    # A proxy cannot reach this machine's own address on our behalf.
    if _is_loopback(parts.hostname or "") or not (proxies.get(parts.scheme) or proxies.get("all")):
        return True
    return bool(proxy_bypass(parts.netloc))


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
