"""Endpoints by name: those that are configured, connected or built in, and which one is current.

A URL and its key always come as a pair from one source: arguments, else the environment, else
`.env` in the working directory. A Connection carries the key, the Session holds the
connections, and nothing else knows any key.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import ConfigError
from ..text import did_you_mean
from .connection import Connection
from .environment import HELIX_ROOT, helix_connection, profile_of, register_keys
from .secrets import Secret
from .session import Defaults, known_default_model, replay_only, session
from .settings import require_text
from .urls import normalise_url, split_server_url

RESERVED = ("helix", "local", "demo")


def connect(
    url: str, *, key: str | None = None, key_env: str | None = None, name: str | None = None, **settings: Any
) -> Connection:
    """Register an OpenAI-compatible endpoint, make it current and return it.

    Args:
        url: its root, or the root with `/v1` or `/api/v1`; a path prefix is kept. Or "helix",
            "local" or "demo": then that one gets the settings named, and keeps the others.
        key: the key itself; better `key_env`, the name of the environment variable that holds it.
            Without either, and without a header that holds one, no key is ever sent.
        name: how to call it (default: the host). "helix", "local" and "demo" are taken.
        **settings: `profile` ("helix", "openai"), `app_id`, `model` (its default),
            `connect_timeout_s` (10), `first_byte_timeout_s` (300), `idle_timeout_s` (120),
            `retries` (3), `headers` (values of those named like a key are never shown), `verify`
            (True, False or a file of certificates), `carrier` ("aiohttp", which heeds no proxy, or
            "httpx": the library that sends; None, whichever suits), and the limits `rpm`, `tpm`,
            `concurrency`.
            Of "local": `revision` of a Hub id, `idle_unload_s` (900; 0 never unloads),
            `cache_bytes` for prompts used again, `memory_bytes` a model may need without a warning.

    Raises:
        ConfigError: the URL, the name or a setting is not usable; nothing is registered.

    >>> import helix_nb as hx
    >>> hx.connect("http://127.0.0.1:8000", name="lab").base_url
    'http://127.0.0.1:8000/v1'
    >>> hx.connect("demo", retries=0).name
    'demo'
    """
    register_keys()
    model = settings.pop("model", None)
    require_text(key=key, key_env=key_env, name=name, model=model)
    if url in RESERVED:
        connection = _connect_built_in(url, settings, key or key_env, name)
    else:
        connection = _connect_remote(url, key, key_env, name, settings)
        session().configured_models.pop(connection.name, None)
        session().discovered_models.pop(connection.name, None)
    session().endpoints[connection.name] = connection
    if model:
        session().configured_models[connection.name] = model
    session().current = connection.name
    return connection


def _connect_built_in(which: str, settings: dict[str, Any], key: str | None, name: str | None) -> Connection:
    if name not in (None, which):
        raise ConfigError(f"{which} keeps its name; leave name= out.")
    if key:
        where = "set HELIX_API_KEY instead" if which == "helix" else "it needs none"
        raise ConfigError(f"{which} takes no key here: {where}.")
    return resolve(which).with_settings(settings)


def _connect_remote(
    url: str, key: str | None, key_env: str | None, name: str | None, settings: dict[str, Any]
) -> Connection:
    parts = split_server_url(url)
    name = (name or parts.hostname or "endpoint").strip()
    if name in RESERVED:
        raise ConfigError(f"The name {name!r} is reserved; give the endpoint another with name=.")
    if not name or "://" in name:
        raise ConfigError(f"An endpoint cannot be called {name!r}; give it a word of its own with name=.")
    if key is not None and key_env is not None:
        raise ConfigError("Give key= or key_env=, not both.")
    secret, hint = _secret_of(key, key_env)
    connection = Connection(name, normalise_url(url), _key=secret, key_hint=hint, profile=profile_of(parts))
    return connection.with_settings(settings)


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
    require_text(model=model)
    if endpoint is not None:
        chosen = resolve(endpoint)
        if chosen.name not in (*RESERVED, *session().endpoints):
            session().endpoints[chosen.name] = chosen
        session().current = chosen.name
    connection = resolve(None)
    if model is not None:
        session().configured_models[connection.name] = model.strip()
    return Defaults(
        connection.name,
        known_default_model(connection),
        connection.base_url,
        connection.key_source,
        tuple(endpoints()),
    )


def resolve(endpoint: str | Connection | None) -> Connection:
    """Return the endpoint of a name or at a URL; None is the current one. ConfigError where there is none."""
    register_keys()
    if isinstance(endpoint, Connection):
        return endpoint
    if endpoint is not None and not isinstance(endpoint, str):
        raise ConfigError(f"endpoint= takes a name or a connection, not {type(endpoint).__name__}.")
    if endpoint and "://" in endpoint:
        parts = split_server_url(endpoint)
        return Connection(parts.netloc.lower(), normalise_url(endpoint), profile=profile_of(parts))
    available, helix_error = _available()
    name = endpoint or session().current or ("helix" if helix_error else next(iter(available)))
    if name in available:
        return available[name]
    if name == "helix" and helix_error is not None:
        raise helix_error
    if name == "helix":
        raise ConfigError("Helix is not configured: set HELIX_API_KEY (and HELIX_URL for your own server).")
    guess = did_you_mean(name, available)
    raise ConfigError(f"No endpoint is called {name!r}.{guess} Known: {', '.join(available)}.")


def endpoints() -> dict[str, Connection]:
    """Return every endpoint there is now, by name; the first is the default when none was chosen."""
    return _available()[0]


def _available() -> tuple[dict[str, Connection], ConfigError | None]:
    """Return the endpoints, and the error in Helix's configuration, because the others work without it."""
    helix, helix_error = None, None
    try:
        helix = helix_connection(session().endpoints.get("helix"))
    except ConfigError as error:
        helix_error = error
    available = {"helix": helix} if helix else {}
    available |= {name: c for name, c in session().endpoints.items() if name not in RESERVED}
    available |= {name: _built_in(name) for name in ("demo", "local")}
    if replay_only():
        available.setdefault("helix", Connection("helix", normalise_url(HELIX_ROOT), profile="helix"))
    return available, helix_error


def configure(name: str, **settings: Any) -> Connection:
    """Change settings of a known endpoint, the built-in ones included, and return it."""
    connection = resolve(name).with_settings(settings)
    session().endpoints[name] = connection
    return connection


def _built_in(name: str) -> Connection:
    return session().endpoints.get(name) or Connection(name, name, kind=name, profile=name)


def _secret_of(key: str | None, key_env: str | None) -> tuple[Secret, str | None]:
    if key_env is not None:
        value = os.environ.get(key_env)
        if not value and replay_only():
            return Secret(), None
        if not value:
            raise ConfigError(f"The environment variable {key_env} is not set; nothing was connected.")
        return Secret(value, key_env), f"the environment ({key_env})"
    return (Secret(key), "an argument") if key else (Secret(), None)
