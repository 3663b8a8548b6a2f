"""Endpoints by name, the session's defaults, and the only place that holds keys.

A URL and its key always come as a pair from one source: arguments, else the environment, else
`.env` in the working directory. So a cloned repository's `.env` can never send a key from the
environment somewhere else.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigError
from .keys import KeyFilter, Secret, redact, redact_data
from .urls import normalise, origin, split

__all__ = [
    "Connection",
    "Defaults",
    "KeyFilter",
    "aliases",
    "configure",
    "connect",
    "default_model",
    "endpoints",
    "first_answer_note",
    "forget",
    "normalise",
    "nothing_leaves",
    "redact",
    "redact_data",
    "remember_model",
    "resolve",
    "use",
]

HELIX_ROOT = "https://app.tryhelix.ai"
RESERVED = ("helix", "local", "demo")
_TIMEOUTS = ("connect_timeout_s", "first_byte_timeout_s", "idle_timeout_s")
_SETTINGS = ("profile", "app_id", *_TIMEOUTS, "retries", "headers", "verify", "rpm", "tpm", "concurrency")


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

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    def authorization(self) -> dict[str, str]:
        """The Authorization header, or nothing when there is no key."""
        return {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}

    def identity(self, salt: bytes) -> str:
        """The endpoint's part of a request's identity; the key enters only as a salted digest."""
        digest = hashlib.blake2b(self._key.reveal().encode(), key=salt[:64]).hexdigest() if self._key else ""
        extra = [f"{name}={value}" for name, value in sorted(self.settings.items()) if name == "revision"]
        return "\n".join([self.base_url, self.profile, self.app_id or "", digest, *extra])


@dataclass
class Session:
    """The defaults of this kernel: which endpoint is current, which model each one uses."""

    endpoints: dict[str, Connection] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    current: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    announced: bool = False
    nothing_leaves: bool = False


@dataclass(frozen=True)
class Defaults:
    """What `hx.use()` reports: the current endpoint, its model, and every endpoint known."""

    endpoint: str
    model: str | None
    base_url: str
    key: str | None
    endpoints: tuple[str, ...]

    def __repr__(self) -> str:
        model = self.model or "chosen by the endpoint"
        key = f"key from {self.key}" if self.key else "no key"
        known = ", ".join(self.endpoints)
        return f"endpoint: {self.endpoint} ({self.base_url}, {key})\nmodel: {model}\nendpoints: {known}"


_session = Session()


def connect(
    url: str, *, key: str | None = None, key_env: str | None = None, name: str | None = None, **settings: Any
) -> Connection:
    """Register an OpenAI-compatible endpoint, make it current and return it.

    Args:
        url: its root, or the root with `/v1` or `/api/v1`; a path prefix is kept.
        key: the key itself; better `key_env`, the name of the environment variable that holds it.
            Without either no key is ever sent.
        name: how to call it (default: the host). "helix", "local" and "demo" are taken.
        **settings: `profile` ("helix", "openai"), `app_id`, `connect_timeout_s` (10),
            `first_byte_timeout_s` (300), `idle_timeout_s` (120), `retries` (3), `headers`,
            `verify`, and the limits `rpm`, `tpm`, `concurrency`.

    Raises:
        ConfigError: the URL, the name or a setting is not usable; nothing is registered.

    >>> import helix_nb as hx
    >>> hx.connect("http://127.0.0.1:8000", name="lab").base_url
    'http://127.0.0.1:8000/v1'
    >>> hx.use(endpoint="demo").endpoint
    'demo'
    """
    parts = split(url)
    _texts(key=key, key_env=key_env, name=name, app_id=settings.get("app_id"), model=settings.get("model"))
    name = name or parts.hostname or "endpoint"
    if name in RESERVED:
        raise ConfigError(f"The name {name!r} is reserved; give the endpoint another with name=.")
    if key is not None and key_env is not None:
        raise ConfigError("Give key= or key_env=, not both.")
    secret, hint = _key_of(key, key_env)
    if parts.password:
        raise ConfigError("Leave user and password out of the URL; pass key= or headers= instead.")
    connection = Connection(name, normalise(url), _key=secret, key_hint=hint, profile=_profile(parts))
    model = settings.pop("model", None)
    connection = _with_settings(connection, settings)
    _session.endpoints[name] = connection
    _session.models.pop(name, None)
    if model:
        _session.models[name] = model
    _session.current = name
    return connection


def use(model: str | None = None, endpoint: str | None = None) -> Defaults:
    """Set this session's default model and endpoint; with nothing, report them.

    Each endpoint remembers its own default model. Chats, panels and frames that name no endpoint
    follow at their next send.

    Raises:
        ConfigError: no endpoint has that name.

    >>> import helix_nb as hx
    >>> hx.use("demo", endpoint="demo").model
    'demo'
    """
    _texts(model=model)
    if endpoint is not None:
        _session.current = resolve(endpoint).name
    connection = resolve(None)
    if model is not None:
        _session.models[connection.name] = model
    return Defaults(
        connection.name,
        default_model(connection),
        connection.base_url,
        connection.key_hint,
        tuple(endpoints()),
    )


def resolve(endpoint: str | Connection | None) -> Connection:
    """Return the endpoint of that name; None is the current one."""
    if isinstance(endpoint, Connection):
        return endpoint
    if endpoint is not None and not isinstance(endpoint, str):
        raise ConfigError(f"endpoint= takes a name or a connection, not {type(endpoint).__name__}.")
    if endpoint and "://" in endpoint:
        return Connection(split(endpoint).netloc, normalise(endpoint), profile=_profile(split(endpoint)))
    known, wrong = _known()
    name = endpoint or _session.current or ("helix" if wrong else next(iter(known)))
    if name in known:
        return known[name]
    if name == "helix" and wrong is not None:
        raise wrong
    if name == "helix":
        raise ConfigError("Helix is not configured: set HELIX_API_KEY (and HELIX_URL for your own server).")
    close = difflib.get_close_matches(name, known, 1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"No endpoint is called {name!r}.{guess} Known: {', '.join(known)}.")


def endpoints() -> dict[str, Connection]:
    """Every endpoint known now, by name; the first is the default when none was chosen."""
    return _known()[0]


def _known() -> tuple[dict[str, Connection], ConfigError | None]:
    """The endpoints, and what is wrong with the configuration of Helix: no reason to refuse the others."""
    helix, wrong = None, None
    try:
        helix = _helix()
    except ConfigError as error:
        wrong = error
    known = {"helix": helix} if helix else {}
    known |= {name: c for name, c in _session.endpoints.items() if name not in RESERVED}
    known["demo"] = _builtin("demo")
    known["local"] = _builtin("local")
    if nothing_leaves():
        known.setdefault("helix", Connection("helix", normalise(HELIX_ROOT), profile="helix"))
    return known, wrong


def nothing_leaves(always: bool | None = None) -> bool:
    """Whether replay answers everything, so that no key is needed; a bool sets it for this process."""
    if always is not None:
        _session.nothing_leaves = always
    return _session.nothing_leaves or os.environ.get("HELIX_NB_REPLAY", "").startswith("only")


def configure(name: str, **settings: Any) -> Connection:
    """Change settings of a known endpoint, the built-in ones included, and return it."""
    connection = _with_settings(resolve(name), settings)
    _session.endpoints[name] = connection
    return connection


def _builtin(name: str) -> Connection:
    return _session.endpoints.get(name) or Connection(name, name, kind=name, profile=name)


def default_model(connection: Connection) -> str | None:
    """The model to ask for when none is named; None leaves the choice to the endpoint."""
    chosen = _session.models.get(connection.name)
    return chosen or ("demo" if connection.kind == "demo" else None)


def remember_model(connection: Connection, model: str) -> None:
    """Keep a model found out from the endpoint as its default, unless the user chose one."""
    _session.models.setdefault(connection.name, model)


def forget() -> None:
    """Forget every endpoint connected, default chosen and alias made; configuration is read anew."""
    global _session
    _session = Session()


def aliases() -> dict[str, str]:
    """Short names of models (`%helix alias`), by name."""
    return _session.aliases


def first_answer_note(connection: Connection, *, named: bool) -> str | None:
    """What the first answer of a kernel that has nothing configured should say, once."""
    if connection.kind != "demo" or named or _session.current is not None or _session.announced:
        return None
    _session.announced = True
    return (
        "Nothing is configured, so the embedded demo endpoint answered: canned text, not a model. "
        "Set HELIX_API_KEY, or hx.connect(url, key_env=...), to talk to a real one."
    )


def _profile(parts: SplitResult) -> str:
    helix = urlsplit(HELIX_ROOT).hostname
    return "helix" if parts.hostname == helix or origin(parts) == _configured_origin() else "openai"


def _configured_origin() -> tuple[str, str | None, int | None] | None:
    try:
        return origin(split(os.environ["HELIX_URL"]))
    except (KeyError, ConfigError):  # asking Helix itself says what is wrong with it
        return None


def _helix_url(url: str, source: str) -> SplitResult:
    try:
        return split(url)
    except ConfigError as error:
        raise ConfigError(f"HELIX_URL, from {source}: {error}") from None


def _key_of(key: str | None, key_env: str | None) -> tuple[Secret, str | None]:
    if key_env is not None:
        value = os.environ.get(key_env)
        if not value and nothing_leaves():
            return Secret(), None
        if not value:
            raise ConfigError(f"The environment variable {key_env} is not set; nothing was connected.")
        return Secret(value, key_env), f"the environment ({key_env})"
    return (Secret(key), "an argument") if key else (Secret(), None)


def _with_settings(connection: Connection, settings: Mapping[str, Any]) -> Connection:
    known = {name: value for name, value in settings.items() if name in Connection.__dataclass_fields__}
    extra = {name: value for name, value in settings.items() if name not in known}
    allowed = {
        *_SETTINGS,
        *(("revision", "idle_unload_s", "cache_bytes", "memory_bytes") if connection.kind == "local" else ()),
    }
    for name in settings:
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, 1)
            guess = f" Did you mean {close[0]}?" if close else f" Known: {', '.join(sorted(allowed))}."
            raise ConfigError(f"An endpoint has no setting {name!r}.{guess}")
    for name in _TIMEOUTS:
        _positive(name, known)
    retries = known.get("retries", 0)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ConfigError(f"retries is a whole number from 0 up, not {retries!r}.")
    if "headers" in known:
        known["headers"] = _headers(known["headers"])
    return replace(connection, **known, settings={**connection.settings, **extra})


def _positive(name: str, settings: Mapping[str, Any]) -> None:
    value = settings.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{name} is a number of seconds above 0, not {value!r}.")


def _texts(**given: object) -> None:
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{name}= takes text, not {type(value).__name__}.")


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else [("", None)]
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in pairs):
        raise ConfigError('headers= takes names and texts, such as {"X-Team": "hut"}.')
    for name, value in headers.items():
        if name.lower() in ("authorization", "api-key", "x-api-key", "cookie"):
            Secret(value.removeprefix("Bearer ").strip())  # known from now on, so that it is redacted
    return dict(headers)


def _helix() -> Connection | None:
    """Helix as the environment, else `.env`, describes it; URL and key come from the same one."""
    found = None
    for source, values in ((".env", _dotenv()), ("the environment", os.environ)):
        url, key = values.get("HELIX_URL"), values.get("HELIX_API_KEY")
        secret = Secret(key, "HELIX_API_KEY" if source != ".env" else None)
        if url or key:
            found = (source, url, secret)
    if found is None:
        return None
    source, url, secret = found
    base = _session.endpoints.get("helix") or Connection("helix", "", profile="helix")
    return replace(
        base,
        base_url=normalise(_helix_url(url, source).geturl() if url else HELIX_ROOT),
        _key=secret,
        key_hint=source if secret else None,
        verify=_verify(base.verify),
    )


def _verify(configured: bool | str) -> bool | str:
    if os.environ.get("HELIX_TLS_SKIP_VERIFY", "").lower() not in ("1", "true", "yes"):
        return configured
    warnings.warn("HELIX_TLS_SKIP_VERIFY is set: the server's certificate is not checked.", stacklevel=2)
    return False


def _dotenv() -> Mapping[str, str | None]:
    path = Path(".env").absolute()
    try:
        stat = path.stat()
        return _parsed_dotenv(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError):
        return {}


@lru_cache(maxsize=4)
def _parsed_dotenv(path: Path, _changed_ns: int, _size: int) -> Mapping[str, str | None]:
    from dotenv import dotenv_values

    return dotenv_values(path, interpolate=False)
