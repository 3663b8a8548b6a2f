"""Keys that cannot be seen: a Secret never prints itself, and each one that is made is redacted everywhere.

Only `connection.py` reveals Secrets; the other files of this folder only make them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ..errors import ConfigError
from ..redaction import MASK, register_key

# Parameters that could only be a key; they are refused, because the log keeps whatever a call is given.
KEY_NAMES = frozenset({"api_key", "apikey", "authorization", "key"})
MISPLACED = (
    "A key does not belong here, where the notebook or the log keeps it. Remove it and put it into the"
    " environment: HELIX_API_KEY, or a variable that hx.connect(url, key_env=...) names."
)


class Secret:
    """A key, or none; true where there is one. `reveal()` is the only way to its characters.

    A pickle holds the name of the environment variable the key came from, never the key.
    """

    __slots__ = ("__env", "__value")

    def __init__(self, value: str | None = None, env: str | None = None) -> None:
        self.__value = (value or "").strip()
        self.__env = env
        register_key(self.__value)

    @classmethod
    def from_environment(cls, env: str) -> Secret:
        """Make the Secret that an environment variable holds; an empty one where it is not set."""
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
        """Return the key's characters; an empty text where there is no key."""
        return self.__value


def refuse_key_names(names: Iterable[str]) -> None:
    """Refuse parameters that are named like a key; ConfigError says where a key belongs."""
    if any(name.lower() in KEY_NAMES for name in names):
        raise ConfigError(MISPLACED)
