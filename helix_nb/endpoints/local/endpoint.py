"""Models on this machine, behind the same seam as any server: requests go to a child process with MLX.

The model is a folder, a Hub id or an alias. All requests on one model share its process and are
batched there; token counts are exact at every delta, so also for an answer that was interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from ...config.connection import Connection
from ...config.session import aliases
from ...errors import BadRequest, LocalModelError
from ...messages import Request
from ...replies import Delta, ToolCallDelta, Usage
from ..base import DefaultModel, ModelInfo
from .models import (
    ModelSpec,
    cached_models,
    existing_folder,
    machine_memory_bytes,
    model_for_memory,
    model_info,
    resolve_name,
)
from .pool import loaded_models, worker_for
from .process import WorkerEvent
from .request import worker_request
from .support import unsupported_reason

IDLE_UNLOAD_S = 900.0  # fifteen minutes without a request, and the memory is given back


class LocalEndpoint:
    """The endpoint `local`.

    Settings of its connection: `revision` (of a Hub id), `idle_unload_s` (900; 0 keeps a model for
    ever), `cache_bytes` (what prompts may occupy for reuse; an eighth of the memory) and
    `memory_bytes` (what a model may need before a warning; what the machine can give).
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Answer on this machine, loading the model first if need be.

        Raises:
            LocalModelError: local models cannot run here, or this one cannot be found, downloaded,
                loaded or kept running.
            BadRequest: the model does not take this request.
            ConfigError: a parameter or message that no local model takes.
        """
        if (sentence := unsupported_reason()) is not None:
            raise LocalModelError(sentence)
        wire = self.wire(request)
        spec = self._spec(request.model, wire["model"])
        idle_unload_s = self.connection.idle_unload_s
        worker = worker_for(spec, retry=request.retry_policy.reload)
        running = worker.run(wire)
        try:
            yield Delta(
                model=spec.display_name, response_id=f"local-{running.id}", note=_choice_note(request)
            )
            while not running.finished:
                yield _delta(await running.next_event())
        finally:
            worker.release(running, IDLE_UNLOAD_S if idle_unload_s is None else idle_unload_s)

    async def models(self) -> list[ModelInfo]:
        """List the language models in the Hub's cache, and the folders that are loaded now."""
        cached = await asyncio.to_thread(cached_models)
        ids = {model.id for model in cached}
        folders = [model_info(shown_as, Path(name)) for name, shown_as in loaded_models() if name not in ids]
        return [*cached, *(folder for folder in folders if folder is not None)]

    async def default_model(self) -> DefaultModel:
        """Leave the choice to each request: it depends on the memory of the machine that answers."""
        return DefaultModel()

    def wire(self, request: Request) -> dict[str, Any]:
        """Return the request as the worker gets it: a schema is an instruction in the system message."""
        name = request.model or model_for_memory(machine_memory_bytes())
        return worker_request(request, resolve_name(name, aliases()))

    async def aclose(self) -> None:
        """Do nothing: a model belongs to the process, not to a loop; `pool.unload` ends it."""

    def _spec(self, requested: str | None, name: str) -> ModelSpec:
        connection = self.connection
        # A folder is called as the user named it, not by where that is on this machine.
        display_name = requested if requested and existing_folder(requested) else name
        # As plain numbers: numpy's, which settings may hold, have no spelling in JSON.
        cache_bytes, memory_bytes = (
            float(size) if size else None for size in (connection.cache_bytes, connection.memory_bytes)
        )
        return ModelSpec(name, display_name, connection.revision or None, cache_bytes, memory_bytes)


def _choice_note(request: Request) -> str | None:
    if request.model is not None:
        return None
    model = model_for_memory(machine_memory_bytes())
    return f"No model given: using {model}, the default for a machine with this much memory."


def _delta(event: WorkerEvent) -> Delta:
    """Return what an event of the worker means, or raise what it reports."""
    kind = event["event"]
    if kind == "note":
        return Delta(note=event["text"])
    if kind != "piece":
        raise (BadRequest if event.get("kind") == "BadRequest" else LocalModelError)(event["message"])
    prompt, completion, cached, reasoning = event["usage"]
    reason = event.get("finish_reason")
    return Delta(
        text=event.get("text", ""),
        reasoning=event.get("reasoning", ""),
        tool_calls=tuple(ToolCallDelta(**call) for call in event.get("tool_calls", ())),
        finish_reason=reason,
        finished=reason is not None,
        usage=Usage(prompt, completion, prompt + completion, cached, reasoning, "local"),
    )
