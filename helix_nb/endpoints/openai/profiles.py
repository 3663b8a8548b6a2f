"""What each kind of server needs, and the request body that comes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...messages import Message, Request
from .body import spelled

MIB = 1024 * 1024
FILLER = "You are a helpful assistant."
ALMOST_ZERO = 1e-6
SCHEMA_NAME = "answer"
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_NEW_LIMIT = re.compile(r"^(o1|o3|o4|gpt-5)\b")


@dataclass(frozen=True)
class Profile:
    """How one kind of server differs from the protocol it speaks."""

    name: str
    needs_model: bool = True
    body_limit_bytes: int | None = None
    drops_zeros: bool = False  # `"temperature": 0` vanishes on the way, 1e-6 survives
    replaces_system: bool = False  # with a plain user key the first system message loses its content
    forces_schema: bool = False  # response_format loses parts of a schema, a tool's parameters survive
    parts: frozenset[str] | None = None  # the kinds of content part that survive; None: all


PROFILES = {
    "helix": Profile(
        "helix",
        needs_model=False,
        body_limit_bytes=10 * MIB,
        drops_zeros=True,
        replaces_system=True,
        forces_schema=True,
        parts=frozenset({"text", "image_url"}),
    ),
    "openai": Profile("openai"),
    "demo": Profile("demo", needs_model=False, body_limit_bytes=10 * MIB),
}


def profile_named(name: str) -> Profile:
    """Return the profile of that name; ConfigError lists the others."""
    if name in PROFILES:
        return PROFILES[name]
    raise ConfigError(f"No profile is called {name!r}; known: {', '.join(PROFILES)}.")


def body_of(
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


def encoded(body: Mapping[str, Any], profile: Profile) -> bytes:
    """Return the body's bytes; ConfigError when they are more than the server reads."""
    content = _to_json(body).encode("utf-8", "replace")
    limit = profile.body_limit_bytes
    if limit is not None and len(content) > limit:
        raise ConfigError(
            f"This request is {len(content) / MIB:.1f} MiB and {profile.name} reads {limit / MIB:.0f} MiB "
            "at most; nothing was sent. Send less text or smaller images."
        )
    return content


def _messages(messages: tuple[Message, ...], profile: Profile, agent: bool) -> list[dict[str, Any]]:
    wire = [_message(message, profile) for message in messages]
    if profile.replaces_system and not agent:
        first = next((i for i, message in enumerate(wire) if message["role"] == "system"), None)
        if first is not None and wire[first]["content"] != FILLER:
            wire.insert(first, {"role": "system", "content": FILLER})
    return wire


def _message(message: Message, profile: Profile) -> dict[str, Any]:
    wire = message.to_wire()
    for part in message.content if isinstance(message.content, tuple) else ():
        kind = part.get("type")
        allowed = frozenset({"text"}) if message.role == "system" else profile.parts
        if allowed is not None and kind not in allowed:
            kinds = " or ".join(sorted(allowed))
            raise ConfigError(f"A {message.role} message takes parts of type {kinds} here, not {kind!r}.")
    if message.role == "system":
        wire["content"] = message.text
    return wire


def _params(request: Request, profile: Profile, model: str) -> dict[str, Any]:
    params = {name: spelled(name, value) for name, value in request.params.items() if value is not None}
    for name in ("messages", "model", "stream"):
        if name in params:
            raise ConfigError(
                f"{name!r} is not a parameter of the request; {name} is set by the call itself."
            )
    if _NEW_LIMIT.match(model.rpartition("/")[2]) and "max_tokens" in params:
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
    """Ask for an answer that follows the schema, in the way that keeps the schema whole."""
    schema = spelled("schema", schema)
    plain_object = schema.get("type", "object") == "object"  # a tool's parameters are always an object
    if profile.forces_schema and plain_object and "tools" not in body and "tool_choice" not in body:
        function = {"name": SCHEMA_NAME, "description": "Give the answer.", "parameters": schema}
        choice = {"type": "function", "function": {"name": SCHEMA_NAME}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
    if "response_format" in body:
        return {}
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": SCHEMA_NAME, "schema": schema}}
    }
