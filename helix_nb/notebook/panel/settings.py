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
from .protocol import ModelChoice, SettingsView

# What an empty panel offers to begin with; the demo endpoint has canned answers to the first three.
_DEMO_IDEAS = ["What is the capital of France?", "Show me a table and some code", "Tell me a story"]
_IDEAS = ["Explain this error: ", "Write a pandas one-liner that ", "Review this function:\n"]
_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "max_tokens": (1, 10_000_000)}


def apply_settings(chat: Chat, settings: Mapping[str, Any]) -> None:
    """Change what a conversation sends from now on; ConfigError says what is wrong."""
    for name, value in settings.items():
        if name in _RANGES:
            _set_parameter(chat, name, value)
        elif name in _SETTERS:
            _SETTERS[name](chat, str(value or ""))
        else:
            raise ConfigError(f"The panel has no setting {name!r}.")


def _set_endpoint(chat: Chat, name: str) -> None:
    chat.endpoint = resolve(name).name if name else None


def _set_model(chat: Chat, name: str) -> None:
    chat.model = name.strip() or None


def _set_system(chat: Chat, text: str) -> None:
    chat.system = text if text.strip() else None


_SETTERS = {"endpoint": _set_endpoint, "model": _set_model, "system": _set_system}


def _set_parameter(chat: Chat, name: str, value: Any) -> None:
    low, high = _RANGES[name]
    if value is None:
        chat.params.pop(name, None)
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{name} is a number from {low:,.0f} to {high:,.0f}, not {value!r}.")
    chat.params[name] = int(value) if name == "max_tokens" else value


def settings_view(chat: Chat) -> SettingsView:
    """Return the part of a view's state that is about endpoint, model and parameters; no key is in it."""
    connection, problem = _resolve_endpoint(chat)
    model = chat.model or (known_default_model(connection) if connection else None)
    name = connection.name if connection else "no endpoint"
    return {
        "who": printable(model or name),
        "place": {
            "text": printable(f"{name} · {model or 'its default model'}"),
            "tip": problem or _tip(connection),
        },
        "greeting": {"title": "What are you working on?", "text": problem or _greeting(connection, model)},
        "ideas": _DEMO_IDEAS if connection and connection.kind == "demo" else _IDEAS,
        "settings": {
            "endpoint": connection.name if chat.endpoint and connection else None,
            "model": chat.model,
            "system": redact(chat.system or ""),
            **{name: chat.params.get(name) for name in _RANGES},
        },
        "endpoints": _endpoint_choices(),
    }


def _resolve_endpoint(chat: Chat) -> tuple[Connection | None, str]:
    """Return where the next question goes, or why it cannot go anywhere."""
    try:
        return resolve(chat.endpoint), ""
    except HelixError as error:
        return None, str(error)


def _tip(connection: Connection | None) -> str:
    if connection is None:
        return ""
    where = {"demo": "the embedded demo endpoint", "local": "models on this machine"}
    source = where.get(connection.kind, connection.base_url)
    return f"Answers come from {source}. Choose another endpoint or model."


def _greeting(connection: Connection | None, model: str | None) -> str:
    if connection is None:
        return ""
    if connection.kind == "demo":
        return (
            "Answers come from the embedded demo endpoint: canned, instant, no network. Choose another above."
        )
    if connection.kind == "local":
        return f"Answers come from {model or 'a model'} on this machine."
    source = f"{model or 'the default model'} at {connection.name}"
    return f"Answers come from {source}. Every turn is a row of the log."


def _endpoint_choices() -> list[dict[str, str]]:
    try:
        current = resolve(None).name
    except HelixError:
        current = "none"
    return [
        {"name": "", "label": f"The session's endpoint (now {current})"},
        *({"name": name, "label": name} for name in endpoints()),
    ]


async def model_choices(endpoint: str) -> tuple[list[ModelChoice], str]:
    """Return the models of an endpoint for the picker, and a note where it listed none or failed."""
    try:
        models = await endpoint_for(resolve(endpoint or None)).models()
    except HelixError as error:
        return [], redact(f"{error} You can type the name of a model.")
    note = "" if models else "The endpoint lists no models; you can type the name of one."
    return [{"id": printable(info.id), "about": _about(info)} for info in models], note


def _about(info: ModelInfo) -> str:
    size = f"{info.size_bytes / 1e9:.1f} GB" if info.size_bytes else None
    context = f"{info.context_length:,} tokens" if info.context_length else None
    return printable(" · ".join(part for part in (size, info.quantization, context, info.note) if part))
