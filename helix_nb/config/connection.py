"""An endpoint as configured: where it is, how to talk to it, and a check of each setting."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

from ..errors import ConfigError
from ..redaction import register_key
from ..text import did_you_mean
from .profiles import profile_named
from .secrets import Secret

CARRIERS = ("aiohttp", "httpx", None)
_TIMEOUTS = ("connect_timeout_s", "first_byte_timeout_s", "idle_timeout_s")
_LIMITS = ("rpm", "tpm", "concurrency")
_REMOTE = ("profile", "app_id", *_TIMEOUTS, "retries", "headers", "verify", "carrier", *_LIMITS)
_LOCAL = ("revision", "idle_unload_s", "cache_bytes", "memory_bytes", "retries", *_LIMITS)
_HOLDS_A_KEY = re.compile(r"auth|key|token|secret|cookie|passw", re.IGNORECASE)


@dataclass(frozen=True)
class Connection:
    """An endpoint as configured: where it is, how to talk to it, how long to wait. Shows no key.

    Timeouts are seconds: `connect_timeout_s` to reach the server, `first_byte_timeout_s` from the
    request to the first byte of an answer, `idle_timeout_s` between two bytes. `retries` is how
    often a request is tried again before any of its answer has arrived.
    """

    name: str
    base_url: str
    kind: str = "remote"
    profile: str = "openai"
    app_id: str | None = None
    connect_timeout_s: float = 10.0
    first_byte_timeout_s: float = 300.0
    idle_timeout_s: float = 120.0
    retries: int = 3
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    verify: bool | str = True
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    key_hint: str | None = None
    _key: Secret = field(default_factory=Secret, repr=False)
    _secret_headers: Mapping[str, Secret] = field(default_factory=dict, repr=False, hash=False)

    @property
    def has_key(self) -> bool:
        return bool(self._key or self._secret_headers)

    @property
    def key_source(self) -> str | None:
        """Where the key comes from, in words; None when there is none."""
        header = next(iter(self._secret_headers), None)
        return self.key_hint or (f"the header {header}" if header else None)

    def authorization(self) -> dict[str, str]:
        """The headers that hold a key: none, `Authorization`, or what `headers=` named."""
        held = {name: value.reveal() for name, value in self._secret_headers.items()}
        if not self._key:
            return held
        others = {name: value for name, value in held.items() if name.lower() != "authorization"}
        return {**others, "Authorization": f"Bearer {self._key.reveal()}"}

    def identity(self, salt: bytes, model: str | None = None) -> str:
        """Return the endpoint's part of a request's identity; the key enters only as a salted digest.

        Of a local `model` it holds the folder that its name means now: the same relative path means
        another model elsewhere.
        """
        secrets = [f"{name}: {value.reveal()}" for name, value in sorted(self._secret_headers.items())]
        keys = "\n".join([self._key.reveal(), *secrets]) if self.has_key else ""
        digest = hashlib.blake2b(keys.encode(), key=salt[:64]).hexdigest() if keys else ""
        facts = [f"revision={self.settings['revision']}"] if "revision" in self.settings else []
        if self.kind == "local" and model is not None:
            facts += _folder_of(model)
        return "\n".join([self.base_url, self.profile, self.app_id or "", digest, *facts])


def _folder_of(model: str) -> list[str]:
    path = os.path.expanduser(model)  # noqa: PTH111 - any text may stand here, and this never raises
    return [f"folder={os.path.realpath(path)}"] if os.path.isdir(path) else []  # noqa: PTH112 - nor this


def with_settings(connection: Connection, settings: Mapping[str, Any]) -> Connection:
    """The same endpoint with other settings; ConfigError says which one is wrong, and how."""
    _known(settings, _LOCAL if connection.kind == "local" else _REMOTE)
    for name, value in settings.items():
        _checked(name, value)
    changed = dict(settings)
    if "headers" in changed:
        changed["headers"], changed["_secret_headers"] = _parted(changed["headers"])
        if connection._key and "authorization" in map(str.lower, changed["_secret_headers"]):
            raise ConfigError("Give a key or an Authorization header, not both.")
    if isinstance(changed.get("verify"), os.PathLike):
        changed["verify"] = os.fspath(changed["verify"])
    fields = {name: value for name, value in changed.items() if name in Connection.__dataclass_fields__}
    extra = {name: value for name, value in changed.items() if name not in fields}
    return replace(connection, **fields, settings={**connection.settings, **extra})


def _known(settings: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in settings:
        if name not in allowed:
            known = f"Known: {', '.join(sorted(allowed))}."
            guess = did_you_mean(name, allowed, known, shown="{}")
            raise ConfigError(f"An endpoint has no setting {name!r}.{guess}")


def _checked(name: str, value: Any) -> None:
    """Refuse a value that would fail, or be ignored, only once a request is sent."""
    if name in ("app_id", "revision"):
        text_or_none(**{name: value})
    elif name in _TIMEOUTS and not _number(value, above=True):
        raise ConfigError(f"{name} is a number of seconds above 0, not {value!r}.")
    elif name == "idle_unload_s" and not _number(value):
        raise ConfigError(f"{name} is a number of seconds from 0 up, not {value!r}.")
    elif name == "retries" and (isinstance(value, bool) or not isinstance(value, Integral) or value < 0):
        raise ConfigError(f"{name} is a whole number from 0 up, not {value!r}.")
    elif name in (*_LIMITS, "cache_bytes", "memory_bytes"):
        if value is not None and not _number(value, above=True):
            raise ConfigError(f"{name} is a number above 0, or None, not {value!r}.")
    elif name == "profile":
        profile_named(value)
    elif name == "carrier" and value not in CARRIERS:
        raise ConfigError(f'carrier is "aiohttp", "httpx" or None (whichever suits), not {value!r}.')
    elif name == "verify":
        _loads(value)


def _number(value: Any, *, above: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    number = float(value)
    return number > 0 or (number == 0 and not above)


def text_or_none(**given: object) -> None:
    """Refuse what is neither a text nor None."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{name}= takes text, not {type(value).__name__}.")


def _loads(verify: Any) -> None:
    if isinstance(verify, bool):
        return
    if not isinstance(verify, str | os.PathLike) or not str(verify).strip():
        raise ConfigError("verify= is True, False, or the path of a file with certificates.")
    import ssl

    try:
        ssl.create_default_context(cafile=os.fspath(verify))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"The certificates in verify={str(verify)!r} cannot be loaded: {error}.") from None


def _parted(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Secret]]:
    """Headers as they may be shown, and those that hold a key."""
    pairs = headers.items() if isinstance(headers, Mapping) else [("", None)]
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in pairs):
        raise ConfigError('headers= takes names and texts, such as {"X-Team": "hut"}.')
    plain, secret = {}, {}
    for name, value in headers.items():
        if _HOLDS_A_KEY.search(name) and value.strip():
            secret[name] = Secret(value)
            _remember_parts(name, value)
        else:
            plain[name] = value
    return plain, secret


def _remember_parts(name: str, value: str) -> None:
    """Redact also what stands after "Bearer", and each cookie's value."""
    if "cookie" in name.lower():
        parts = [pair.partition("=")[2].strip() for pair in value.split(";")]
    else:
        parts = value.split()[1:]
    for part in parts:
        register_key(part)
