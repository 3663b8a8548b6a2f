"""`{{expression}}` in a cell: values of the notebook go into the prompt, once, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ConfigError, describe_exception
from ...prompts.placeholders import Placeholder, pieces
from ...text import did_you_mean, shorten

CONVERSIONS: dict[str, Callable[[Any], Any]] = {"": lambda value: value, "r": repr, "s": str, "a": ascii}


def interpolate(text: str, names: Mapping[str, Any]) -> str:
    """Put the value of each `{{expression}}` into a prompt; the values are not searched for more.

    An expression is Python over the notebook's names, with an f-string's conversion and format
    spec: `{{total:.2f}}`, `{{df.columns[0]}}`, `{{name!r}}`.

    Raises:
        ConfigError: a name is not defined, or an expression cannot be evaluated; nothing was sent.

    >>> interpolate("Sum {{total:.1f}} of {{name}}", {"total": 3.14159, "name": "{{total}}"})
    'Sum 3.1 of {{total}}'
    """
    return "".join(piece if isinstance(piece, str) else _value(piece, names) for piece in pieces(text))


def _value(placeholder: Placeholder, names: Mapping[str, Any]) -> str:
    try:
        code = compile(placeholder.expression, "{{...}}", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _refused(placeholder, "is not a Python expression") from None
    try:
        value = eval(code, dict(names))  # noqa: S307 - the user's own expression, in their own kernel
        return format(CONVERSIONS[placeholder.conversion](value), placeholder.spec)
    except Exception as error:  # noqa: BLE001 - whatever the user's objects raise becomes one sentence
        if isinstance(error, NameError) and error.name and error.name in placeholder.expression:
            raise _undefined(placeholder, error.name, names) from None
        raise _refused(placeholder, f"failed with {describe_exception(error)}") from None


def _undefined(placeholder: Placeholder, name: str, names: Mapping[str, Any]) -> ConfigError:
    public = [each for each in names if not each.startswith("_")]
    return _refused(placeholder, f"needs {name!r}, which is not defined", did_you_mean(name, public))


def _refused(placeholder: Placeholder, why: str, guess: str = "") -> ConfigError:
    source = shorten(" ".join(placeholder.raw.split()), 60)
    return ConfigError(f"{source} {why}; nothing was sent (--raw sends braces as they are).{guess}")
