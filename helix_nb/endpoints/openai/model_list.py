"""Lists of models, in the shapes that servers give them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...config.connection import Connection
from ..base import ModelInfo
from .errors import unreadable_error

_ID = ("id", "name", "model")
_QUANTIZATION = ("quantization", "quantization_level")
_CONTEXT = (
    "context_length",
    "max_model_len",
    "max_context_length",
    "context_window",
    "loaded_context_length",
    "n_ctx",
    "n_ctx_train",
)


def parse_models(connection: Connection, body: bytes) -> list[ModelInfo]:
    """Read `{"data": [...]}` (null on a cold cache), `{"models": [...]}` or a bare list.

    Raises:
        StreamFailed: the body is something else.
    """
    try:
        data = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict) and ("data" in data or "models" in data):
        data = data.get("data") or data.get("models") or []
    if not isinstance(data, list):
        raise unreadable_error(connection, body.decode("utf-8", "replace"))
    models = (_model({"id": item} if isinstance(item, str) else item) for item in data)
    return list({info.id: info for info in models if info is not None}.values())


def _model(item: Any) -> ModelInfo | None:
    if not isinstance(item, Mapping):
        return None
    name = next((item[key] for key in _ID if isinstance(item.get(key), str) and item[key]), None)
    if name is None:
        return None
    # llama.cpp's server keeps facts under `meta`, Ollama under `details`.
    places = [item, *(part for key in ("meta", "details") if isinstance(part := item.get(key), Mapping))]
    return ModelInfo(
        id=name,
        size_bytes=_first(places, ("size", "size_bytes"), int),
        quantization=_first(places, _QUANTIZATION, str),
        context_length=_first(places, _CONTEXT, int),
        note="switched off" if item.get("enabled") is False else None,
    )


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...], kind: type) -> Any:
    """Return the first value of that type under one of the names; a count of 0 is unknown."""
    for name in names:
        for place in places:
            value = place.get(name)
            if isinstance(value, kind) and not isinstance(value, bool) and value:
                return value
    return None
