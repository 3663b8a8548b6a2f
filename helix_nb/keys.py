"""Keys that cannot be seen: a Secret never prints itself, and every known one is redacted.

Only `connection.py` reveals Secrets; it, `config.py` and `environment.py` make them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from .errors import ConfigError

MASK = "[key]"
MIN_LENGTH = 8
# What people type where a local server wants some key; redacting these words would spoil answers.
PLACEHOLDERS = frozenset(
    {"no-key-required", "lm-studio", "not-needed", "your-api-key", "none-needed", "sk-no-key-required"}
)
# Parameters that could only be a key; whatever a call is given is sent, and kept in the log.
KEY_NAMES = frozenset({"api_key", "apikey", "authorization", "key"})
MISPLACED = (
    "A key does not belong here, where the notebook or the log keeps it. Remove it and put it into the"
    " environment: HELIX_API_KEY, or a variable that hx.connect(url, key_env=...) names."
)

_values: dict[str, None] = {}


class Secret:
    """A key; true when there is one. `reveal()` is the only way to its characters.

    A pickle holds the name of the environment variable the key came from, never the key.
    """

    __slots__ = ("__env", "__value")

    def __init__(self, value: str | None = None, env: str | None = None) -> None:
        self.__value = (value or "").strip()
        self.__env = env
        remember(self.__value)

    @classmethod
    def from_environment(cls, env: str) -> Secret:
        return cls(os.environ.get(env), env)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash(self.__value)

    def __repr__(self) -> str:
        return MASK if self.__value else "no key"

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.__value:
            return Secret, ()
        if self.__env is None:
            raise ConfigError("A key given as an argument does not travel to other processes; use key_env=.")
        return Secret.from_environment, (self.__env,)

    def reveal(self) -> str:
        return self.__value


def remember(value: str) -> None:
    """Redact this value from now on, if it is long enough to be a key."""
    if len(value) >= MIN_LENGTH and value.lower() not in PLACEHOLDERS:
        _values[value] = None


def refuse_key_names(names: Iterable[str]) -> None:
    """Refuse parameters that are named like a key."""
    if any(name.lower() in KEY_NAMES for name in names):
        raise ConfigError(MISPLACED)


def redact(text: str) -> str:
    """Replace every known key in a text by `[key]`."""
    if not _values:
        return text
    for value in sorted(_values, key=len, reverse=True):
        if value in text:
            text = text.replace(value, MASK)
    return text


def redact_data(data: Any) -> Any:
    """Redact every string inside plain JSON-like data."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, dict):
        return {redact_data(key): redact_data(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(redact_data(item) for item in data)
    return data


class KeyFilter:
    """Redact text that arrives in pieces: a tail that may begin a key waits for the next piece."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown now."""
        if not _values:
            return piece
        text = redact(self._held + piece)
        keep = _tail_that_begins_a_key(text)
        self._held = text[len(text) - keep :] if keep else ""
        return text[: len(text) - keep] if keep else text

    def flush(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held


def _tail_that_begins_a_key(text: str) -> int:
    longest = 0
    for value in _values:
        for size in range(min(len(value) - 1, len(text)), longest, -1):
            if text.endswith(value[:size]):
                longest = size
                break
    return longest
