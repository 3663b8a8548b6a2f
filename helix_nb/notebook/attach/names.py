"""Words on a magic line that stand for things of the notebook: `df`, `module.function`, `Out[3]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigError, describe_exception
from ...text import did_you_mean

DOTTED = re.compile(r"@?[^\W\d]\w*(?:\.[^\W\d]\w*)*")
HISTORY = re.compile(r"(In|Out)\[(\d+)\]")
URL = re.compile(r"(?:https?://|data:)", re.I)
NO_PATH = (OSError, RuntimeError, ValueError)  # a closed folder, a name too long, no such ~user
IPYTHON_NAMES = ("In", "Out", "exit", "get_ipython", "open", "quit")  # nobody means these


class UnknownName(LookupError):
    """A word that stands for nothing in the notebook."""


def value_of(word: str, names: Mapping[str, Any]) -> Any:
    """Return the object that a word stands for; UnknownName when it stands for none.

    >>> value_of("numbers.real", {"numbers": 3 + 4j})
    3.0
    """
    if entry := HISTORY.fullmatch(word):
        return _history(names, entry[1], int(entry[2]))
    if not DOTTED.fullmatch(word):
        raise UnknownName(word)
    first, *rest = word.removeprefix("@").split(".")
    if first not in names:
        raise UnknownName(word)
    value = names[first]
    for attribute in rest:
        try:
            value = getattr(value, attribute)
        except AttributeError:
            raise UnknownName(word) from None
        except Exception as error:  # noqa: BLE001 - whatever the user's object raises becomes one sentence
            raise ConfigError(f"{word} cannot be read: {describe_exception(error)}") from None
    return value


def require_value(word: str, names: Mapping[str, Any], flag: str) -> Any:
    """Return the object that a word must stand for; ConfigError with a guess when it stands for none."""
    try:
        return value_of(word, names)
    except UnknownName:
        raise ConfigError(f"{flag}: no variable is called {word!r}.{_guess(word, names)}") from None


def value_or_path(word: str, names: Mapping[str, Any], flag: str) -> Any:
    """Return the object that a word stands for, else the URL, else the Path of a file that exists."""
    try:
        return value_of(word, names)
    except UnknownName:
        pass
    if URL.match(word):
        return word
    try:
        path = Path(word).expanduser()
        if path.is_file():
            return path
        is_folder = path.is_dir()
    except NO_PATH as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{flag}: {word} cannot be read: {why}.") from None
    if is_folder:
        raise ConfigError(f"{flag}: {word} is a folder; name a file in it.")
    raise ConfigError(f"{flag}: {word!r} is neither a variable nor a file here.{_guess(word, names)}")


def _history(names: Mapping[str, Any], which: str, number: int) -> Any:
    entries = names.get(which)
    try:
        if entries is not None and number > 0:
            return entries[number]
    except (IndexError, KeyError):
        pass
    raise ConfigError(f"There is no {which}[{number}] in this session.")


def _guess(word: str, names: Mapping[str, Any]) -> str:
    near = [name for name in names if not name.startswith("_") and name not in IPYTHON_NAMES]
    try:
        folder = Path(word).expanduser().parent
        near += [str(folder / path.name) if folder != Path() else path.name for path in folder.iterdir()]
    except NO_PATH:
        pass
    return did_you_mean(word.removeprefix("@"), (name for name in near if name != word))
