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
class Loaded:
    """A model ready to answer."""

    name: str
    model: Any
    tokenizer: Any
    vocabulary: int
    context_length: int | None
    sampling: Mapping[str, float]


def load(name: str, revision: str | None, memory_bytes: int | None, say: Emit) -> Loaded:
    """Load a model; `say` is told notes and progress. Raises Refused."""
    folder = Path(name) if Path(name).is_dir() else None
    config = _checked(name, folder) if folder else {}  # before the imports: what is wrong is told at once
    with _file_limit_untouched():
        import mlx_lm  # noqa: F401 - takes seconds and lowers the limit of open files
    path = folder or download(name, revision, say)
    config = config or _checked(name, path)
    _weigh(name, path, memory_bytes or _device_memory(), say)
    say("progress", what="load")
    model, tokenizer = _read(name, path)
    if not tokenizer.has_chat_template:
        raise ServingError(
            f"{name} has no chat template, so it cannot chat: choose an instruct or chat model."
        )
    vocabulary = int(config.get("vocab_size") or len(tokenizer))
    return Loaded(name, model, tokenizer, vocabulary, context_length(config), _sampling(path, vocabulary))


@contextmanager
def _file_limit_untouched() -> Iterator[None]:
    # mlx-lm sets the limit to (2048, 4096) as it is imported, which fails under a lower hard limit.
    real, resource.setrlimit = resource.setrlimit, lambda *_: None
    try:
        yield
    finally:
        resource.setrlimit = real


def _checked(name: str, path: Path) -> dict[str, Any]:
    """Read the configuration, refusing what mlx-lm would fail on with a riddle."""
    if not (path / "config.json").is_file():
        raise ServingError(f"{name} holds no model: it has no config.json.")
    config = read_config(path)
    if not config.get("model_type"):
        raise ServingError(f"The config.json of {name} is damaged or names no model_type.")
    if config.get("model_file"):
        raise ServingError(
            f"{name} brings its own Python code, which is never run here; choose another model."
        )
    if not list(path.glob("model*.safetensors")):
        raise ServingError(
            f"{name} holds no weights that MLX reads (model*.safetensors); look for an MLX conversion."
        )
    return config


def _device_memory() -> int:
    import mlx.core as mx

    on_metal = mx.device_info().get("max_recommended_working_set_size")
    return int(on_metal or machine_memory_bytes())


def _weigh(name: str, path: Path, memory_bytes: int, say: Emit) -> None:
    """Warn, with the numbers, before loading what will not fit."""
    size = estimate_size(path)
    say("size", bytes=size.bytes, memory=memory_bytes)
    if size.bytes > memory_bytes:
        weights, cache = f"{size.weights_bytes / GB:.3g}", f"{size.cache_bytes / GB:.3g}"
        say(
            "note",
            text=f"{name} needs about {size.bytes / GB:.3g} GB ({weights} for its weights, {cache} for "
            f"{size.cached_tokens} tokens) and {memory_bytes / GB:.3g} GB are there "
            "for it: it may be slow, or be stopped by the system. Choose a smaller or more quantised one.",
        )


def _read(name: str, path: Path) -> tuple[Any, Any]:
    from mlx_lm.utils import load_model, load_tokenizer

    try:
        model, config = load_model(path)
    except Exception as error:
        raise ServingError(_why_not_loaded(error, name)) from error
    never = {"trust_remote_code": False}  # said outright: else transformers asks at the keyboard
    try:
        return model, load_tokenizer(path, never, eos_token_ids=config.get("eos_token_id"))
    except Exception as error:
        raise ServingError(f"The tokenizer of {name} cannot be read: {first_line(error)}.") from error


def _why_not_loaded(error: Exception, name: str) -> str:
    text = first_line(error)
    if "not supported" in text and text.startswith("Model type"):
        kind = text.split()[2]
        return f"{name} is of the kind {kind!r}, which mlx-lm does not know here: pip install -U mlx-lm."
    if isinstance(error, ValueError) and ("parameters" in text or "shape" in text.lower()):
        return f"The weights of {name} do not fit its config.json; download it again."
    if isinstance(error, RuntimeError):
        return f"The weights of {name} are damaged or incomplete; download it again. ({text})"
    return f"{name} cannot be loaded: {text}."


def _sampling(path: Path, vocabulary: int) -> dict[str, float]:
    """How the model's makers want it sampled, from generation_config.json; greedy where they say nothing.

    What no request may ask for is left out here too: it would fail every answer.
    """
    try:
        config = json.loads((path / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(config, dict) or not config.get("do_sample"):
        return {}
    wanted = ((name, _as_asked(name, config.get(name))) for name in SAMPLING)
    known = {name: value for name, value in wanted if value is not None}
    if known.get("top_k", 0) >= vocabulary:
        del known["top_k"]
    return known


def _as_asked(name: str, value: Any) -> float | None:
    try:
        found: float | None = None if value is None else check_parameter(name, value)
    except ConfigError:
        return None
    return found
