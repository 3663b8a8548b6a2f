"""Builds the Request of an ask from its arguments, each checked before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ..config.connection import Connection
from ..config.registry import resolve
from ..config.secrets import refuse_key_names
from ..config.session import aliases, configured_model, first_answer_note
from ..errors import ConfigError
from ..messages import Message, Request
from ..origin import Origin, current_origin, new_id
from ..redaction import redact, redact_strings
from ..replies import ToolCall
from ..runtime.loop import run_sync

if TYPE_CHECKING:
    from ..schemas import Schema, Tool

Prompt = str | Sequence[Mapping[str, Any] | Message]
ContentPart = Mapping[str, Any]


@dataclass(frozen=True)
class PreparedRequest:
    """A request that is ready to send, its endpoint, and what its answer needs."""

    request: Request
    connection: Connection
    schema: Schema | None = None  # that the answer must follow
    tools: Mapping[str, Tool] = field(default_factory=dict)  # functions that may be called, by name
    endpoint_named: bool = False  # by the caller
    notes: tuple[str, ...] = ()  # sentences for the Reply
    max_rounds: int | None = None

    def with_history(self, history: Sequence[Message]) -> PreparedRequest:
        """Return a copy that comes after these messages of a conversation."""
        messages = self.request.messages
        start = sum(message.role == "system" for message in messages[:1])
        past = (redact_message(message) for message in history)
        messages = (*messages[:start], *past, *messages[start:])
        return replace(self, request=replace(self.request, messages=messages))

    def with_origin(self, origin: Origin | None) -> PreparedRequest:
        """Return a copy whose row in the log holds this origin; None changes nothing."""
        if origin is None:
            return self
        return replace(self, request=replace(self.request, origin=_with_thread(origin)))

    def with_first_answer_note(self) -> PreparedRequest:
        """Return a copy whose answer says, once in a process, that nothing is configured."""
        note = first_answer_note(self.connection, named=self.endpoint_named)
        return replace(self, notes=(note,)) if note else self


def build_request(
    prompt: Prompt,
    *,
    model: str | None = None,
    endpoint: str | Connection | None = None,
    system: str | None = None,
    images: Iterable[Any] = (),
    attachments: Iterable[str] = (),
    schema: Any = None,
    tools: Iterable[Any] = (),
    max_rounds: int | None = None,
    timeout: float | None = None,
    stream: bool = True,
    **params: Any,
) -> PreparedRequest:
    """Check the arguments of an ask and build its request; `hx.ask` documents them.

    Its signature is that of `ask`, `aask`, `stream`, `astream` and of a Chat's (`same_parameters`): any
    other name is a parameter of the wire.

    Raises:
        ConfigError: what is wrong, in one sentence; nothing was sent.
    """
    refuse_key_names(params)
    connection = resolve(endpoint)
    messages = _build_messages(prompt, system, _image_parts(images), _text_parts(attachments))
    functions, wire_tools = _read_tools(tools)
    if wire_tools:
        params["tools"] = wire_tools
    request = Request(
        messages=tuple(redact_message(message) for message in messages),
        model=_resolve_model(model, connection),
        params=_redact_params(params),
        stream=_check_stream(stream),
        timeout_s=_check_timeout(timeout),
        origin=_with_thread(current_origin()),
    )
    return PreparedRequest(
        request,
        connection,
        _read_schema(schema),
        functions,
        endpoint_named=endpoint is not None,
        max_rounds=_check_max_rounds(max_rounds),
    )


def preview(prepared: PreparedRequest) -> dict[str, Any]:
    """Return what would be sent, without sending it: `{endpoint, url, body}`, and no key."""
    from ..endpoints.openai.endpoint import chat_url
    from ..endpoints.registry import endpoint_for

    connection = prepared.connection

    async def build_body() -> dict[str, Any]:
        schema = None if prepared.schema is None else prepared.schema.json_schema
        return endpoint_for(connection).wire(replace(prepared.request, schema=schema))

    url = chat_url(connection.base_url, connection.app_id) if connection.kind == "remote" else None
    return {"endpoint": connection.name, "url": url, "body": run_sync(build_body())}


def _with_thread(origin: Origin) -> Origin:
    return origin if origin.thread_id is not None else replace(origin, thread_id=new_id())


def _build_messages(
    prompt: Prompt, system: str | None, images: Sequence[ContentPart], texts: Sequence[ContentPart]
) -> tuple[Message, ...]:
    if not isinstance(prompt, str):
        return _read_messages(prompt, system, (*texts, *images))
    if not prompt.strip() and not texts and not images:
        raise ConfigError("The prompt is empty; nothing was sent.")
    question = ({"type": "text", "text": prompt},) if prompt.strip() else ()
    content = (*texts, *question, *images) if texts or images else prompt
    return (*system_message(system), Message("user", content))


def _read_messages(prompt: Any, system: str | None, parts: Sequence[ContentPart]) -> tuple[Message, ...]:
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
        raise ConfigError(f"A prompt is text or a list of messages, not {type(prompt).__name__}.")
    if system is not None:
        raise ConfigError("A list of messages carries its own system message; leave system= out.")
    if parts:
        raise ConfigError("A list of messages carries its own images and attachments; leave these out.")
    messages = tuple(Message.of(item) for item in prompt)
    if not asks_something(messages):
        raise ConfigError("The prompt is empty; nothing was sent.")
    return messages


def asks_something(messages: Iterable[Message]) -> bool:
    """Return whether any message but the system's holds more than blank text."""
    return any(message.role != "system" and not _is_blank(message) for message in messages)


