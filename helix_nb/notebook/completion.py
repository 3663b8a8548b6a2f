"""Completion after `%%helix` and `%helix`: exactly what may stand there, and never a network call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cell.options import Option
    from .session import NotebookSession

MAGIC = re.compile(r"^\s*(?:[\w.\[\]'\", ]+=\s*)?(%{1,2})helix(\s.*)?$")
HIDDEN = ("In", "Out", "exit", "quit", "get_ipython", "open")  # IPython's own names
USAGE_BY = ("model", "endpoint", "status", "source", "day", "hour", "cell", "notebook")


class Completer:
    """An IPython matcher of the second kind: it sees the whole line and replaces a whole word."""

    matcher_identifier = "helix_nb"
    matcher_api_version = 2
    matcher_priority = 100.0

    def __init__(self, session: NotebookSession) -> None:
        self.session = session
        self.__qualname__ = type(self).__qualname__

    def __call__(self, context: Any) -> dict[str, Any]:
        """Complete the word before the cursor, if the line is one of ours."""
        magic = MAGIC.match(_line_before_cursor(context))
        if not magic or magic[2] is None or (magic[1] == "%%" and context.cursor_line > 0):
            return {"completions": [], "suppress": False}
        *words, fragment = re.split(r"\s+", magic[2].lstrip()) or [""]
        return _matcher_result(fragment, self._candidates(magic[1], words, fragment))

    def _candidates(self, percent: str, words: Sequence[str], fragment: str) -> Iterable[str]:
        """Return all that may stand where the fragment stands."""
        from .cell.options import OPTIONS
        from .commands.table import BY_NAME

        if percent == "%%":
            return self._arguments(OPTIONS, ("model",), words, fragment)
        if not words:
            return BY_NAME
        command = BY_NAME.get(words[0])
        if command is None or "--" in words:
            return ()
        kinds = ("model",) if command.verbatim and command.name == "ask" else command.kinds
        return self._arguments(command.options, kinds, words[1:], fragment)

    def _arguments(
        self, options: Sequence[Option], kinds: Sequence[str], words: Sequence[str], fragment: str
    ) -> Iterable[str]:
        """Return flags, values of the flag before, or words of the kind that stands at this place."""
        by_flag = {flag: option for option in options for flag in option.flags}
        before = by_flag.get(words[-1]) if words else None
        if before is not None and before.kind and not (before.kind == "chat" and fragment.startswith("-")):
            return values(before.kind, fragment, self.session)
        if fragment.startswith("-"):
            return by_flag
        position = _count_plain_words(words, by_flag)
        return values(kinds[position], fragment, self.session) if position < len(kinds) else ()


def values(kind: str, fragment: str, session: NotebookSession) -> Iterable[str]:
    """Return what is known now of a kind of value (`Option.kind`); nothing is asked of any server."""
    from ..config.profiles import PROFILES
    from ..config.registry import endpoints
    from ..config.session import aliases
    from ..records.reading.filters import SCOPES
    from ..records.replay.player import MODES
    from ..records.storage.schema import STATUSES
    from .cell.options import FORMATS
    from .commands.table import BY_NAME

    variables = _variables(session)
    readers: dict[str, Callable[[], Iterable[str]]] = {
        "model": lambda: _models(session),
        "endpoint": endpoints,
        "chat": lambda: {*session.chats, "default"},
        "alias": aliases,
        "command": lambda: [*BY_NAME, "cell"],
        "system": lambda: [f"@{name}" for name in variables if isinstance(session.shell.user_ns[name], str)],
        "variable": lambda: variables,
        "image": lambda: [*files(fragment), *variables],
        "context": lambda: [*files(fragment), *variables],
        "file": lambda: files(fragment),
        "format": lambda: FORMATS,
        "profile": lambda: [name for name in PROFILES if name != "demo"],  # that is the embedded server's
        "scope": lambda: SCOPES,
        "status": lambda: STATUSES,
        "replay": lambda: MODES,
        "by": lambda: USAGE_BY,
    }
    return readers[kind]() if kind in readers else ()


def files(fragment: str) -> list[str]:
    """Return the files and folders that go on from a fragment of a path."""
    from .attach.names import NO_PATH

    folder, _, _ = fragment.rpartition("/")
    prefix = f"{folder}/" if "/" in fragment else ""
    try:
        paths = [*Path(prefix or ".").expanduser().iterdir()]
        names = [f"{prefix}{path.name}{'/' if path.is_dir() else ''}" for path in paths]
    except NO_PATH:
        return []
    return [name for name in names if " " not in name and not Path(name).name.startswith(".")]


def _models(session: NotebookSession) -> list[str]:
    """Return aliases, the models known of each endpoint, and the defaults in use."""
    from ..config.registry import endpoints
    from ..config.session import aliases, known_default_model
    from ..demo.faults import MODELS
    from ..records.models import known_models

    names = [*aliases()]
    for connection in endpoints().values():
        names += [*known_models(connection.name), known_default_model(connection) or ""]
    if _asks_demo(session):
        names += MODELS
    return [name for name in names if name]


def _asks_demo(session: NotebookSession) -> bool:
    from ..config.registry import resolve
    from ..errors import ConfigError

    try:
        return resolve(session.defaults.endpoint).name == "demo"
    except ConfigError:
        return False


def _variables(session: NotebookSession) -> list[str]:
    """Return the user's own names."""
    return [name for name in list(session.shell.user_ns) if not name.startswith("_") and name not in HIDDEN]


def _count_plain_words(words: Sequence[str], by_flag: dict[str, Option]) -> int:
    """Return how many words before the cursor are neither options nor their values."""
    count, value_of = 0, None
    for word in words:
        if value_of is None and not word.startswith("-"):
            count += 1
        option = by_flag.get(word)
        value_of = option if option is not None and option.kind else None
    return count


def _line_before_cursor(context: Any) -> str:
    lines = context.full_text.splitlines() or [""]
    line = lines[context.cursor_line] if context.cursor_line < len(lines) else ""
    return str(line[: context.cursor_position])


def _matcher_result(fragment: str, candidates: Iterable[str]) -> dict[str, Any]:
    """Return the candidates that the fragment begins, flags last, as IPython wants them."""
    from IPython.core.completer import SimpleCompletion

    matching = {text for text in candidates if text.startswith(fragment)}
    return {
        "completions": [
            SimpleCompletion(text=text, type="magic")
            for text in sorted(matching, key=lambda text: (text.startswith("-"), text))
        ],
        "matched_fragment": fragment,
        "suppress": True,
        "ordered": True,
    }
