"""From a name to a loaded model, in the worker: find or download, weigh, load, and say what is wrong.

Every way a model can be bad ends as a `ServingError` with one sentence. Code that comes with a model
is never run.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import ConfigError
from ..models import GB, context_length, estimate_size, machine_memory_bytes, read_config
from ..request import check_parameter
from .download import Emit, ServingError, download, first_line

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to answer."""

    name: str
    model: Any  # an mlx.nn.Module
    tokenizer: Any  # mlx-lm's TokenizerWrapper
    vocabulary: int  # tokens that it knows
    context_length: int | None  # in tokens; None: its config does not say
    sampling: Mapping[str, float]  # what its makers want where a request says nothing


def load(name: str, revision: str | None, memory_bytes: int | None, emit: Emit) -> LoadedModel:
    """Load a model, telling the kernel of notes and progress.

    Args:
        name: a folder or a Hub id.
        memory_bytes: what it may need before a warning; None: what the device has.

    Raises:
        ServingError: there is no such model, or it cannot be loaded.
    """
    folder = Path(name) if Path(name).is_dir() else None
    config = _check(name, folder) if folder else {}  # before the imports: what is wrong is told at once
    with _keep_file_limit():
        import mlx_lm  # noqa: F401 - takes seconds and lowers the limit of open files
    path = folder or download(name, revision, emit)
    config = config or _check(name, path)
    _weigh(name, path, memory_bytes or _device_memory(), emit)
    emit("progress", what="load")
    model, tokenizer = _read(name, path)
    if not tokenizer.has_chat_template:
        raise ServingError(
            f"{name} has no chat template, so it cannot chat: choose an instruct or chat model."
        )
    vocabulary = int(config.get("vocab_size") or len(tokenizer))
    sampling = _makers_sampling(path, vocabulary)
    return LoadedModel(name, model, tokenizer, vocabulary, context_length(config), sampling)


@contextmanager
def _keep_file_limit() -> Iterator[None]:
    # mlx-lm sets the limit to (2048, 4096) as it is imported, which fails under a lower hard limit.
    setrlimit, resource.setrlimit = resource.setrlimit, lambda *_: None
    try:
        yield
    finally:
        resource.setrlimit = setrlimit


def _check(name: str, path: Path) -> dict[str, Any]:
    """Return the configuration of a model, refusing what mlx-lm would fail on with a riddle."""
    config = read_config(path)
    refusals = (
        (not (path / "config.json").is_file(), f"{name} holds no model: it has no config.json."),
        (
            not config.get("model_type"),
            f"The config.json of {name} is damaged or names no model_type.",
        ),
        (
            bool(config.get("model_file")),
            f"{name} brings its own Python code, which is never run here; choose another model.",
        ),
        (
            not any(path.glob("model*.safetensors")),
            f"{name} holds no weights that MLX reads (model*.safetensors); look for an MLX conversion.",
        ),
    )
    for refused, sentence in refusals:
        if refused:
            raise ServingError(sentence)
    return config


def _device_memory() -> int:
    import mlx.core as mx

    on_metal = mx.device_info().get("max_recommended_working_set_size")
    return int(on_metal or machine_memory_bytes())


def _weigh(name: str, path: Path, memory_bytes: int, emit: Emit) -> None:
    """Warn, with the numbers, before loading what will not fit."""
    size = estimate_size(path)
    emit("size", bytes=size.bytes, memory=memory_bytes)
    if size.bytes > memory_bytes:
        weights, cache = f"{size.weights_bytes / GB:.3g}", f"{size.cache_bytes / GB:.3g}"
        emit(
            "note",
            text=f"{name} needs about {size.bytes / GB:.3g} GB ({weights} for its weights, {cache} for "
            f"{size.cached_tokens} tokens) and {memory_bytes / GB:.3g} GB are there "
            "for it: it may be slow, or be stopped by the system. Choose a smaller or more quantised one.",
        )


def _read(name: str, path: Path) -> tuple[Any, Any]:
    """Return the model and its tokenizer."""
    from mlx_lm.utils import load_model, load_tokenizer

    try:
        model, config = load_model(path)
    except Exception as error:
        raise ServingError(_explain(error, name)) from error
    never = {"trust_remote_code": False}  # said outright: else transformers asks at the keyboard
    try:
        return model, load_tokenizer(path, never, eos_token_ids=config.get("eos_token_id"))
    except Exception as error:
        raise ServingError(f"The tokenizer of {name} cannot be read: {first_line(error)}.") from error


def _explain(error: Exception, name: str) -> str:
    """Return what an exception of mlx-lm's loading means; the first row that holds wins."""
    text = first_line(error)
    kind = "".join(text.split()[2:3])  # of "Model type KIND not supported."
    meanings = (
        (
            text.startswith("Model type") and "not supported" in text,
            f"{name} is of the kind {kind!r}, which mlx-lm does not know here: pip install -U mlx-lm.",
        ),
        (
            isinstance(error, ValueError) and ("parameters" in text or "shape" in text.lower()),
            f"The weights of {name} do not fit its config.json; download it again.",
        ),
        (
            isinstance(error, RuntimeError),
            f"The weights of {name} are damaged or incomplete; download it again. ({text})",
        ),
        (True, f"{name} cannot be loaded: {text}."),
    )
    return next(sentence for holds, sentence in meanings if holds)


def _makers_sampling(path: Path, vocabulary: int) -> dict[str, float]:
    """Return how the model's makers want it sampled, from generation_config.json; {} is greedily.

    What no request may ask for is left out here too: it would fail every answer.
    """
    try:
        config = json.loads((path / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(config, dict) or not config.get("do_sample"):
        return {}
    values = {name: _valid_or_none(name, config.get(name)) for name in SAMPLING}
    sampling = {name: value for name, value in values.items() if value is not None}
    if sampling.get("top_k", 0) >= vocabulary:
        del sampling["top_k"]
    return sampling


def _valid_or_none(name: str, value: Any) -> float | None:
    try:
        valid: float | None = None if value is None else check_parameter(name, value)
    except ConfigError:
        return None
    return valid
