"""The errors of validators as one sentence that a model can repair its answer by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..text import shorten

_MOST_ERRORS = 3
_LONGEST = 160  # characters of a message


def pydantic_sentence(errors: Sequence[Any]) -> str:
    """Return a list of pydantic's errors as one sentence."""
    return _sentence([_pydantic_clause(error) for error in errors])


def jsonschema_sentence(errors: Iterable[Any]) -> str:
    """Return the errors of a jsonschema validator as one sentence."""
    return _sentence([_clause(error.absolute_path, shorten(error.message, _LONGEST)) for error in errors])


def _pydantic_clause(error: Any) -> str:
    if error["type"] == "missing":
        return f"{_path(error['loc'])} is missing"
    message = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    got = f", not {shorten(repr(error['input']), 40)}" if message.startswith("should") else ""
    return _clause(error["loc"], f"{message[:1].lower()}{message[1:]}{got}")


def _clause(path: Iterable[Any], message: str) -> str:
    place = _path(path)
    return f"{place} {message}" if message.startswith("should") else f"{place}: {message}"


def _path(path: Iterable[Any]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return steps.removeprefix(".") or "it"


def _sentence(clauses: list[str]) -> str:
    more = f"; and {len(clauses) - _MOST_ERRORS} more problems" if len(clauses) > _MOST_ERRORS else ""
    return "; ".join(clause.rstrip(".") for clause in clauses[:_MOST_ERRORS]) + more + "."
