"""What is wrong with a value, as one sentence a model can repair its answer by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..text import shorten

_MOST = 3
_LONGEST = 160


def of_pydantic(errors: Sequence[Any]) -> str:
    """A pydantic error list as one sentence."""
    return _sentence([_of_one(error) for error in errors])


def of_jsonschema(errors: Iterable[Any]) -> str:
    """The errors of a jsonschema validator as one sentence."""
    return _sentence([_about(error.absolute_path, _cut(error.message)) for error in errors])


def _of_one(error: Any) -> str:
    if error["type"] == "missing":
        return f"{_path(error['loc'])} is missing"
    words = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    got = f", not {_cut(repr(error['input']), 40)}" if words.startswith("should") else ""
    return _about(error["loc"], f"{words[:1].lower()}{words[1:]}{got}")


def _about(path: Iterable[Any], words: str) -> str:
    place = _path(path)
    return f"{place} {words}" if words.startswith("should") else f"{place}: {words}"


def _path(path: Iterable[Any]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return steps.removeprefix(".") or "it"


def _cut(words: str, longest: int = _LONGEST) -> str:
    return shorten(words, longest)


def _sentence(parts: list[str]) -> str:
    more = f"; and {len(parts) - _MOST} more problems" if len(parts) > _MOST else ""
    return "; ".join(part.rstrip(".") for part in parts[:_MOST]) + more + "."
