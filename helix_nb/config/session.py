"""What this kernel has settled on: endpoints, models, aliases, and what was said once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .connection import Connection


@dataclass
class Session:
    """The defaults of this kernel: which endpoint is current, which model each one uses.

    `models` are those the user chose, `found` those that stand in where nobody did.
    """

    endpoints: dict[str, Connection] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    current: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    replay_only: bool = False


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


def session() -> Session:
    """The defaults of this process."""
    return _session


def set_replay_only(value: bool) -> None:
    """Set whether replay answers everything in this process; HELIX_NB_REPLAY can say so too."""
    _session.replay_only = value


def replay_only() -> bool:
    """Return whether replay answers everything, so that no key is needed."""
    return _session.replay_only or os.environ.get("HELIX_NB_REPLAY", "").startswith("only")


def configured_model(connection: Connection) -> str | None:
    """The default that the user chose; a request without one is the same before and after one is found."""
    chosen = _session.models.get(connection.name)
    return chosen or ("demo" if connection.kind == "demo" else None)


def known_default_model(connection: Connection) -> str | None:
    """The model that answers when none is named; None leaves the choice to the endpoint."""
    return configured_model(connection) or _session.found.get(connection.name)


def remember_default_model(connection: Connection, model: str) -> None:
    """Keep a model found out from the endpoint, for whatever names none."""
    _session.found[connection.name] = model


def reset_session() -> None:
    """Forget every endpoint connected, default chosen and alias made; configuration is read anew."""
    global _session
    _session = Session()


def aliases() -> dict[str, str]:
    """Short names of models (`%helix alias`), by name."""
    return _session.aliases


def claim_notice(what: str) -> bool:
    """Whether this is the first time that something is to be said in this process."""
    new = what not in _session.said
    _session.said.add(what)
    return new


def first_answer_note(connection: Connection, *, named: bool) -> str | None:
    """What the first answer of a kernel that has nothing configured should say, once."""
    if connection.kind != "demo" or named or _session.current is not None or not claim_notice("the demo"):
        return None
    return (
        "Nothing is configured, so the embedded demo endpoint answered: canned text, not a model. "
        "Set HELIX_API_KEY, or hx.connect(url, key_env=...), to talk to a real one."
    )
