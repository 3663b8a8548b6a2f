"""What an endpoint serves, as a DataFrame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..config.connection import Connection
from ..config.registry import resolve
from ..runtime.loop import run_sync

if TYPE_CHECKING:
    import pandas as pd

    from ..endpoints.base import ModelInfo

MODEL_COLUMNS = {
    "id": "str",
    "size_bytes": "Int64",
    "quantization": "str",
    "context_length": "Int64",
    "note": "str",
}


def models(endpoint: str | Connection | None = None) -> pd.DataFrame:
    """Return the models an endpoint serves, one row each.

    Columns: `id` str, `size_bytes` Int64, `quantization` str, `context_length` Int64, `note` str.

    Raises:
        HelixError: the endpoint could not be asked; an agent key, which may not list models, says so.

    >>> import helix_nb as hx
    >>> "demo" in list(hx.models("demo")["id"])
    True
    """
    from ..endpoints.registry import endpoint_for

    connection = resolve(endpoint)

    async def listed() -> Any:
        return await endpoint_for(connection).models()

    found = run_sync(listed())
    _known_models[connection.name] = [info.id for info in found]
    return _frame(found)


_known_models: dict[str, list[str]] = {}


def known_models(endpoint: str | None = None) -> list[str]:
    """The model names already seen for an endpoint; never asks the network."""
    return list(_known_models.get(resolve(endpoint).name, ()))


def _frame(models: Iterable[ModelInfo]) -> pd.DataFrame:
    """The models of an endpoint: id, size_bytes, quantization, context_length, note."""
    rows = [tuple(getattr(model, name) for name in MODEL_COLUMNS) for model in models]
    from .reading.frames import typed

    return typed(rows, MODEL_COLUMNS)
