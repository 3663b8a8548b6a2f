"""`%helix`, `use`, `connect`, `models`, `alias`, `unload`: where questions go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config import registry
from ...config.session import aliases, known_default_model
from ...config.urls import is_loopback, split_server_url
from ...errors import ConfigError, HelixError
from ...text import printable
from ..display.output import display_mode

if TYPE_CHECKING:
    import argparse

    import pandas as pd

    from ..session import NotebookSession


def status(session: NotebookSession) -> None:
    """Print where this session stands; never an error, whatever is wrong."""
    for line in (*_endpoint_lines(session), *_chat_lines(session), *_log_lines()):
        print(printable(line))


def use(session: NotebookSession, options: argparse.Namespace, words: list[str]) -> None:
    """Set the session's model and endpoint, and print them."""
    model = aliases().get(words[0], words[0]) if words else None
    print(printable(repr(registry.use(model, options.endpoint))))
    defaults = session.defaults
    if (defaults.model and model) or (defaults.endpoint and options.endpoint):
        print("(%config HelixMagics sets another for cells; it comes first there.)")


def connect(session: NotebookSession, options: argparse.Namespace, words: list[str]) -> None:
    """Register an endpoint; its key comes from the environment, or from a field that shows nothing."""
    if not words:
        raise ConfigError("%helix connect needs a URL, such as https://app.tryhelix.ai.")
    url = words[0]
    settings = {"profile": options.profile, "app_id": options.app_id, "model": options.model}
    settings = {name: value for name, value in settings.items() if value is not None}
    key = None
    if not (options.key_env or options.no_key or url in registry.RESERVED):
        key = _ask_for_key(session, split_server_url(url).hostname, forced=options.ask_key)
    connection = registry.connect(url, key=key, key_env=options.key_env, name=options.name, **settings)
    hint = f"key from {connection.key_source}" if connection.has_key else "no key"
    print(printable(f"endpoint: {connection.name} ({connection.base_url}, {hint}), now current"))


def models(_session: NotebookSession, _options: argparse.Namespace, words: list[str]) -> pd.DataFrame:
    """Ask the endpoint for its models."""
    from ...records import models

    return models.models(words[0] if words else None)


def alias(_session: NotebookSession, options: argparse.Namespace, words: list[str]) -> None:
    """List the aliases, set one, or forget one."""
    models_by_alias = aliases()
    if not words:
        lines = [f"{name} = {model}" for name, model in sorted(models_by_alias.items())]
        print(printable("\n".join(lines) or "No aliases yet: %helix alias NAME MODEL sets one."))
    elif options.delete:
        if words[0] not in models_by_alias:
            raise ConfigError(f"There is no alias {words[0]!r}.")
        del models_by_alias[words[0]]
    elif len(words) == 1:
        raise ConfigError("An alias needs a name and a model: %helix alias NAME MODEL")
    else:
        models_by_alias[words[0]] = words[1]
        print(printable(f"{words[0]} = {words[1]}"))


def unload(_session: NotebookSession, _options: argparse.Namespace, words: list[str]) -> None:
    """End the processes of local models."""
    from ...endpoints.local import pool

    freed = pool.unload(aliases().get(words[0], words[0]) if words else None)
    print(printable(f"unloaded: {', '.join(freed)}" if freed else "No local model was loaded."))


def _endpoint_lines(session: NotebookSession) -> list[str]:
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


def _chat_lines(session: NotebookSession) -> list[str]:
    chats = [f"{name} ({len(chat.turns)})" for name, chat in session.chats.items()]
    return [f"chats: {', '.join(chats)}"] if chats else []


def _log_lines() -> list[str]:
    from ...records.reading.totals import totals
    from ...records.storage.log import current_log

    try:
        log, so_far = current_log(), totals()
    except Exception as error:  # noqa: BLE001 - a status never fails; an unreadable log is part of it
        return [f"log: cannot be read ({type(error).__name__}: {error})"]
    unknown = f" ({so_far.unknown} with unknown usage)" if so_far.unknown else ""
    tokens = "tokens unknown" if so_far.tokens is None else f"{so_far.tokens:,} tokens{unknown}"
    place = log.path or ("in memory" if log.enabled else "off")
    return [f"asked: {so_far.exchanges}, {tokens}", f"log: {place}"]


def _ask_for_key(session: NotebookSession, host: str | None, *, forced: bool) -> str | None:
    """Ask for the key of a host; unless forced to, not for this machine's, nor where nobody could answer."""
    if not forced and (is_loopback(host) or display_mode(session.shell) == "final"):
        return None
    from getpass import getpass

    try:
        return getpass(f"Key for {host} (Enter for none): ").strip() or None
    except Exception as error:  # noqa: BLE001 - each front end refuses input in its own way
        raise ConfigError(
            f"This front end takes no input ({type(error).__name__}); put the key into the environment and"
            " use --key-env NAME, or --no-key."
        ) from None
