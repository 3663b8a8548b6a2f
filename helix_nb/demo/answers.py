"""The demo endpoint's answer to a request: a tool call, JSON that follows a schema, or a skill's text.

In this order: a forced tool call, an offered tool that the prompt names, the result of a tool, JSON for a
`response_format`, the skills, and one sentence that says what this is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .canned import FALLBACK, REASONING
from .extraction import Messages, last_prompt, material_of, text_of
from .schema_fill import fill
from .skills import SKILLS
from .validation import InvalidRequest


@dataclass(frozen=True, slots=True)
class CannedAnswer:
    """What to send: text, or one call of a tool."""

    text: str = ""
    call: tuple[str, str] | None = None  # name and JSON arguments
    reasoning: str = ""  # before either


def answer(body: Mapping[str, Any]) -> CannedAnswer:
    """Answer a checked request body, the same way every time.

    >>> answer({"messages": [{"role": "user", "content": "What is the capital of France?"}]}).text
    'The capital of France is Paris.'
    """
    messages: Messages = body["messages"]
    prompt = last_prompt(messages)
    if tool := _tool_to_call(body, prompt):
        arguments = _fill(tool.get("parameters") or {"type": "object"}, prompt)
        return CannedAnswer(call=(tool["name"], json.dumps(arguments)))
    reasoning = REASONING if body.get("reasoning_effort") not in (None, "none") else ""
    if messages[-1]["role"] == "tool":
        return CannedAnswer(_report_tools(messages), reasoning=reasoning)
    if schema := _response_schema(body):
        value = _fill(schema, material_of(prompt))
        return CannedAnswer(json.dumps(value, ensure_ascii=False), reasoning=reasoning)
    for skill in SKILLS:
        if (text := skill(prompt, messages)) is not None:
            return CannedAnswer(text, reasoning=reasoning)
    return CannedAnswer(FALLBACK, reasoning=reasoning)


def _response_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        return response_format["json_schema"].get("schema") or {"type": "object"}
    if response_format.get("type") == "json_object":
        sentiment = {"enum": ["positive", "negative", "neutral"]}
        return {"type": "object", "properties": {"sentiment": sentiment, "summary": {"type": "string"}}}
    return None


def _fill(schema: Mapping[str, Any], text: str) -> Any:
    try:
        return fill(schema, text)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise InvalidRequest(
            f"the demo endpoint cannot follow this schema: {type(error).__name__}, {error}"
        ) from None


def _tool_to_call(body: Mapping[str, Any], prompt: str) -> Mapping[str, Any] | None:
    """Return the forced tool, or the offered one whose words the prompt uses most, if it uses two or more."""
    tools = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, Mapping):
        return next((tool for tool in tools if tool["name"] == choice["function"]["name"]), None)
    if not tools or choice == "none" or (body["messages"][-1]["role"] == "tool" and choice != "required"):
        return None
    best = max(tools, key=lambda tool: _relevance(tool, prompt))
    return best if choice == "required" or _relevance(best, prompt) >= 2 else None


def _relevance(tool: Mapping[str, Any], prompt: str) -> int:
    if re.search(rf"\b{re.escape(tool['name'])}\b", prompt):
        return 100
    stems = _stems(prompt)
    shared_with_name = stems & _stems(tool["name"].replace("_", " "))
    return 2 * len(shared_with_name) + len(stems & _stems(tool.get("description") or ""))


def _stems(text: str) -> set[str]:
    common = {"this", "that", "with", "from", "what", "which", "return", "returns", "given", "have", "your"}
    words = re.findall(r"[a-z]{4,}", text.lower())
    return {word.removesuffix("s")[:7] for word in words if word not in common}


def _report_tools(messages: Messages) -> str:
    """Repeat the results of tools at the end of a conversation."""
    names = {call.get("id"): call["function"]["name"] for m in messages for call in m.get("tool_calls") or ()}
    first = next(i for i in range(len(messages), -1, -1) if i == 0 or messages[i - 1]["role"] != "tool")
    results = [(names.get(m.get("tool_call_id"), "The tool"), text_of(m).strip()) for m in messages[first:]]
    return "\n".join(f"{name} answered: {content}" for name, content in results)
