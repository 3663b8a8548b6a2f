"""JSON out of what a model wrote: bare, in one fence, or as the one object amid its prose."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from ..markdown import fences

_MOST_STARTS = 200  # places in a text where JSON is looked for


def read_json(text: str, *, arrays: bool = False) -> Any:
    """Return the JSON value that a text holds; ValueError says in one sentence why there is none.

    `arrays` also takes an array amid prose for the value, not only an object.
    """
    text = text.strip().removeprefix("\ufeff")
    if not text:
        raise ValueError("it is empty.")
    try:
        return _loads(text)
    except ValueError as problem:
        found = _fenced(text) or _embedded(text, "{[" if arrays else "{")
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise ValueError(f"it holds {len(found)} pieces of JSON; one was asked for.") from None
        raise ValueError(_why(problem, text)) from None


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply.") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; use null.")


def _why(problem: ValueError, text: str) -> str:
    if not isinstance(problem, json.JSONDecodeError):
        return str(problem)
    if not re.search(r"[{\[]", text):
        return "it is not JSON."
    if problem.pos >= len(text) or problem.msg.startswith("Unterminated"):
        return "the JSON ends too early."
    return f"it is not valid JSON ({problem.msg} at line {problem.lineno}, column {problem.colno})."


def _fenced(text: str) -> list[Any]:
    found = []
    for _, code in fences(text):
        try:
            found.append(_loads(code))
        except ValueError:
            continue  # a fence around something else
    return found


def _embedded(text: str, openers: str) -> list[Any]:
    """The outermost JSON objects (and arrays) that stand in a text."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    found: list[Any] = []
    at = 0
    for _ in range(_MOST_STARTS):
        start = min(
            (place for place in (text.find(opener, at) for opener in openers) if place >= 0), default=-1
        )
        if start < 0:
            break
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
        else:
            found.append(value)
    return found
