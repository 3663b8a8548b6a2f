"""`%helix`, `use`, `connect`, `models`, `alias`, `unload`: where questions go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config import registry
from ...config.session import aliases, known_default_model
from ...config.urls import is_loopback, split_server_url
from ...errors import ConfigError, HelixError
from ...text import printable
from ..display.surface import surface

if TYPE_CHECKING:
    import argparse

    import pandas as pd

    from ..session import NotebookSession


def status(session: NotebookSession) -> None:
    """Print where this session stands; never an error, whatever is wrong."""
    for line in (*_where(session), *_chats(session), *_asked()):
        print(printable(line))


def use(session: NotebookSession, found: argparse.Namespace, words: list[str]) -> None:
    """Set the session's model and endpoint, and print them."""
    model = aliases().get(words[0], words[0]) if words else None
    print(printable(repr(registry.use(model, found.endpoint))))
    settings = session.defaults
    if (settings.model and model) or (settings.endpoint and found.endpoint):
        print("(%config HelixMagics sets another for cells; it comes first there.)")


def connect(session: NotebookSession, found: argparse.Namespace, words: list[str]) -> None:
    """Register an endpoint; its key comes from the environment, or from a field that shows nothing."""
    if not words:
        raise ConfigError("%helix connect needs a URL, such as https://app.tryhelix.ai.")
    settings = {"profile": found.profile, "app_id": found.app_id, "model": found.model}
    settings = {name: value for name, value in settings.items() if value is not None}
    keyless = found.key_env or found.no_key or words[0] in registry.RESERVED
    key = None if keyless else _asked_key(session, split_server_url(words[0]).hostname, forced=found.ask_key)
    made = registry.connect(words[0], key=key, key_env=found.key_env, name=found.name, **settings)
    hint = f"key from {made.key_source}" if made.has_key else "no key"
    print(printable(f"endpoint: {made.name} ({made.base_url}, {hint}), now current"))


def models(_session: NotebookSession, _found: argparse.Namespace, words: list[str]) -> pd.DataFrame:
    """Ask the endpoint for its models."""
    from ...records import models

    return models.models(words[0] if words else None)


def alias(_session: NotebookSession, found: argparse.Namespace, words: list[str]) -> None:
    """List the aliases, set one, or forget one."""
    known = aliases()
    if not words:
        lines = [f"{name} = {model}" for name, model in sorted(known.items())]
        print(printable("\n".join(lines) or "No aliases yet: %helix alias NAME MODEL sets one."))
    elif found.delete:
        if words[0] not in known:
            raise ConfigError(f"There is no alias {words[0]!r}.")
        del known[words[0]]
    elif len(words) == 1:
        raise ConfigError("An alias needs a name and a model: %helix alias NAME MODEL")
    else:
        known[words[0]] = words[1]
        print(printable(f"{words[0]} = {words[1]}"))


def unload(_session: NotebookSession, _found: argparse.Namespace, words: list[str]) -> None:
    """End the processes of local models."""
    from ...endpoints.local.pool import unload as end

    freed = end(aliases().get(words[0], words[0]) if words else None)
    print(printable(f"unloaded: {', '.join(freed)}" if freed else "No local model was loaded."))


def _where(session: NotebookSession) -> list[str]:
    try:
        connection = registry.resolve(session.defaults.endpoint)
    except HelixError as error:
        return [f"endpoint: {error}"]
    model = session.defaults.model or known_default_model(connection) or "chosen by the endpoint"
    key = f"key from {connection.key_source}" if connection.has_key else "no key"
    return [
        f"endpoint: {connection.name} ({connection.base_url}, {key})",
        f"model: {model}",
        f"endpoints: {', '.join(registry.endpoints())}",
    ]


def _chats(session: NotebookSession) -> list[str]:
    said = [f"{name} ({len(one.turns)})" for name, one in session.chats.items()]
    return [f"chats: {', '.join(said)}"] if said else []


def _asked() -> list[str]:
    from ...records.reading.totals import totals
    from ...records.storage.log import current_log

    try:
        log, so_far = current_log(), totals()
    except Exception as error:  # noqa: BLE001 - a status never fails; an unreadable log is part of it
        return [f"log: cannot be read ({type(error).__name__}: {error})"]
    unknown = f" ({so_far.unknown} with unknown usage)" if so_far.unknown else ""
    place = log.path or ("in memory" if log.enabled else "off")
    tokens = "tokens unknown" if so_far.tokens is None else f"{so_far.tokens:,} tokens{unknown}"
    return [f"asked: {so_far.exchanges}, {tokens}", f"log: {place}"]


def _asked_key(session: NotebookSession, host: str | None, *, forced: bool) -> str | None:
    listened = surface(session.shell) != "final"
    if not forced and (is_loopback(host) or not listened):
        return None
    from getpass import getpass

    try:
        return getpass(f"Key for {host} (Enter for none): ").strip() or None
    except Exception as error:  # noqa: BLE001 - each front end refuses input in its own way
        raise ConfigError(
            f"This front end takes no input ({type(error).__name__}); put the key into the environment and"
            " use --key-env NAME, or --no-key."
        ) from None
