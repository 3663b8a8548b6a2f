"""JSON out of what a model wrote: bare, in one fence, or as the one object amid its prose."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from ..markdown import fences

_MOST_STARTS = 200  # places in a text where JSON is looked for


def read_json(text: str, *, arrays: bool = False) -> Any:
    """Return the JSON value that a text holds.

    Args:
        arrays: take an array amid prose for the value too, not only an object.

    Raises:
        ValueError: one sentence, without a subject, that says why there is none.

    >>> read_json("Here you are: [1, 2]", arrays=True)
    [1, 2]
    """
    text = text.strip().removeprefix("\ufeff")
    if not text:
        raise ValueError("it is empty.")
    try:
        return _loads(text)
    except ValueError as error:
        values = _fenced_values(text) or _embedded_values(text, "{[" if arrays else "{")
        if len(values) == 1:
            return values[0]
        if len(values) > 1:
            raise ValueError(f"it holds {len(values)} pieces of JSON; one was asked for.") from None
        raise ValueError(_explain(error, text)) from None


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply.") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; use null.")


def _explain(error: ValueError, text: str) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    if not re.search(r"[{\[]", text):
        return "it is not JSON."
    if error.pos >= len(text) or error.msg.startswith("Unterminated"):
        return "the JSON ends too early."
    return f"it is not valid JSON ({error.msg} at line {error.lineno}, column {error.colno})."


def _fenced_values(text: str) -> list[Any]:
    values = []
    for _, code in fences(text):
        try:
            values.append(_loads(code))
        except ValueError:
            continue  # a fence around something else
    return values


def _embedded_values(text: str, openers: str) -> list[Any]:
    """Return the outermost JSON objects (and arrays) that stand in a text."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    values: list[Any] = []
    at = 0
    for _ in range(_MOST_STARTS):
        starts = [place for place in (text.find(opener, at) for opener in openers) if place >= 0]
        if not starts:
            break
        try:
            value, at = decoder.raw_decode(text, min(starts))
        except (ValueError, RecursionError):
            at = min(starts) + 1
        else:
            values.append(value)
    return values
