"""URLs of endpoints: checked as people write them, and brought into the one form used elsewhere."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigError
from ..redaction import redact

API_SUFFIXES = ("/chat/completions", "/models", "/api/v1", "/v1")
UNDER_API = ("openrouter.ai",)  # serve their API at /api/v1 only; Helix's /api/v1 means its /v1


def normalise_url(url: str) -> str:
    """Return ROOT/v1 for a root, `/v1` or `/api/v1`, prefix kept, without user, query or fragment.

    >>> normalise_url("https://app.tryhelix.ai/")
    'https://app.tryhelix.ai/v1'
    """
    parts = split_url(url)
    path = parts.path.rstrip("/")
    for suffix in API_SUFFIXES:
        if suffix != "/api/v1" or parts.hostname not in UNDER_API:
            path = path.removesuffix(suffix).rstrip("/")
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host}{path}/v1"


def split_url(url: str) -> SplitResult:
    """Split an http(s) URL with a host into its parts; ConfigError says what the URL lacks."""
    if not isinstance(url, str) or not url.strip():
        raise ConfigError("An endpoint needs a URL, such as https://app.tryhelix.ai/v1.")
    url = url.strip()
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket too few, say
        parts = SplitResult("", "", "", "", "")
    host = parts.hostname or ""
    host_is_odd = not host or any(sign.isspace() or sign in "\"'<>\\" for sign in host)
    if parts.scheme not in ("http", "https") or host_is_odd:
        shown = redact(url.rpartition("@")[2].partition("?")[0])
        raise ConfigError(f"{shown!r} is not a URL: it needs http:// or https:// and a host.")
    try:
        parts.port  # noqa: B018 - the property raises on a port that is none
    except ValueError:
        raise ConfigError(f"The port in {host!r}'s URL is not a number up to 65535.") from None
    return parts


def split_server_url(url: str) -> SplitResult:
    """Split the URL of an endpoint; ConfigError also where it holds a user or a password."""
    parts = split_url(url)
    if parts.username or parts.password:
        raise ConfigError("Leave user and password out of the URL; hx.connect takes key_env= or headers=.")
    return parts


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or address is this machine's own.

    >>> is_loopback("localhost"), is_loopback("127.0.1.1"), is_loopback("example.org")
    (True, True, False)
    """
    return host is not None and (host in ("localhost", "::1") or host.startswith("127."))


def url_origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port: the server that a key may be sent to."""
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
