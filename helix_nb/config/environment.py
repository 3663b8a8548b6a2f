"""Helix as configured by the environment, else by `.env` in the working directory.

A URL and its key come from the same one of the two: a cloned repository's `.env` can never send a
key from the environment somewhere else.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigError
from ..redaction import register_key
from .connection import Connection
from .secrets import Secret
from .session import claim_notice
from .urls import normalise_url, split_url, url_origin

HELIX_ROOT = "https://app.tryhelix.ai"


def register_keys() -> None:
    """Redact the keys that are configured here, also where another endpoint is asked."""
    for values in (_dotenv(), os.environ):
        register_key((values.get("HELIX_API_KEY") or "").strip())


def helix_connection(base: Connection | None) -> Connection | None:
    """Return Helix with the settings of `base`, or None when nothing configures it.

    ConfigError says what is wrong with HELIX_URL.
    """
    configured = _url_and_key()
    if configured is None:
        return None
    source, url, key = configured
    secret = Secret(key, None if source == ".env" else "HELIX_API_KEY")
    base = base or Connection("helix", "", profile="helix")
    return replace(
        base,
        base_url=normalise_url(_split_helix_url(url, source).geturl() if url else HELIX_ROOT),
        _key=secret,
        key_hint=source if secret else None,
        verify=_verify_unless_skipped(base.verify),
    )


def _url_and_key() -> tuple[str, str, str] | None:
    """Return where Helix is configured, and the URL and the key there, one of which may be empty."""
    for source, values in (("the environment", os.environ), (".env", _dotenv())):
        url, key = ((values.get(name) or "").strip() for name in ("HELIX_URL", "HELIX_API_KEY"))
        if url or key:
            return source, url, key
    return None


def _verify_unless_skipped(configured: bool | str) -> bool | str:
    if os.environ.get("HELIX_TLS_SKIP_VERIFY", "").lower() not in ("1", "true", "yes"):
        return configured
    if claim_notice("certificates"):
        warnings.warn("HELIX_TLS_SKIP_VERIFY is set: the server's certificate is not checked.", stacklevel=2)
    return False


def _dotenv() -> Mapping[str, str | None]:
    try:
        path = Path(".env").absolute()  # there may be no working directory any more
        stat = path.stat()
        return _read_dotenv(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError):
        return {}


@lru_cache(maxsize=4)
def _read_dotenv(path: Path, _changed_ns: int, _size: int) -> Mapping[str, str | None]:
    from dotenv import dotenv_values

    return dotenv_values(path, interpolate=False)


def profile_of(parts: SplitResult) -> str:
    """Return the profile of the server at a URL: "helix" for Helix itself and for HELIX_URL."""
    is_helix = parts.hostname == urlsplit(HELIX_ROOT).hostname
    return "helix" if is_helix or url_origin(parts) == _helix_origin() else "openai"


def _helix_origin() -> tuple[str, str | None, int | None] | None:
    try:
        return url_origin(split_url(os.environ["HELIX_URL"]))
    except (KeyError, ConfigError):  # asking Helix itself says what is wrong with it
        return None


def _split_helix_url(url: str, source: str) -> SplitResult:
    try:
        return split_url(url)
    except ConfigError as error:
        raise ConfigError(f"HELIX_URL, from {source}: {error}") from None
