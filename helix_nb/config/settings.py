"""The settings of `hx.connect`, each with its check.

A setting is checked when it is set: else it would fail, or be ignored, only once a request is sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from ..errors import ConfigError
from ..redaction import register_key
from ..text import did_you_mean
from .profiles import profile_named
from .secrets import Secret

CARRIERS = ("aiohttp", "httpx", None)
_HOLDS_A_KEY = re.compile(r"auth|key|token|secret|cookie|passw", re.IGNORECASE)

Check = Callable[[str, Any], object]


def check_settings(settings: Mapping[str, Any], *, local: bool) -> None:
    """Refuse a setting that an endpoint does not have, or a value that would not do."""
    checks = _LOCAL if local else _REMOTE
    for name in settings:
        if name not in checks:
            guess = did_you_mean(name, checks, f"Known: {', '.join(sorted(checks))}.", shown="{}")
            raise ConfigError(f"An endpoint has no setting {name!r}.{guess}")
    for name, value in settings.items():
        checks[name](name, value)


def require_text(**arguments: object) -> None:
    """Refuse an argument that is neither a text nor None."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{name}= takes text, not {type(value).__name__}.")


def split_headers(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Secret]]:
    """Return the headers that may be shown, and those that hold a key."""
    secret = {name for name, value in headers.items() if _HOLDS_A_KEY.search(name) and value.strip()}
    for name in secret:
        _register_parts(name, headers[name])
    shown = {name: value for name, value in headers.items() if name not in secret}
    return shown, {name: Secret(value) for name, value in headers.items() if name in secret}


def _register_parts(name: str, value: str) -> None:
    """Redact also what stands after "Bearer", and each cookie's value."""
    is_cookie = "cookie" in name.lower()
    for part in value.split(";") if is_cookie else value.split()[1:]:
        register_key(part.partition("=")[2].strip() if is_cookie else part)


def _check(fits: Callable[[Any], bool], expected: str) -> Check:
    """Make a check that says what was expected where a value does not fit."""

    def check(name: str, value: Any) -> None:
        if not fits(value):
            raise ConfigError(f"{name} {expected}, not {value!r}.")

    return check


def _is_number(value: Any, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_text(name: str, value: Any) -> None:
    require_text(**{name: value})


def _check_headers(_name: str, headers: Any) -> None:
    pairs = headers.items() if isinstance(headers, Mapping) else [(None, None)]
    if not all(isinstance(text, str) for pair in pairs for text in pair):
        raise ConfigError('headers= takes names and texts, such as {"X-Team": "hut"}.')


def _check_certificates(_name: str, verify: Any) -> None:
    if isinstance(verify, bool):
        return
    if not isinstance(verify, str | os.PathLike) or not str(verify).strip():
        raise ConfigError("verify= is True, False, or the path of a file with certificates.")
    import ssl

    try:
        ssl.create_default_context(cafile=os.fspath(verify))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"The certificates in verify={str(verify)!r} cannot be loaded: {error}.") from None


_SECONDS = _check(lambda value: _is_number(value) and value > 0, "is a number of seconds above 0")
_LIMIT = _check(
    lambda value: value is None or (_is_number(value) and value > 0), "is a number above 0, or None"
)
_COMMON: dict[str, Check] = {
    "retries": _check(
        lambda value: _is_number(value, Integral) and value >= 0, "is a whole number from 0 up"
    ),
    "rpm": _LIMIT,
    "tpm": _LIMIT,
    "concurrency": _LIMIT,
}
_REMOTE: dict[str, Check] = {
    **_COMMON,
    "profile": lambda _name, value: profile_named(value),
    "app_id": _check_text,
    "connect_timeout_s": _SECONDS,
    "first_byte_timeout_s": _SECONDS,
    "idle_timeout_s": _SECONDS,
    "headers": _check_headers,
    "verify": _check_certificates,
    "carrier": _check(lambda value: value in CARRIERS, 'is "aiohttp", "httpx" or None (whichever suits)'),
}
_LOCAL: dict[str, Check] = {
    **_COMMON,
    "revision": _check_text,
    "idle_unload_s": _check(
        lambda value: _is_number(value) and value >= 0, "is a number of seconds from 0 up"
    ),
    "cache_bytes": _LIMIT,
    "memory_bytes": _LIMIT,
}
