"""The differences between two requests, in words: for a replay without an answer."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...text import common_prefix

EXCERPT = 70  # characters of each of two texts that are shown
BEFORE = 25  # of these, how many stand before the first difference
COMPARED = 2000  # characters of each of two requests that are compared
JsonObject = Mapping[str, Any]


def differences(recorded: JsonObject, asked: JsonObject) -> list[str]:
    """Return every difference of two requests as JSON data, what weighs most first."""
    return [
        *_of_messages(recorded["messages"], asked["messages"]),
        *_of_value("the model", recorded["model"], asked["model"]),
        *_of_params(recorded["params"], asked["params"]),
        *(["the schema"] if _json(recorded["schema"]) != _json(asked["schema"]) else []),
    ]


def likeness(recorded: JsonObject, asked: JsonObject) -> float:
    """Return how near two requests are; their messages weigh more than model, parameters and schema."""
    lines, other_lines = (_json_lines(request["messages"]) for request in (recorded, asked))
    by_lines = difflib.SequenceMatcher(None, lines, other_lines, autojunk=False).ratio()
    text, other_text = (" ".join(each)[:COMPARED] for each in (lines, other_lines))
    by_letters = difflib.SequenceMatcher(None, text, other_text).quick_ratio()
    same = sum(_json(recorded[name]) == _json(asked[name]) for name in ("model", "params", "schema"))
    return by_lines + by_letters + same / 10


def _of_messages(recorded: Sequence[JsonObject], asked: Sequence[JsonObject]) -> Iterator[str]:
    several = max(len(recorded), len(asked)) > 1
    for number, (message, other) in enumerate(zip(recorded, asked, strict=False), 1):
        role, other_role = message["role"], other["role"]
        if role != other_role:
            subject = f"message {number}" if several else "the message"
            yield f"{subject}: recorded as {role}, asked as {other_role}"
        elif _json(message) != _json(other):
            subject = f"message {number} ({role})" if several else f"the {role} message"
            yield _around_difference(subject, _text(message), _text(other))
    if len(recorded) != len(asked):
        yield f"the number of messages: {len(recorded)} recorded, {len(asked)} asked"


def _of_value(name: str, recorded: Any, asked: Any) -> Iterator[str]:
    if _json(recorded) != _json(asked):
        yield f"{name}: recorded {_short(recorded)}, asked {_short(asked)}"


def _of_params(recorded: JsonObject, asked: JsonObject) -> Iterator[str]:
    for name in sorted({*recorded, *asked}):
        yield from _of_value(name, recorded.get(name), asked.get(name))


def _around_difference(subject: str, recorded: str, asked: str) -> str:
    """Return both texts around the place where they part."""
    start = max(0, common_prefix(recorded, asked) - BEFORE)
    return f"{subject}: recorded {_excerpt(recorded, start)}, asked {_excerpt(asked, start)}"


def _excerpt(text: str, start: int) -> str:
    excerpt = " ".join(text[start : start + EXCERPT].split())
    before, after = "..." if start else "", "..." if start + EXCERPT < len(text) else ""
    return f'"{before}{excerpt}{after}"'


def _text(message: JsonObject) -> str:
    content = message.get("content")
    return content if isinstance(content, str) and "tool_calls" not in message else _json(message)


def _short(value: Any) -> str:
    text = "none" if value is None else _json(value)
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "..."


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _json_lines(messages: Any) -> list[str]:
    return json.dumps(messages, indent=1, sort_keys=True, ensure_ascii=False, default=str).splitlines()
