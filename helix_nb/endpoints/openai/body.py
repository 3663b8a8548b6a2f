"""Parameters as plain JSON: numpy and pandas values become Python's, and what no server takes is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ...errors import ConfigError

WHOLE = frozenset(
    {"max_tokens", "max_completion_tokens", "seed", "n", "top_k", "top_logprobs", "min_tokens", "num_ctx"}
)
NUMBERS = frozenset(
    {"temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"}
)


def spelled(name: str, value: Any) -> Any:
    """Return a parameter as JSON data with the type its name asks for; ConfigError if it has none."""
    value = _plain(name, value)
    if name in WHOLE:
        return _whole(name, value)
    if name in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ConfigError(f"{name} is a number, not {value!r}.")
    if name == "stop":
        return _stop(value)
    if name == "metadata" and isinstance(value, dict):
        return {key: item if isinstance(item, str) else str(item) for key, item in value.items()}
    return value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} is a whole number, not {value!r}.")
    return value


def _stop(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"stop is a text or a list of texts, not {value!r}.")
    return texts


def _plain(name: str, value: Any) -> Any:
    """Turn a value into JSON data, down to its last item."""
    if value is None or isinstance(value, bool | str | int):
        return value if type(value) in (type(None), bool, str, int) else _base(value)
    if isinstance(value, float | Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise ConfigError(f"{name} is {number}, which is not a number a server can read.")
        return number
    if isinstance(value, Mapping):
        return {str(key): _plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(name, item) for item in value]
    for convert in ("tolist", "item", "model_dump"):  # numpy and pandas; pydantic
        if callable(method := getattr(value, convert, None)) and not isinstance(value, type):
            return _plain(name, method())
    raise ConfigError(f"{name} holds a {type(value).__name__}, which cannot be sent as JSON.")


def _base(value: Any) -> Any:
    """A plain copy of a subclass of str or int, an enum's member for example."""
    return str.__str__(value) if isinstance(value, str) else int(value)
