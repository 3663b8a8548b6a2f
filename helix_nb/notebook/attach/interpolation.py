"""`{{expression}}` in a cell: values of the notebook go into the prompt, once, before anything is sent."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ConfigError, told
from ...prompts.placeholders import Placeholder, pieces

CONVERSIONS: dict[str, Callable[[Any], Any]] = {"": lambda value: value, "r": repr, "s": str, "a": ascii}


def interpolate(text: str, names: Mapping[str, Any]) -> str:
    """Put the value of each `{{expression}}` into a prompt; values are never read again.

    An expression is Python over the notebook's names, with an f-string's conversion and format
    spec: `{{total:.2f}}`, `{{df.columns[0]}}`, `{{name!r}}`.

    Raises:
        ConfigError: a name is not defined, or an expression cannot be evaluated; nothing was sent.

    >>> interpolate("Sum {{total:.1f}} of {{name}}", {"total": 3.14159, "name": "{{total}}"})
    'Sum 3.1 of {{total}}'
    """
    return "".join(piece if isinstance(piece, str) else _value(piece, names) for piece in pieces(text))


def _value(hole: Placeholder, names: Mapping[str, Any]) -> str:
    try:
        code = compile(hole.expression, "{{...}}", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _refused(hole, "is not a Python expression") from None
    try:
        value = eval(code, dict(names))  # noqa: S307 - the user's own expression, in their own kernel
        return format(CONVERSIONS[hole.conversion](value), hole.spec)
    except Exception as error:  # noqa: BLE001 - whatever the user's objects raise becomes one sentence
        if isinstance(error, NameError) and error.name and error.name in hole.expression:
            raise _undefined(hole, error.name, names) from None
        raise _refused(hole, f"failed with {told(error)}") from None


def _undefined(hole: Placeholder, name: str, names: Mapping[str, Any]) -> ConfigError:
    known = [known for known in names if not known.startswith("_")]
    close = difflib.get_close_matches(name, known, 1)
    guess = f", did you mean {close[0]!r}?" if close else ";"
    return _refused(hole, f"needs {name!r}, which is not defined{guess}", end="")


def _refused(hole: Placeholder, why: str, end: str = ";") -> ConfigError:
    shown = " ".join(hole.raw.split())
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return ConfigError(f"{shown} {why}{end} nothing was sent (--raw sends braces as they are).")
