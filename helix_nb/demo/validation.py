"""The check of a request body, as strict as Helix's; what is wrong is said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")


class InvalidRequest(Exception):
    """The request is malformed."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param  # the field that is wrong


def read_request(raw: bytes) -> dict[str, Any]:
    """Read and check a body; integers may not be written as 10.0, `stop` is a list.

    Raises:
        InvalidRequest: the body is not one that Helix takes.
    """
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body is a JSON object, not {_type_name(body)}")
    for name, types in _TYPES.items():
        _check_type(body, name, types)
    _check_limits(body)
    _check_texts(body)
    if not body.get("messages"):
        raise InvalidRequest("messages must hold at least one message", "messages")
    for number, message in enumerate(body["messages"]):
        _check_message(message, f"messages[{number}]")
    _check_tools(body)
    _check_tool_choice(body)
    _check_response_format(body)
    return body


_NUMBER = (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "messages": (list,),
    "stream": (bool,),
    "stream_options": (dict,),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "max_tokens": (int,),
    "max_completion_tokens": (int,),
    "seed": (int,),
    "n": (int,),
    "stop": (list,),
    "tools": (list,),
    "tool_choice": (str, dict),
    "response_format": (dict,),
    "reasoning_effort": (str,),
    "metadata": (dict,),
    "user": (str,),
}
_LIMITS = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "n": (1, 1),
    "max_tokens": (1, None),
    "max_completion_tokens": (1, None),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_NAMES = {
    str: "string",
    list: "array",
    bool: "bool",
    dict: "object",
    int: "int",
    float: "number",
    type(None): "null",
}


def _type_name(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _check_type(body: Mapping[str, Any], name: str, types: tuple[type, ...]) -> None:
    value = body.get(name)
    bool_for_int = isinstance(value, bool | int) and isinstance(value, bool) != (bool in types)
    if value is not None and (bool_for_int or not isinstance(value, types)):
        names = " or ".join(_NAMES[kind] for kind in types)
        raise InvalidRequest(
            f"json: cannot unmarshal {_type_name(value)} into field {name} of type {names}", name
        )


def _check_limits(body: Mapping[str, Any]) -> None:
    for name, (low, high) in _LIMITS.items():
        value = body.get(name)
        if value is not None and (value < low or (high is not None and value > high)):
            raise InvalidRequest(
                f"{name} must be between {low} and {high if high is not None else 'any number'}", name
            )


def _check_texts(body: Mapping[str, Any]) -> None:
    if not all(isinstance(text, str) for text in body.get("stop") or ()):
        raise InvalidRequest("json: cannot unmarshal into field stop of type []string", "stop")
    if not all(isinstance(text, str) for text in (body.get("metadata") or {}).values()):
        raise InvalidRequest(
            "json: cannot unmarshal into field metadata of type map[string]string", "metadata"
        )


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise InvalidRequest(f"{place} needs a role out of {', '.join(ROLES)}", place)
    content, calls = message.get("content"), message.get("tool_calls") or []
    if content is None and not calls:
        raise InvalidRequest(f"{place} has no content", place)
    if not (isinstance(calls, list) and all(map(_is_call, calls))):
        raise InvalidRequest(f"{place}.tool_calls is a list of functions with a name and arguments", place)
    if not isinstance(message.get("tool_call_id"), str | None):
        raise InvalidRequest(f"{place}.tool_call_id is the id of a call", place)
    if isinstance(content, list):
        for part in content:
            _check_part(part, place)
    elif content is not None and not isinstance(content, str):
        raise InvalidRequest(
            f"json: cannot unmarshal {_type_name(content)} into field {place}.content of type string", place
        )


def _check_part(part: Any, place: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return
    if kind == "image_url" and isinstance(part.get("image_url"), dict) and "url" in part["image_url"]:
        return
    raise InvalidRequest(f"{place}.content: a part is {{type: text}} or {{type: image_url}}", place)


def _is_call(call: Any) -> bool:
    return (
        isinstance(call, dict)
        and isinstance(call.get("id"), str | None)
        and _is_function(call.get("function"), "arguments")
    )


def _is_function(function: Any, *texts: str) -> bool:
    return isinstance(function, dict) and all(
        isinstance(function.get(text), str) for text in ("name", *texts)
    )


def _check_tools(body: Mapping[str, Any]) -> None:
    if not all(map(_is_tool, body.get("tools") or [])):
        raise InvalidRequest(
            "tools is a list of {type: function, function: {name, description, parameters}}", "tools"
        )


def _is_tool(tool: Any) -> bool:
    function: Any = tool.get("function") if isinstance(tool, dict) else None
    return _is_function(function) and isinstance(function.get("description"), str | None)


def _check_tool_choice(body: Mapping[str, Any]) -> None:
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise InvalidRequest("tool_choice is none, auto, required or one function", "tool_choice")
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if name not in [tool["function"]["name"] for tool in body.get("tools") or []]:
            raise InvalidRequest(f"tool_choice names a function that is not offered: {name}", "tool_choice")


def _check_response_format(body: Mapping[str, Any]) -> None:
    response_format = body.get("response_format") or {}
    kind = response_format.get("type", "text")
    if kind not in ("text", "json_object", "json_schema"):
        raise InvalidRequest("response_format.type is text, json_object or json_schema", "response_format")
    if kind == "json_schema" and not isinstance(response_format.get("json_schema"), dict):
        raise InvalidRequest(
            "response_format.json_schema is an object with a name and a schema", "response_format"
        )
