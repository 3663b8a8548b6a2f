"""The defaults of this process: endpoints, models, aliases, and the notices it has shown."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .connection import Connection


@dataclass
class Session:
    """What this process has settled on. The mappings are by an endpoint's name but for `aliases`."""

    endpoints: dict[str, Connection] = field(default_factory=dict)  # connected, or built in and changed
    current: str | None = None  # the endpoint that is asked where none is named
    configured_models: dict[str, str] = field(default_factory=dict)  # the user's own defaults
    discovered_models: dict[str, str] = field(default_factory=dict)  # an endpoint's, where the user set none
    aliases: dict[str, str] = field(default_factory=dict)  # short names of models
    claimed_notices: set[str] = field(default_factory=set)
    replay_only: bool = False  # replay answers everything


@dataclass(frozen=True)
class Defaults:
    """What `hx.use()` reports."""

    endpoint: str  # the current one
    model: str | None  # its default
    base_url: str
    key: str | None  # where it comes from
    endpoints: tuple[str, ...]  # all that are known

    def __repr__(self) -> str:
        model = self.model or "chosen by the endpoint"
        key = f"key from {self.key}" if self.key else "no key"
        names = ", ".join(self.endpoints)
        return f"endpoint: {self.endpoint} ({self.base_url}, {key})\nmodel: {model}\nendpoints: {names}"


_session = Session()


def session() -> Session:
    """Return the session of this process."""
    return _session


def reset_session() -> None:
    """Forget every endpoint connected, default chosen and alias made; configuration is read anew."""
    global _session
    _session = Session()


def replay_only() -> bool:
    """Return whether replay answers everything, so that no key is needed."""
    return _session.replay_only or os.environ.get("HELIX_NB_REPLAY", "").startswith("only")


def set_replay_only(value: bool) -> None:
    """Set whether replay answers everything in this process; HELIX_NB_REPLAY can say so too."""
    _session.replay_only = value


def configured_model(connection: Connection) -> str | None:
    """Return the default model that the user set.

    A request without a model is sent with this one, never with a discovered one, because its
    identity must not change when a model is discovered.
    """
    return _session.configured_models.get(connection.name) or ("demo" if connection.kind == "demo" else None)


def known_default_model(connection: Connection) -> str | None:
    """Return the model that answers when none is named; None leaves the choice to the endpoint."""
    return configured_model(connection) or _session.discovered_models.get(connection.name)


def remember_default_model(connection: Connection, model: str) -> None:
    """Keep the model that an endpoint turned out to serve, for requests that name none."""
    _session.discovered_models[connection.name] = model


def aliases() -> dict[str, str]:
    """Return the models by their short names (`%helix alias`)."""
    return _session.aliases


def claim_notice(notice: str) -> bool:
    """Return whether a notice is still to be shown in this process, and count it as shown."""
    unclaimed = notice not in _session.claimed_notices
    _session.claimed_notices.add(notice)
    return unclaimed


def first_answer_note(connection: Connection, *, named: bool) -> str | None:
    """Return, once, the note for the first answer of a process that has nothing configured.

    `named` says that the caller asked for this endpoint by name.
    """
    if connection.kind != "demo" or named or _session.current is not None or not claim_notice("the demo"):
        return None
    return (
        "Nothing is configured, so the embedded demo endpoint answered: canned text, not a model. "
        "Set HELIX_API_KEY, or hx.connect(url, key_env=...), to talk to a real one."
    )
