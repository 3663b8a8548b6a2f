"""What goes to an endpoint: Messages, and the Request that holds them.

Frozen plain data. Timeouts are seconds (`_s`), and None means that something was not given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import ConfigError, TimedOut
from .origin import Origin
from .replies import ToolCall

ROLES = ("system", "user", "assistant", "tool")


def plain_value(value: Any) -> Any:
    """Convert a value that JSON cannot hold: sets, numpy, pandas, pydantic; TypeError for any other.

    The items of the result may need the same. Arrays become lists, because their `str` leave out the middle.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    for name in ("tolist", "item", "model_dump"):
        if callable(convert := getattr(value, name, None)) and not isinstance(value, type):
            return convert()
    raise TypeError(f"{type(value).__name__} has no spelling in JSON")


def json_default(value: Any) -> Any:
    """Return `plain_value(value)`, else its str(): for `json.dumps(default=)`."""
    try:
        return plain_value(value)
    except TypeError:
        return str(value)


_canonical_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=json_default).encode


def read_tool_call(wire: Mapping[str, Any]) -> ToolCall:
    """Read a tool call as the wire spells it; ConfigError says what is wrong with it."""
    function = (wire.get("function") or {}) if isinstance(wire, Mapping) else None
    if not isinstance(function, Mapping):
        raise ConfigError("tool_calls is a list of {id, type, function: {name, arguments}} mappings.")
    texts = (wire.get("id"), function.get("name"), function.get("arguments"))
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ConfigError("The id, name and arguments of a tool call are texts; arguments is JSON.")
    return ToolCall(*(text or "" for text in texts))


def _read_tool_calls(wire: Any) -> tuple[ToolCall, ...]:
    calls = wire if isinstance(wire, list | tuple) else () if wire is None else (wire,)
    return tuple(read_tool_call(call) for call in calls)


def _read_role(wire: Any) -> str:
    if wire not in ROLES:
        raise ConfigError(f"A message needs a role out of {', '.join(ROLES)}; got {wire!r}.")
    return str(wire)


def _read_content(wire: Any, role: str) -> str | tuple[Mapping[str, Any], ...] | None:
    if wire is None or isinstance(wire, str):
        return wire
    if not isinstance(wire, Sequence) or not all(isinstance(part, Mapping) for part in wire):
        kind = type(wire).__name__
        raise ConfigError(f"The content of a {role} message is text or a list of parts, not {kind}.")
    if any(part.get("type") == "text" and not isinstance(part.get("text"), str) for part in wire):
        raise ConfigError(f"A part of type text of the {role} message holds no text.")
    return tuple(dict(part) for part in wire)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str  # of ROLES
    content: str | tuple[Mapping[str, Any], ...] | None  # text, content parts, or nothing beside tool calls
    name: str | None = None  # of the speaker, or of the tool
    tool_call_id: str | None = None  # the call that a tool's message answers
    tool_calls: tuple[ToolCall, ...] = ()  # what an assistant's message wants called

    @classmethod
    def of(cls, item: Message | Mapping[str, Any]) -> Message:
        """Read a `{role, content}` mapping; ConfigError says what is wrong with it."""
        if isinstance(item, Message):
            return item
        if not isinstance(item, Mapping):
            raise ConfigError(
                f"A prompt is text or a list of {{role, content}} mappings, not of {type(item).__name__}."
            )
        role = _read_role(item.get("role"))
        content, calls = _read_content(item.get("content"), role), _read_tool_calls(item.get("tool_calls"))
        if content is None and not calls:
            raise ConfigError(f"The {role} message has no content.")
        return cls(role, content, item.get("name"), item.get("tool_call_id"), calls)

    @property
    def text(self) -> str:
        """The text of the content, parts joined by newlines; images are left out."""
        if isinstance(self.content, str) or self.content is None:
            return self.content or ""
        return "\n".join(str(part["text"]) for part in self.content if part.get("type") == "text")

    def to_wire(self) -> dict[str, Any]:
        """Return the message as the wire spells it; members that are not set are left out."""
        wire: dict[str, Any] = {"role": self.role}
        wire["content"] = list(self.content) if isinstance(self.content, tuple) else self.content
        if self.name:
            wire["name"] = self.name
        if self.tool_call_id:
            wire["tool_call_id"] = self.tool_call_id
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        return wire


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried, before any of its answer has arrived.

    The defaults suit a person who waits. A failed try counts against the `retries` of the endpoint,
    except for those that `refusals` and `overloads` allow.
    """

    patience_s: float = 120.0  # the longest pause a server may ask for
    backoff_s: float = 0.5  # the longest first wait where it asks for none; each later one doubles
    refusals: int = 0  # tries that a 429 may answer
    overloads: int = 0  # tries that a 503 or 529 may answer while the server serves others
    adaptive: bool = False  # the request teaches the endpoint's adaptive limit, and keeps to its rate
    timeout_scope: Literal["call", "in_flight"] = "call"  # what `timeout_s` counts
    reload: bool = True  # a local model that could not be loaded a moment ago is loaded again


@dataclass(frozen=True, slots=True)
class Request:
    """A question to an endpoint, before any endpoint's own spelling of it."""

    messages: tuple[Message, ...]
    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # by wire name: temperature, stop, tools, ...
    schema: Mapping[str, Any] | None = None  # a JSON schema; the endpoint's profile says how to ask for it
    stream: bool = True
    timeout_s: float | None = None  # for the whole call, which may take several exchanges
    origin: Origin = field(default_factory=Origin)
    retry_policy: RetryPolicy = RetryPolicy()
    ends_at: float | None = None  # of the whole call, by time.monotonic; set when it begins

    def timeout_error(self) -> TimedOut:
        """Return the error for a call that took longer than its timeout."""
        return TimedOut(
            f"No whole answer within {self.timeout_s:g} seconds (timeout=); what arrived is kept."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the part of the request that its answer depends on, as plain JSON data."""
        return {
            "model": self.model,
            "messages": [message.to_wire() for message in self.messages],
            "params": dict(self.params),
            "schema": self.schema,
        }

    def digest(self, endpoint_identity: str = "") -> str:
        """Return the identity of this request (hex SHA-256); without an endpoint part, that of replay."""
        return self.digests(endpoint_identity)[0]

    def digests(self, *endpoint_identities: str) -> list[str]:
        """Return `digest` for each of several endpoints, encoding the request once."""
        request_json = _canonical_json(self.to_json())
        texts = (f"{part}\0{request_json}".encode("utf-8", "surrogatepass") for part in endpoint_identities)
        return [hashlib.sha256(text).hexdigest() for text in texts]


def __getattr__(name: str) -> Any:
    if name in ("Reply", "Usage"):  # because pickles of 0.1.0 look for them here
        from . import replies

        return getattr(replies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
