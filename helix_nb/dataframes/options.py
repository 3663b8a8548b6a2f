"""The keywords of `ask` over rows, spelled once for frames, Series, estimates and Parquet files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from ..config.connection import Connection
from .batch import Batch
from .limits import Limits
from .rows.requests import BatchSpec, ImageSource, PromptSource


def build_batch(
    template: PromptSource,
    into: str = "answer",
    *,
    model: str | None = None,
    endpoint: str | Connection | None = None,
    system: PromptSource | None = None,
    images: ImageSource | None = None,
    schema: Any = None,
    name: str | None = None,
    concurrency: int | Literal["auto"] = "auto",
    rpm: float | None = None,
    tpm: float | None = None,
    max_cost: float | None = None,
    max_total_tokens: int | None = None,
    missing: Literal["skip", "blank"] = "skip",
    dedupe: bool = True,
    fresh: bool = False,
    reuse_cut: bool = False,
    errors: Literal["keep", "raise"] = "keep",
    progress: bool = True,
    timeout: float | None = None,
    stream: bool = True,
    **params: Any,
) -> Batch:
    """Build a Batch of the keywords that `df.helix.ask` documents.

    Its signature is that of all that asks about rows (`same_parameters_as_method`): any other name is
    a parameter of the wire.

    Raises:
        ConfigError: a setting is wrong, or no schema can be made of `schema`.
    """
    from ..schemas import Schema

    row_schema = None if schema is None else replace(Schema.of(schema), tabular=True)
    spec = BatchSpec(template, system, images, model, row_schema, params, stream, timeout, missing)
    limits = Limits(concurrency, rpm, tpm, max_cost, max_total_tokens)
    return Batch(spec, into, endpoint, name, limits, dedupe, fresh, reuse_cut, errors, progress)