def _is_blank(message: Message) -> bool:
    parts = message.content if isinstance(message.content, tuple) else ()
    has_other_parts = any(part.get("type") != "text" for part in parts)
    return not (has_other_parts or message.tool_calls or message.text.strip())


def system_message(system: str | None) -> tuple[Message, ...]:
    """Return the system message that a text makes, or none for a blank one."""
    if system is None:
        return ()
    if not isinstance(system, str):
        raise ConfigError(f"system= takes text, not {type(system).__name__}.")
    return (Message("system", redact(system)),) if system.strip() else ()


def _image_parts(images: Iterable[Any]) -> tuple[ContentPart, ...]:
    images = _as_tuple(images)
    if not images:
        return ()
    from ..prompts.images import image_part

    return tuple(image_part(image) for image in images)


def _text_parts(attachments: Iterable[str]) -> tuple[ContentPart, ...]:
    texts = _as_tuple(attachments)
    if not all(isinstance(text, str) for text in texts):
        raise ConfigError("attachments= takes texts; str(value) makes one of anything.")
    return tuple({"type": "text", "text": text} for text in texts)


def _as_tuple(argument: Any) -> tuple[Any, ...]:
    """Return the items of an argument; a text, bytes or an image is a single item, None is no item."""
    if argument is None:
        return ()
    is_single = isinstance(argument, str | bytes | bytearray | memoryview | Mapping)
    return (argument,) if is_single or not isinstance(argument, Iterable) else tuple(argument)


def _read_schema(spec: Any) -> Schema | None:
    if spec is None:
        return None
    from ..schemas import Schema

    return Schema.of(spec)


def _read_tools(arguments: Iterable[Any]) -> tuple[dict[str, Tool], list[dict[str, Any]]]:
    """Return the Tools that Python functions make, and all tools for the wire; mappings go as they are."""
    tools: dict[str, Tool] = {}
    wire: list[dict[str, Any]] = []
    for argument in _as_tuple(arguments):
        if isinstance(argument, Mapping):
            wire.append(dict(argument))
        elif callable(argument):
            from ..schemas import Tool

            tool = Tool.of(argument)
            tools[tool.name] = tool
            function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            wire.append({"type": "function", "function": function})
        else:
            raise ConfigError(f"A tool is a function or a tool description, not {type(argument).__name__}.")
    return tools, wire


def _resolve_model(model: str | None, connection: Connection) -> str | None:
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise ConfigError(f"model= takes the name of a model, not {model!r}.")
    model = model or configured_model(connection)
    return aliases().get(model, model) if model else None


def _redact_params(params: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: redact_strings(value) for name, value in params.items() if value is not None}
    except RecursionError:
        raise ConfigError("A parameter contains itself; nothing was sent.") from None


def _check_stream(stream: Any) -> bool:
    """Return True or False, also of numpy's; refuse any other, because a text such as "no" is true."""
    kind = type(stream)
    if kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")):
        return bool(stream)
    raise ConfigError(f"stream= is True or False, not {stream!r}.")


def _check_max_rounds(max_rounds: int | None) -> int | None:
    is_count = isinstance(max_rounds, Integral) and not isinstance(max_rounds, bool)
    if max_rounds is not None and not (is_count and max_rounds >= 1):
        raise ConfigError(f"max_rounds= is a whole number from 1 up, not {max_rounds!r}.")
    return max_rounds


def _check_timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout > 0:
        raise ConfigError(f"timeout= is a number of seconds above 0, not {timeout!r}.")
    return None if math.isinf(timeout) else float(timeout)


def redact_message(message: Message) -> Message:
    """Return a message without any key that this process knows, tool calls included."""
    content, name = redact_strings(message.content), message.name and redact(message.name)
    calls = message.tool_calls and tuple(ToolCall(*map(redact, astuple(call))) for call in message.tool_calls)
    return Message(message.role, content, name, message.tool_call_id, calls)
