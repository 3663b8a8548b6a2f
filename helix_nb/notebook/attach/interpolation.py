"""`{{expression}}` in a cell: values of the notebook go into the prompt, once, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ConfigError, describe_exception
from ...prompts.placeholders import Placeholder, pieces
from ...text import did_you_mean, shorten

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
        raise _refused(hole, f"failed with {describe_exception(error)}") from None


def _undefined(hole: Placeholder, name: str, names: Mapping[str, Any]) -> ConfigError:
    known = [known for known in names if not known.startswith("_")]
    return _refused(hole, f"needs {name!r}, which is not defined", did_you_mean(name, known))


def _refused(hole: Placeholder, why: str, guess: str = "") -> ConfigError:
    shown = shorten(" ".join(hole.raw.split()), 60)
    return ConfigError(f"{shown} {why}; nothing was sent (--raw sends braces as they are).{guess}")
