"""The models that an endpoint serves, as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
_known_models: dict[str, list[str]] = {}  # by the endpoint's name, as it last listed them


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
    from .reading.frames import build_frame

    connection = resolve(endpoint)

    async def list_models() -> list[ModelInfo]:
        return await endpoint_for(connection).models()  # on the loop, where the endpoint is open

    infos = run_sync(list_models())
    _known_models[connection.name] = [info.id for info in infos]
    return build_frame([[getattr(info, name) for name in MODEL_COLUMNS] for info in infos], MODEL_COLUMNS)


def known_models(endpoint: str | None = None) -> list[str]:
    """Return the model names already seen for an endpoint; never asks the network."""
    return list(_known_models.get(resolve(endpoint).name, ()))
