"""From what a person writes to a Request: the arguments of `ask`, checked before anything is sent."""

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


@dataclass(frozen=True)
class PreparedRequest:
    """One question, ready to send: the request, where to, and what is to be done with the answer."""

    request: Request
    connection: Connection
    schema: Schema | None = None
    tools: Mapping[str, Tool] = field(default_factory=dict)
    endpoint_named: bool = False  # by the caller
    notes: tuple[str, ...] = ()  # sentences for the Reply
    max_rounds: int | None = None

    def continuing(self, history: Sequence[Message]) -> PreparedRequest:
        """Return a copy that comes after these messages of a conversation."""
        messages = self.request.messages
        start = sum(message.role == "system" for message in messages[:1])
        past = (redact_message(message) for message in history)
        return self._with(messages=(*messages[:start], *past, *messages[start:]))

    def logged_as(self, origin: Origin | None) -> PreparedRequest:
        """Return a copy whose row in the log says that it comes from there; None changes nothing."""
        return self if origin is None else self._with(origin=_with_thread(origin))

    def announced(self) -> PreparedRequest:
        """Return a copy whose answer says, once, where answers come from when nothing is configured."""
        note = first_answer_note(self.connection, named=self.endpoint_named)
        return replace(self, notes=(note,)) if note else self

    def _with(self, **changes: Any) -> PreparedRequest:
        return replace(self, request=replace(self.request, **changes))


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
    messages = _messages(prompt, system, _parts(images), _texts(attachments))
    functions, wire_tools = _tools(tools)
    if wire_tools:
        params["tools"] = wire_tools
    request = Request(
        messages=tuple(redact_message(message) for message in messages),
        model=_model(model, connection),
        params=_params(params),
        schema=None,
        stream=_stream(stream),
        timeout_s=_timeout(timeout),
        origin=_with_thread(current_origin()),
    )
    return PreparedRequest(
        request,
        connection,
        _schema(schema),
        functions,
        endpoint is not None,
        max_rounds=_max_rounds(max_rounds),
    )


def preview(prepared: PreparedRequest) -> dict[str, Any]:
    """Return what would be sent, without sending it: `{endpoint, url, body}`, and no key."""
    from ..endpoints.openai.endpoint import chat_url
    from ..endpoints.registry import endpoint_for

    connection = prepared.connection

    async def wire() -> dict[str, Any]:
        schema = None if prepared.schema is None else prepared.schema.json_schema
        return endpoint_for(connection).wire(replace(prepared.request, schema=schema))

    remote = connection.kind == "remote"
    url = chat_url(connection.base_url, connection.app_id) if remote else None
    return {"endpoint": connection.name, "url": url, "body": run_sync(wire())}


def _with_thread(origin: Origin) -> Origin:
    return origin if origin.thread_id is not None else replace(origin, thread_id=new_id())


def _messages(
    prompt: Prompt,
    system: str | None,
    images: Sequence[Mapping[str, Any]],
    texts: Sequence[Mapping[str, Any]],
) -> tuple[Message, ...]:
    if not isinstance(prompt, str):
        return _listed(prompt, system, (*texts, *images))
    if not prompt.strip() and not texts and not images:
        raise ConfigError("The prompt is empty; nothing was sent.")
    question = ({"type": "text", "text": prompt},) if prompt.strip() else ()
    content = (*texts, *question, *images) if texts or images else prompt
    return (*system_message(system), Message("user", content))


def _listed(prompt: Any, system: str | None, parts: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
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
    """Whether any of these messages holds more than blank text; a system message alone asks nothing."""
    return any(message.role != "system" and not _blank(message) for message in messages)


def _blank(message: Message) -> bool:
    if isinstance(message.content, str) or message.content is None:
        return not (message.tool_calls or (message.content or "").strip())
    texts = [part.get("text") for part in message.content if part.get("type") == "text"]
    only_text = len(texts) == len(message.content)
    return only_text and not message.tool_calls and not any(str(text or "").strip() for text in texts)


def system_message(system: str | None) -> tuple[Message, ...]:
    """The system message that this text makes, or none."""
    if system is None:
        return ()
    if not isinstance(system, str):
        raise ConfigError(f"system= takes text, not {type(system).__name__}.")
    return (Message("system", redact(system)),) if system.strip() else ()


def _parts(images: Iterable[Any]) -> tuple[Mapping[str, Any], ...]:
    images = _several(images)
    if not images:
        return ()
    from ..prompts.images import image_part

    return tuple(image_part(image) for image in images)


def _texts(attachments: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
    texts = _several(attachments)
    if not all(isinstance(text, str) for text in texts):
        raise ConfigError("attachments= takes texts; str(value) makes one of anything.")
    return tuple({"type": "text", "text": text} for text in texts)


def _several(given: Any) -> tuple[Any, ...]:
    """One or more of something; a text, bytes or an image stand for themselves, None for nothing."""
    if given is None:
        return ()
    single = isinstance(given, str | bytes | bytearray | memoryview | Mapping)
    return (given,) if single or not isinstance(given, Iterable) else tuple(given)


def _schema(spec: Any) -> Schema | None:
    if spec is None:
        return None
    from ..schemas import Schema

    return Schema.of(spec)


def _tools(tools: Iterable[Any]) -> tuple[dict[str, Tool], list[Any]]:
    """Python functions become Tools that may be called; mappings go to the endpoint as they are."""
    functions: dict[str, Tool] = {}
    tools = _several(tools)
    if tools:
        from ..schemas import Tool
    wire: list[Any] = []
    for tool in tools:
        if isinstance(tool, Mapping):
            wire.append(dict(tool))
        elif callable(tool):
            made = Tool.of(tool)
            functions[made.name] = made
            described = {"name": made.name, "description": made.description, "parameters": made.parameters}
            wire.append({"type": "function", "function": described})
        else:
            raise ConfigError(f"A tool is a function or a tool description, not {type(tool).__name__}.")
    return functions, wire


def _model(model: str | None, connection: Connection) -> str | None:
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise ConfigError(f"model= takes the name of a model, not {model!r}.")
    model = model or configured_model(connection)
    return aliases().get(model, model) if model else None


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: redact_strings(value) for name, value in params.items() if value is not None}
    except RecursionError:
        raise ConfigError("A parameter contains itself; nothing was sent.") from None


def _stream(stream: Any) -> bool:
    """True or False, numpy's too; a text such as "no" would count as true."""
    kind = type(stream)
    if kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")):
        return bool(stream)
    raise ConfigError(f"stream= is True or False, not {stream!r}.")


def _max_rounds(count: int | None) -> int | None:
    if count is not None and (isinstance(count, bool) or not isinstance(count, Integral) or count < 1):
        raise ConfigError(f"max_rounds= is a whole number from 1 up, not {count!r}.")
    return count


def _timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout > 0:
        raise ConfigError(f"timeout= is a number of seconds above 0, not {timeout!r}.")
    return None if math.isinf(timeout) else float(timeout)


def redact_message(message: Message) -> Message:
    """Return a message without any key that this process knows, tool calls included."""
    return Message(
        message.role,
        redact_strings(message.content),
        redact_strings(message.name),
        message.tool_call_id,
        tuple(ToolCall(*map(redact, astuple(call))) for call in message.tool_calls),
    )
