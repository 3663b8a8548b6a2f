"""Chats by name, as `-c NAME` and `%helix chat NAME` know them; they live in the kernel."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from ..chat import Chat
from ..errors import ConfigError

DEFAULT = "default"


class Chats(Mapping[str, Chat]):
    """The named chats of this kernel."""

    def __init__(self) -> None:
        self._chats: dict[str, Chat] = {}

    def __getitem__(self, name: str) -> Chat:
        if name in self._chats:
            return self._chats[name]
        close = difflib.get_close_matches(name, self._chats, 1)
        guess = f" Did you mean {close[0]!r}?" if close else " `%helix chats` lists them."
        raise ConfigError(f"No chat is called {name!r} in this kernel.{guess}")

    def __contains__(self, name: object) -> bool:
        return name in self._chats

    def __iter__(self) -> Iterator[str]:
        return iter(self._chats)

    def __len__(self) -> int:
        return len(self._chats)

    def found(self, name: str) -> Chat:
        """The chat of that name, or a new one that is not kept yet; ConfigError for what is no name."""
        self._check(name)
        return self._chats.get(name) or Chat()

    def add(self, name: str, chat: Chat) -> None:
        """Keep a chat under a name, instead of one that has it."""
        self._check(name)
        self._chats[name] = chat

    @staticmethod
    def _check(name: str) -> None:
        if not name.strip() or name.startswith("-") or any(char in name for char in "\n\r\t\"'"):
            raise ConfigError(f"A chat cannot be called {name!r}; take letters, digits, dots and dashes.")

    def forget(self, name: str) -> None:
        """Drop a chat."""
        self[name].reset()
        del self._chats[name]


kernel_chats = Chats()


def turns(count: int) -> str:
    """A number of turns in words."""
    return f"{count} turn{'s' * (count != 1)}"


def turn_line(name: str, chat: Chat, key: str | None) -> str:
    """What the output says about the turn that this cell makes: which one, and whether anew."""
    keys = [turn.key for turn in chat.turns]
    if key is not None and key in keys:
        return f"chat {name}, turn {keys.index(key) + 1} replaced"
    return f"chat {name}, turn {len(keys) + 1}"
