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
    """Return what JSON has no spelling for as plainer data: sets, numpy, pandas, pydantic; else TypeError.

    What is inside may need the same. (`str` of a long array would leave out its middle.)
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
    """Return `plain_value`, or the value's str() where there is none: for `json.dumps(default=)`."""
    try:
        return plain_value(value)
    except TypeError:
        return str(value)


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=json_default).encode


def read_tool_call(wire: Mapping[str, Any]) -> ToolCall:
    """Read a tool call as it stands on the wire; ConfigError says what is wrong with it."""
    function = (wire.get("function") or {}) if isinstance(wire, Mapping) else None
    if not isinstance(function, Mapping):
        raise ConfigError("tool_calls is a list of {id, type, function: {name, arguments}} mappings.")
    found = (wire.get("id"), function.get("name"), function.get("arguments"))
    if not all(value is None or isinstance(value, str) for value in found):
        raise ConfigError("The id, name and arguments of a tool call are texts; arguments is JSON.")
    return ToolCall(*(value or "" for value in found))


def _sequence(calls: Any) -> Sequence[Any]:
    return (calls or ()) if calls is None or isinstance(calls, list | tuple) else (calls,)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. `content` is text, a tuple of content parts, or None."""

    role: str
    content: str | tuple[Mapping[str, Any], ...] | None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()

    @classmethod
    def of(cls, item: Message | Mapping[str, Any]) -> Message:
        """Read a `{role, content}` mapping; ConfigError says what is wrong with it."""
        if isinstance(item, Message):
            return item
        if not isinstance(item, Mapping):
            raise ConfigError(
                f"A prompt is text or a list of {{role, content}} mappings, not of {type(item).__name__}."
            )
        role, content = item.get("role"), item.get("content")
        if role not in ROLES:
            raise ConfigError(f"A message needs a role out of {', '.join(ROLES)}; got {role!r}.")
        calls = tuple(read_tool_call(call) for call in _sequence(item.get("tool_calls")))
        if content is None and not calls:
            raise ConfigError(f"The {role} message has no content.")
        if content is not None and not isinstance(content, str):
            if not isinstance(content, Sequence) or not all(isinstance(p, Mapping) for p in content):
                kind = type(content).__name__
                raise ConfigError(f"The content of a {role} message is text or a list of parts, not {kind}.")
            if any(p.get("type") == "text" and not isinstance(p.get("text"), str) for p in content):
                raise ConfigError(f"A part of type text of the {role} message holds no text.")
            content = tuple(dict(part) for part in content)
        return cls(role, content, item.get("name"), item.get("tool_call_id"), calls)

    @property
    def text(self) -> str:
        """The text of the content, parts joined by newlines; images are left out."""
        if isinstance(self.content, str) or self.content is None:
            return self.content or ""
        return "\n".join(str(part["text"]) for part in self.content if part.get("type") == "text")

    def to_wire(self) -> dict[str, Any]:
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
    """How long a request is tried for, before any of its answer has arrived.

    The default is that of a person who waits. A failed try counts against the `retries` of the
    endpoint, but for those that `refusals` and `overloads` allow apart from it.
    """

    patience_s: float = 120.0  # the longest pause a server may ask for
    backoff_s: float = 0.5  # the longest first wait where it asks for none; each later one doubles
    refusals: int = 0  # tries that a 429 may answer
    overloads: int = 0  # tries that a 503 or 529 may answer while the server serves others
    adaptive: bool = False  # it teaches the endpoint's adaptive limit, and keeps to its rate
    timeout_scope: Literal["call", "in_flight"] = "call"  # what `timeout_s` counts
    reload: bool = True  # a local model that could not be loaded a moment ago is loaded again


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an endpoint, before any endpoint's own spelling of it.

    `params` holds everything else under its wire name (temperature, stop, tools, ...). `schema`
    is a JSON schema the answer must follow; the endpoint's profile decides how to ask for it.
    `timeout_s` is for the whole call, which may take several exchanges: they share `ends_at`.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    stream: bool = True
    timeout_s: float | None = None
    origin: Origin = field(default_factory=Origin)
    retry_policy: RetryPolicy = RetryPolicy()
    ends_at: float | None = None  # by time.monotonic; set when the call begins

    def out_of_time(self) -> TimedOut:
        """The error for a call that took longer than its timeout."""
        waits = f"{self.timeout_s:g} seconds (timeout=)"
        return TimedOut(f"No whole answer within {waits}; what arrived is kept.")

    def to_json(self) -> dict[str, Any]:
        """The part of the request that its answer depends on, as plain JSON data."""
        return {
            "model": self.model,
            "messages": [message.to_wire() for message in self.messages],
            "params": dict(self.params),
            "schema": self.schema,
        }

    def digest(self, endpoint_identity: str = "") -> str:
        """The identity of this request (hex SHA-256); without an endpoint part, the one replay matches."""
        return self.digests(endpoint_identity)[0]

    def digests(self, *endpoint_identities: str) -> list[str]:
        """`digest` for each of these: the request is encoded only once."""
        canonical = _canonical(self.to_json())
        texts = (f"{part}\0{canonical}".encode("utf-8", "surrogatepass") for part in endpoint_identities)
        return [hashlib.sha256(text).hexdigest() for text in texts]


def __getattr__(name: str) -> Any:
    if name in ("Reply", "Usage"):  # pickles of 0.1.0 look for them here
        from . import replies

        return getattr(replies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
