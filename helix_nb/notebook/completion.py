"""Completion after `%%helix` and `%helix`: exactly what may stand there, and never a network call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cell.options import Option
    from .session import NotebookSession

MAGIC = re.compile(r"^\s*(?:[\w.\[\]'\", ]+=\s*)?(%{1,2})helix(\s.*)?$")


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
        before = _line_before_cursor(context)
        found = MAGIC.match(before)
        if not found or found[2] is None or (found[1] == "%%" and context.cursor_line > 0):
            return {"completions": [], "suppress": False}
        *words, fragment = re.split(r"\s+", found[2].lstrip()) or [""]
        offered = self.offers(found[1], words, fragment)
        return _result(fragment, offered)

    def offers(self, percent: str, words: Sequence[str], fragment: str) -> Iterable[str]:
        """Everything that may stand where the fragment stands."""
        from .cell.options import OPTIONS
        from .commands.table import BY_NAME

        if percent == "%%":
            return self._of(OPTIONS, ("model",), words, fragment)
        if not words:
            return BY_NAME
        command = BY_NAME.get(words[0])
        if command is None or "--" in words:
            return ()
        kinds = ("model",) if command.verbatim and command.name == "ask" else command.kinds
        return self._of(command.options, kinds, words[1:], fragment)

    def _of(
        self, options: Sequence[Option], kinds: Sequence[str], words: Sequence[str], fragment: str
    ) -> Iterable[str]:
        by_flag = {flag: option for option in options for flag in option.flags}
        before = by_flag.get(words[-1]) if words else None
        if before is not None and before.kind and not (before.kind == "chat" and fragment.startswith("-")):
            return self._values(before.kind, fragment)
        if fragment.startswith("-"):
            return by_flag
        position = _plain_words(words, by_flag)
        return self._values(kinds[position], fragment) if position < len(kinds) else ()

    def _values(self, kind: str, fragment: str) -> Iterable[str]:
        from . import offers

        return offers.values(kind, fragment, self.session)


def _plain_words(words: Sequence[str], by_flag: dict[str, Option]) -> int:
    """How many words before the cursor are neither options nor their values."""
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


def _result(fragment: str, offered: Iterable[str]) -> dict[str, Any]:
    from IPython.core.completer import SimpleCompletion

    matching = sorted(
        {each for each in offered if each.startswith(fragment)}, key=lambda each: (each.startswith("-"), each)
    )
    return {
        "completions": [SimpleCompletion(text=each, type="magic") for each in matching],
        "matched_fragment": fragment,
        "suppress": True,
        "ordered": True,
    }
