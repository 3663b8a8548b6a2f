"""The nouns everything else passes along: Message, Request, Delta, Usage, Reply.

Frozen plain data. Times are UTC datetimes, durations milliseconds (`_ms`), timeouts seconds
(`_s`), token counts ints, and None always means "unknown".
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

from .errors import ConfigError, TimedOut

Status = Literal["pending", "ok", "truncated", "interrupted", "error"]
ROLES = ("system", "user", "assistant", "tool")


def as_json(value: Any) -> Any:
    """What JSON has no spelling for as plain data: sets, numpy, pandas, pydantic; else its str().

    `str` of a long array leaves out its middle, and two of them would look the same.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    for name in ("tolist", "item", "model_dump"):
        if callable(convert := getattr(value, name, None)) and not isinstance(value, type):
            return convert()
    return str(value)


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=as_json).encode


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model asks to have called; `arguments` is the JSON text it wrote."""

    id: str
    name: str
    arguments: str

    def to_wire(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}

    @classmethod
    def of(cls, wire: Mapping[str, Any]) -> ToolCall:
        function = (wire.get("function") or {}) if isinstance(wire, Mapping) else None
        if not isinstance(function, Mapping):
            raise ConfigError("tool_calls is a list of {id, type, function: {name, arguments}} mappings.")
        found = (wire.get("id"), function.get("name"), function.get("arguments"))
        if not all(value is None or isinstance(value, str) for value in found):
            raise ConfigError("The id, name and arguments of a tool call are texts; arguments is JSON.")
        return cls(*(value or "" for value in found))


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
        calls = tuple(ToolCall.of(call) for call in _sequence(item.get("tool_calls")))
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
class Origin:
    """Who asked, for the log; none of it is sent.

    `new_from` is the index of the first message that the chain of parents does not already hold
    (the system message never counts as held). `log=False` writes no row at all.
    """

    source: Literal["cell", "chat", "batch", "api"] = "api"
    thread_id: str | None = None
    parent_id: str | None = None
    new_from: int = 0
    batch_id: str | None = None
    row_key: str | None = None
    notebook: str | None = None
    cell_id: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    log: bool = True


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
        parts = (part + _folder_of(self.model, part) for part in endpoint_identities)
        texts = (f"{part}\0{canonical}".encode("utf-8", "surrogatepass") for part in parts)
        return [hashlib.sha256(text).hexdigest() for text in texts]


def _folder_of(model: str | None, endpoint_identity: str) -> str:
    """Of a local model, the folder that its name means now: the same name may mean another elsewhere."""
    if model is None or not endpoint_identity.startswith("local\n"):
        return ""
    path = os.path.expanduser(model)  # noqa: PTH111 - any text may stand here, and this never raises
    return f"\nfolder={os.path.realpath(path)}" if os.path.isdir(path) else ""  # noqa: PTH112 - nor this


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one exchange; None is unknown, never 0 for unknown.

    `prompt_tokens` includes `cached_tokens`, `completion_tokens` includes `reasoning_tokens`.
    `source` says who counted: "server", "local" (this machine's model), "replay", or None.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: Literal["server", "local", "replay"] | None = None


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call; empty strings mean "nothing new"."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(NamedTuple):  # made for every token: a frozen dataclass takes five times as long
    """One step of an answer. `finished` means the endpoint said the answer is complete."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    finished: bool = False
    usage: Usage | None = None
    model: str | None = None
    response_id: str | None = None
    http_status: int | None = None
    cost: float | None = None
    currency: str | None = None
    replay_of: str | None = None
    endpoint: str | None = None  # of a replayed answer: the endpoint that gave it
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and the facts about it; `str(reply)` is the answer, and it displays as safe HTML.

    `status` is "ok" (finished; `finish_reason` says how), "truncated" (it ended without a finish),
    "interrupted" (the user stopped it), "error", or "pending" while it streams. `parsed` is the
    validated object when a schema was asked for. `notes` are sentences worth showing once.
    Shown on its own, it has them below, and what it lacks where it is not a whole answer.
    """

    text: str = ""
    reasoning: str = ""
    parsed: Any = None
    status: Status = "pending"
    finish_reason: str | None = None
    usage: Usage = Usage()
    model: str | None = None
    response_id: str | None = None
    exchange_id: str | None = None
    duration_ms: float | None = None
    time_to_first_token_ms: float | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    model_requested: str | None = None
    endpoint: str | None = None
    base_url: str | None = None
    started_at: datetime | None = None
    first_token_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    http_status: int | None = None
    error_type: str | None = None
    error: str | None = None
    cost: float | None = None
    currency: str | None = None
    cost_source: str | None = None
    replay_of: str | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"Reply({text!r}, status={self.status!r}, model={self.model!r})"

    def __format__(self, spec: str) -> str:
        return format(self.text, spec)

    @property
    def cut(self) -> bool:
        """Whether the answer is finished but not whole (max_tokens or a content filter)."""
        return self.finish_reason in ("length", "content_filter")

    def having(self, **changes: Any) -> Reply:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from .showing import bundle

        return bundle(self)
