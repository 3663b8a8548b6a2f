"""The JSON body of a request, as one kind of server takes it; what no server takes is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ...config.profiles import MIB, Profile
from ...errors import ConfigError
from ...messages import Message, Request, plain_value

FILLER = "You are a helpful assistant."  # the content that Helix gives to a system message it replaces
ALMOST_ZERO = 1e-6
SCHEMA_NAME = "answer"
INTEGERS = frozenset(
    {"max_tokens", "max_completion_tokens", "seed", "n", "top_k", "top_logprobs", "min_tokens", "num_ctx"}
)
NUMBERS = frozenset(
    {"temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"}
)
_CALL_SETS = ("messages", "model", "stream")  # members of the body that are no parameters
_NO_MAX_TOKENS = re.compile(r"^(o1|o3|o4|gpt-5)\b")  # models of OpenAI that refuse `max_tokens`
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def build_body(
    request: Request, profile: Profile, *, model: str | None, agent: bool, usage: bool = True
) -> dict[str, Any]:
    """Return the JSON body of a request.

    Args:
        agent: an agent answers (app_id or an agent key), so the system prompt is not replaced.
        usage: whether a streamed answer is asked for its token counts.

    Raises:
        ConfigError: a parameter or message that no server could accept.
    """
    body: dict[str, Any] = {"model": model} if model else {}
    body["messages"] = _messages(request.messages, profile, agent)
    body["stream"] = request.stream
    if request.stream and usage:
        body["stream_options"] = {"include_usage": True}
    body |= _params(request, profile, model or "")
    if request.schema is not None:
        body |= _schema(request.schema, body, profile)
    return body


def encode_body(body: Mapping[str, Any], profile: Profile) -> bytes:
    """Return the bytes of a body; ConfigError when they are more than the server reads."""
    content = _to_json(body).encode("utf-8", "replace")
    limit = profile.body_limit_bytes
    if limit is not None and len(content) > limit:
        raise ConfigError(
            f"This request is {len(content) / MIB:.1f} MiB and {profile.name} reads {limit / MIB:.0f} MiB "
            "at most; nothing was sent. Send less text or smaller images."
        )
    return content


def json_value(name: str, value: Any) -> Any:
    """Return a parameter as JSON data of the type that its name asks for.

    Raises:
        ConfigError: the value is of another type, or has no spelling in JSON.

    >>> json_value("max_tokens", 10.0), json_value("stop", "END")
    (10, ['END'])
    """
    value = _plain(name, value)
    if name in INTEGERS:
        return _integer(name, value)
    if name in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ConfigError(f"{name} is a number, not {value!r}.")
    if name == "stop":
        return _stop(value)
    if name == "metadata" and isinstance(value, dict):
        return {key: item if isinstance(item, str) else str(item) for key, item in value.items()}
    return value


def _messages(messages: tuple[Message, ...], profile: Profile, agent: bool) -> list[dict[str, Any]]:
    wire = [_message(message, profile) for message in messages]
    if profile.replaces_system and not agent:
        _put_filler_first(wire)
    return wire


def _put_filler_first(wire: list[dict[str, Any]]) -> None:
    """Give Helix a system message to replace, so that the caller's own survives behind it."""
    first = next((i for i, message in enumerate(wire) if message["role"] == "system"), None)
    if first is not None and wire[first]["content"] != FILLER:
        wire.insert(first, {"role": "system", "content": FILLER})


def _message(message: Message, profile: Profile) -> dict[str, Any]:
    wire = message.to_wire()
    allowed = frozenset({"text"}) if message.role == "system" else profile.parts
    for part in message.content if isinstance(message.content, tuple) else ():
        if allowed is not None and part.get("type") not in allowed:
            types = " or ".join(sorted(allowed))
            raise ConfigError(
                f"A {message.role} message takes parts of type {types} here, not {part.get('type')!r}."
            )
    if message.role == "system":
        wire["content"] = message.text
    return wire


def _params(request: Request, profile: Profile, model: str) -> dict[str, Any]:
    params = {name: json_value(name, value) for name, value in request.params.items() if value is not None}
    for name in _CALL_SETS:
        if name in params:
            raise ConfigError(
                f"{name!r} is not a parameter of the request; {name} is set by the call itself."
            )
    if "max_tokens" in params and _NO_MAX_TOKENS.match(model.rpartition("/")[2]):
        limit = params.pop("max_tokens")
        params.setdefault("max_completion_tokens", limit)
    if profile.drops_zeros:
        for name in ("temperature", "top_p"):
            if params.get(name) == 0:
                params[name] = ALMOST_ZERO
    if not request.stream:
        params.pop("stream_options", None)
    return params


def _schema(schema: Mapping[str, Any], body: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return the members that ask for an answer of that schema, in the way that keeps the schema whole."""
    schema = json_value("schema", schema)
    is_object = schema.get("type", "object") == "object"  # a tool's parameters are always an object
    if profile.forces_schema and is_object and "tools" not in body and "tool_choice" not in body:
        function = {"name": SCHEMA_NAME, "description": "Give the answer.", "parameters": schema}
        choice = {"type": "function", "function": {"name": SCHEMA_NAME}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
    if "response_format" in body:
        return {}
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": SCHEMA_NAME, "schema": schema}}
    }


def _integer(name: str, value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} is a whole number, not {value!r}.")
    return value


def _stop(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"stop is a text or a list of texts, not {value!r}.")
    return texts


def _plain(name: str, value: Any) -> Any:
    """Turn a value into JSON data, down to its last item."""
    if value is None or isinstance(value, bool | str | int):
        return value if type(value) in (type(None), bool, str, int) else _base(value)
    if isinstance(value, float | Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise ConfigError(f"{name} is {number}, which is not a number a server can read.")
        return number
    if isinstance(value, Mapping):
        return {str(key): _plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    try:
        plainer = plain_value(value)
    except TypeError:
        raise ConfigError(f"{name} holds a {type(value).__name__}, which cannot be sent as JSON.") from None
    return _plain(name, plainer)


def _base(value: Any) -> Any:
    """Return a plain copy of an instance of a subclass of str or int, a member of an enum for example."""
    return str.__str__(value) if isinstance(value, str) else int(value)
