"""What tells two requests apart, in words: for a replay that found no answer."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SHOWN = 70  # characters of each of two texts
MOST = 2000  # characters of each of two requests that are compared
BEFORE = 25  # of these, how many stand before the first difference


def differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Every difference of two requests as JSON data, what weighs most first."""
    return [
        *_of_messages(recorded["messages"], asked["messages"]),
        *_of_value("the model", recorded["model"], asked["model"]),
        *_of_params(recorded["params"], asked["params"]),
        *(["the schema"] if _plain(recorded["schema"]) != _plain(asked["schema"]) else []),
    ]


def likeness(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> float:
    """How near two requests are; what is said in them weighs more than how it was asked."""
    one, other = (_lines(request["messages"]) for request in (recorded, asked))
    whole = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
    words = difflib.SequenceMatcher(None, " ".join(one)[:MOST], " ".join(other)[:MOST]).quick_ratio()
    same = sum(_plain(recorded[name]) == _plain(asked[name]) for name in ("model", "params", "schema"))
    return whole + words + same / 10


def _lines(messages: Any) -> list[str]:
    return json.dumps(messages, indent=1, sort_keys=True, ensure_ascii=False, default=str).splitlines()


def _of_messages(recorded: Sequence[Any], asked: Sequence[Any]) -> Iterator[str]:
    for number, (one, other) in enumerate(zip(recorded, asked, strict=False), 1):
        which = f"message {number}" if max(len(recorded), len(asked)) > 1 else "the message"
        if one["role"] == other["role"]:
            which = f"{which} ({one['role']})" if which != "the message" else f"the {one['role']} message"
            if _plain(one) != _plain(other):
                yield _apart(which, _words(one), _words(other))
        else:
            yield f"{which}: recorded as {one['role']}, asked as {other['role']}"
    if len(recorded) != len(asked):
        yield f"the number of messages: {len(recorded)} recorded, {len(asked)} asked"


def _of_value(name: str, recorded: Any, asked: Any) -> Iterator[str]:
    if _plain(recorded) != _plain(asked):
        yield f"{name}: recorded {_short(recorded)}, asked {_short(asked)}"


def _of_params(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*recorded, *asked}):
        yield from _of_value(name, recorded.get(name), asked.get(name))


def _apart(which: str, recorded: str, asked: str) -> str:
    """Both texts around the place where they part."""
    pairs = enumerate(zip(recorded, asked, strict=False))
    at = next((index for index, (one, other) in pairs if one != other), min(len(recorded), len(asked)))
    start = max(0, at - BEFORE)
    return f"{which}: recorded {_part(recorded, start)}, asked {_part(asked, start)}"


def _part(text: str, start: int) -> str:
    shown = " ".join(text[start : start + SHOWN].split())
    left, right = "..." if start else "", "..." if start + SHOWN < len(text) else ""
    return f'"{left}{shown}{right}"'


def _words(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) and "tool_calls" not in message else _plain(message)


def _short(value: Any) -> str:
    text = "none" if value is None else _plain(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
