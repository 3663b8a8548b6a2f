"""A Request as the local worker takes it: messages as text, parameters checked and named.

What a local model cannot do is refused here with a sentence, before any model is loaded; nothing
is dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ConfigError
from ...messages import Message, Request
from ...text import did_you_mean
from ..openai.body import json_value

INSTRUCTION = "Answer with JSON alone, without any other text, and follow this JSON schema:\n"
PARAMS = (
    *("temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed", "logit_bias"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty", "tools", "tool_choice"),
    *("enable_thinking", "chat_template_kwargs"),
)
RENAMED = {"max_completion_tokens": "max_tokens", "repeat_penalty": "repetition_penalty"}
# Nothing depends on these here.
IGNORED = ("stream_options", "user", "metadata", "store", "parallel_tool_calls", "response_format")
# What the tokenizer would take for itself: it changes what comes out, or cuts the prompt in silence.
NOT_THE_TEMPLATES = {
    *("add_generation_prompt", "max_length", "padding", "return_assistant_tokens_mask", "return_dict"),
    *("return_tensors", "tokenize", "tokenizer_kwargs", "tools", "truncation"),
}
RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda value: value >= 0, "a number from 0 up"),
    "top_p": (lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "min_p": (lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "top_k": (lambda value: value >= 0, "a whole number from 0 up"),
    "max_tokens": (lambda value: value >= 1, "a whole number from 1 up"),
    "repetition_penalty": (lambda value: value > 0, "a number above 0"),
    "seed": (lambda value: 0 <= value < 2**64, "a whole number from 0 up"),
    "enable_thinking": (lambda value: isinstance(value, bool), "True or False"),
    "chat_template_kwargs": (
        lambda value: isinstance(value, dict) and not value.keys() & NOT_THE_TEMPLATES,
        f"a mapping of the template's own variables (none of {', '.join(sorted(NOT_THE_TEMPLATES))})",
    ),
}


def worker_request(request: Request, model: str) -> dict[str, Any]:
    """Return what the worker is sent for a request.

    A schema goes along as an instruction at the end of the system message: no grammar constrains
    a local model, so the answer is validated and, if need be, repaired like any other.

    Raises:
        ConfigError: a parameter or a message that a local model cannot take.
    """
    messages = [_message(message) for message in request.messages]
    params = _params(request.params)
    schema = request.schema if request.schema is not None else _response_schema(request.params)
    if schema is not None:
        messages = _with_instruction(messages, schema)
    return {"model": model, "messages": messages, **params}


def check_parameter(name: str, value: Any) -> Any:
    """Return a parameter as the worker reads it; ConfigError when it makes no sense."""
    value = json_value(name, value)
    fits, meaning = RANGES.get(name, (lambda _: True, ""))
    if not fits(value):
        raise ConfigError(f"{name} is {meaning} for a local model, not {value!r}.")
    if name == "stop":
        return [text for text in value if text]
    if name == "logit_bias":
        return _biases(value)
    return value


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    wire = {}
    for given_name, value in params.items():
        name = RENAMED.get(given_name, given_name)
        if value is None or name in IGNORED or (name, value) == ("n", 1):
            continue
        if name not in PARAMS:
            guess = did_you_mean(name, PARAMS, f"There are {', '.join(PARAMS)}.", shown="{}")
            raise ConfigError(f"A local model has no parameter {name!r}.{guess}")
        wire[name] = check_parameter(name, value)
    if wire.get("tool_choice", "auto") not in ("auto", "none"):
        raise ConfigError("A local model cannot be made to call a tool; leave tool_choice at 'auto'.")
    if wire.pop("tool_choice", None) == "none":
        wire.pop("tools", None)
    return wire


def _biases(value: Any) -> dict[str, float]:
    try:
        return {str(int(token)): float(bias) for token, bias in value.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError("logit_bias is a mapping of token ids to numbers.") from None


def _response_schema(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema that a response_format asks for, where one is given without `schema=`."""
    response_format = params.get("response_format")
    if response_format is None:
        return None
    named = response_format.get("json_schema") or {} if isinstance(response_format, Mapping) else None
    if not isinstance(response_format, Mapping) or not isinstance(named, Mapping):
        example = '{"type": "json_object"}'
        raise ConfigError(f"response_format is a mapping such as {example}, not {response_format!r}.")
    if response_format.get("type") == "text":
        return None
    schema = named.get("schema")
    return schema if isinstance(schema, Mapping) else {"type": "object"}


def _with_instruction(messages: list[dict[str, Any]], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    instruction = f"{INSTRUCTION}{json.dumps(json_value('schema', schema), ensure_ascii=False)}"
    if messages and messages[0]["role"] == "system":
        system = {"role": "system", "content": f"{messages[0]['content']}\n\n{instruction}"}
        return [system, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]


def _message(message: Message) -> dict[str, Any]:
    """Return a message as chat templates read it: plain text, arguments of tool calls as data."""
    for part in message.content if isinstance(message.content, tuple) else ():
        if part.get("type") != "text":
            raise ConfigError(f"A local model reads text only, not a part of type {part.get('type')!r}.")
    wire: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.name:
        wire["name"] = message.name
    if message.tool_call_id:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["tool_calls"] = [_tool_call(call.to_wire()) for call in message.tool_calls]
    return wire


def _tool_call(wire: dict[str, Any]) -> dict[str, Any]:
    try:
        wire["function"]["arguments"] = json.loads(wire["function"]["arguments"] or "{}")
    except ValueError:
        pass  # not JSON: the template gets the text the model wrote
    return wire
