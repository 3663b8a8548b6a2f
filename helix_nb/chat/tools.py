"""Calls the functions that a user passed as tools, as a model asks; nothing else ever runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import describe_exception
from ..messages import json_default
from ..redaction import redact
from ..replies import ToolCall

if TYPE_CHECKING:
    from ..schemas import Tool


def call_tool(tools: Mapping[str, Tool], call: ToolCall) -> Any:
    """Call the function that a model asks for and return its result, which may be awaitable.

    Where that fails, the result is a sentence for the model, which may do better at the next call.
    """
    tool = tools.get(call.name)
    if tool is None:
        return f"There is no tool called {call.name}."
    try:
        return tool.function(**tool.validate(call.arguments))
    except ValueError as problem:
        return f"The call did not work: {problem}"
    except Exception as problem:  # noqa: BLE001 - the model reads it
        return f"The tool failed: {describe_exception(problem)}"


def result_text(result: Any) -> str:
    """Return the result of a tool as text for the model, redacted."""
    try:
        return redact(result if isinstance(result, str) else _json_or_repr(result))
    except Exception as problem:  # noqa: BLE001 - the object's own __str__ or __repr__ failed
        return f"The tool's result cannot be shown: {describe_exception(problem)}"


def _json_or_repr(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=json_default)
    except (TypeError, ValueError, RecursionError):  # odd keys, or a value that contains itself
        return repr(value)
