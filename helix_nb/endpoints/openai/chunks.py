"""The parts of one decoded chunk or completion: its choice, its pieces of text, its token counts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...replies import ToolCallDelta, Usage

MOST_TOKENS = 2**53  # of one answer; sums of more would not fit the log, nor a column of frames


class Pieces(NamedTuple):
    """What one choice adds to the answer."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


def choice_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the choice with index 0, or an empty one: several choices are never mixed."""
    choices = data.get("choices")
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict) and (choice.get("index", position) or 0) == 0:
            return choice
    return {}


def pieces_of(choice: Mapping[str, Any]) -> Pieces:
    """Return text, reasoning and tool calls of a choice's `delta` or `message`."""
    part = choice.get("delta")
    if not isinstance(part, dict):
        part = choice.get("message")
    if not isinstance(part, dict):
        return Pieces(_string(choice.get("text")))
    content, thought = _content(part.get("content"))
    reasoning = _string(part.get("reasoning_content")) or _string(part.get("reasoning"))
    calls = part.get("tool_calls")
    return Pieces(
        content or _string(part.get("refusal")),
        reasoning or thought,
        tuple(_tool_calls(calls)) if isinstance(calls, list) else (),
    )


def usage_of(data: Mapping[str, Any]) -> Usage | None:
    """Return the token counts that the server sent; None where they are missing, null or all zero."""
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if not (prompt or completion or total):
        return None
    if total is None and prompt is not None and completion is not None:
        total = prompt + completion
    cached = _count(_details(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    if cached is None:
        cached = _count(usage, "prompt_cache_hit_tokens", "cached_tokens")
    details = _details(usage, "completion_tokens_details", "output_tokens_details")
    return Usage(prompt, completion, total, cached, _count(details, "reasoning_tokens"), "server")


def cost_of(data: Mapping[str, Any]) -> float | None:
    """Return the cost that the server itself reports in `usage.cost`."""
    usage = data.get("usage")
    cost = usage.get("cost") if isinstance(usage, dict) else None
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost) or cost < 0:
        return None
    return float(cost)


def _content(content: Any) -> tuple[str, str]:
    """Return text and reasoning of a content that is text, a list of parts, or nothing."""
    if not isinstance(content, list):
        return _string(content), ""
    text = reasoning = ""
    for part in content:
        if not isinstance(part, dict):
            text += _string(part)
        elif "thinking" in part:
            reasoning += _content(part["thinking"])[0]
        else:
            text += _string(part.get("text"))
    return text, reasoning


def _tool_calls(calls: list[Any]) -> Iterator[ToolCallDelta]:
    for position, call in enumerate(calls):
        if not isinstance(call, dict):
            continue
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments, ensure_ascii=False)
        index = call.get("index")
        index = index if isinstance(index, int) else position
        name = _string(function.get("name"))
        yield ToolCallDelta(index, _string(call.get("id")), name, _string(arguments))


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})


def _count(counts: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_TOKENS:
            return value
    return None


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
