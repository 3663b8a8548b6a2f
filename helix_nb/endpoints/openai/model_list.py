"""Lists of models, in the shapes that servers give them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...config.connection import Connection
from ...config.session import remember_model
from ...errors import ConfigError, HelixError
from ..base import ModelInfo
from .errors import agent_key, unreadable

_ID = ("id", "name", "model")
_CONTEXT = (
    "context_length",
    "max_model_len",
    "max_context_length",
    "context_window",
    "loaded_context_length",
    "n_ctx",
    "n_ctx_train",
)


def models_in(connection: Connection, body: bytes) -> list[ModelInfo]:
    """Read `{"data": [...]}` (null on a cold cache), `{"models": [...]}` or a bare list.

    Raises StreamFailed when the body is something else.
    """
    try:
        data = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        raise unreadable(connection, body.decode("utf-8", "replace")) from None
    if isinstance(data, dict) and ("data" in data or "models" in data):
        data = data.get("data") or data.get("models") or []
    if not isinstance(data, list):
        raise unreadable(connection, body.decode("utf-8", "replace"))
    found = (_model({"id": item} if isinstance(item, str) else item) for item in data)
    return list({info.id: info for info in found if info is not None}.values())


async def standing_in(
    connection: Connection, models: Callable[[], Awaitable[list[ModelInfo]]]
) -> tuple[str | None, str | None]:
    """The model that answers where none is named, kept from then on, and a sentence that says which.

    It is the first that is listed; behind an agent's key there is none to name. Raises ConfigError
    when none is listed, and what asking for the list raises.
    """
    try:
        served = [info.id for info in await models() if info.id]
    except HelixError as error:
        if agent_key(error):  # an agent has chosen already
            return None, None
        error.args = (f"No model was named, and asking which there are failed. {error}",)
        raise
    if not served:
        raise ConfigError(f"No model was named and {connection.name} lists none: name one with model=.")
    remember_model(connection, served[0])
    which = "its only model" if len(served) == 1 else f"the first of {len(served)}"
    return served[0], f"No model given: using {served[0]}, {which}."


def _model(item: Any) -> ModelInfo | None:
    if not isinstance(item, Mapping):
        return None
    name = next((item[key] for key in _ID if isinstance(item.get(key), str) and item[key]), None)
    if name is None:
        return None
    nested = [part for key in ("meta", "details") if isinstance(part := item.get(key), Mapping)]
    places = [item, *nested]
    quantization = _first(places, ("quantization", "quantization_level"), str)
    return ModelInfo(
        id=name,
        size_bytes=_first(places, ("size", "size_bytes"), int),
        quantization=quantization or None,
        context_length=_first(places, _CONTEXT, int),
        note="switched off" if item.get("enabled") is False else None,
    )


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...], kind: type) -> Any:
    """The first value of that type under one of the names; a count of 0 is unknown."""
    for name in names:
        for place in places:
            value = place.get(name)
            if isinstance(value, kind) and not isinstance(value, bool) and value:
                return value
    return None
