"""The settings of a conversation: where it asks, which model, and with what parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...chat.chat import Chat
from ...config.connection import Connection
from ...config.registry import endpoints, resolve
from ...config.session import known_default_model
from ...endpoints.base import ModelInfo
from ...endpoints.registry import endpoint_for
from ...errors import ConfigError, HelixError
from ...redaction import redact
from ...text import printable

# What an empty panel offers to begin with; the demo endpoint has canned answers to the first three.
_CANNED = ["What is the capital of France?", "Show me a table and some code", "Tell me a story"]
_IDEAS = ["Explain this error: ", "Write a pandas one-liner that ", "Review this function:\n"]
_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "max_tokens": (1, 10_000_000)}


def apply(chat: Chat, settings: Mapping[str, Any]) -> None:
    """Change what a conversation sends from now on; ConfigError says what is wrong."""
    for name, value in settings.items():
        if name == "endpoint":
            chat.endpoint = resolve(str(value)).name if value else None
        elif name == "model":
            chat.model = str(value).strip() or None if value else None
        elif name == "system":
            chat.system = str(value) if value and str(value).strip() else None
        elif name in _RANGES:
            _parameter(chat, name, value)
        else:
            raise ConfigError(f"The panel has no setting {name!r}.")


def _parameter(chat: Chat, name: str, value: Any) -> None:
    low, high = _RANGES[name]
    if value is None:
        chat.params.pop(name, None)
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{name} is a number from {low:,.0f} to {high:,.0f}, not {value!r}.")
    chat.params[name] = int(value) if name == "max_tokens" else value


def described(chat: Chat) -> dict[str, Any]:
    """The part of a view's state that is about endpoint, model and parameters; no key is in it."""
    connection, problem = _resolved(chat)
    model = _model(chat, connection)
    name = connection.name if connection else "no endpoint"
    return {
        "who": printable(model or name),
        "place": {
            "text": printable(f"{name} · {model or 'its default model'}"),
            "tip": problem or _tip(connection),
        },
        "greeting": {"title": "What are you working on?", "text": problem or _greeting(connection, model)},
        "ideas": _CANNED if connection and connection.kind == "demo" else _IDEAS,
        "settings": {
            "endpoint": connection.name if chat.endpoint and connection else None,
            "model": chat.model,
            "system": redact(chat.system or ""),
            **{name: chat.params.get(name) for name in _RANGES},
        },
        "endpoints": _choices(),
    }


def _resolved(chat: Chat) -> tuple[Connection | None, str]:
    try:
        return resolve(chat.endpoint), ""
    except HelixError as error:
        return None, str(error)


def _model(chat: Chat, connection: Connection | None) -> str | None:
    return chat.model or (known_default_model(connection) if connection else None)


def _tip(connection: Connection | None) -> str:
    if connection is None:
        return ""
    where = {"demo": "the embedded demo endpoint", "local": "models on this machine"}
    source = where.get(connection.kind, connection.base_url)
    return f"Answers come from {source}. Choose another endpoint or model."


def _greeting(connection: Connection | None, model: str | None) -> str:
    assert connection is not None
    if connection.kind == "demo":
        return (
            "Answers come from the embedded demo endpoint: canned, instant, no network. Choose another above."
        )
    if connection.kind == "local":
        return f"Answers come from {model or 'a model'} on this machine."
    source = f"{model or 'the default model'} at {connection.name}"
    return f"Answers come from {source}. Every turn is a row of the log."


def _choices() -> list[dict[str, str]]:
    known = endpoints()
    try:
        current = resolve(None).name
    except HelixError:
        current = "none"
    return [
        {"name": "", "label": f"The session's endpoint (now {current})"},
        *({"name": name, "label": name} for name in known),
    ]


async def models_of(endpoint: str) -> dict[str, Any]:
    """The models of an endpoint, for the picker; a failure is a note, and any name may be typed."""
    try:
        found = await endpoint_for(resolve(endpoint or None)).models()
    except HelixError as error:
        return {"items": [], "note": redact(f"{error} You can type the name of a model.")}
    note = "" if found else "The endpoint lists no models; you can type the name of one."
    return {"items": [{"id": printable(info.id), "about": _about(info)} for info in found], "note": note}


def _about(info: ModelInfo) -> str:
    size = f"{info.size_bytes / 1e9:.1f} GB" if info.size_bytes else None
    context = f"{info.context_length:,} tokens" if info.context_length else None
    return printable(" · ".join(part for part in (size, info.quantization, context, info.note) if part))
