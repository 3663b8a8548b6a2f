"""Local models as files: which one a name means, what is on this machine, how much memory a model needs.

Reads folders and their JSON, nothing else: no network, no MLX. A model is a folder, or a Hub id
(`owner/name`) that the worker downloads.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import LocalModelError
from ..base import ModelInfo

GB = 1_000_000_000

# As of November 2026: from this much memory on (decimal GB), this model. The first is mlx-lm's own
# default; sizes on disk are 1.8, 2.3, 4.6 and 17.2 GB.
DEFAULTS = (
    (0, "mlx-community/Llama-3.2-3B-Instruct-4bit"),
    (12, "mlx-community/Qwen3-4B-4bit"),
    (24, "mlx-community/Qwen3-8B-4bit"),
    (48, "mlx-community/Qwen3-30B-A3B-4bit"),
)
ALIASES = {
    "llama3.2:3b": "mlx-community/Llama-3.2-3B-Instruct-4bit",
    "qwen3:4b": "mlx-community/Qwen3-4B-4bit",
    "qwen3:8b": "mlx-community/Qwen3-8B-4bit",
    "qwen3:30b": "mlx-community/Qwen3-30B-A3B-4bit",
}
CACHED_TOKENS = 8192  # one long conversation; the estimate of a cache is made for it
HUB_ID_LENGTH = 96  # what the Hub's client takes
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_NOT_A_PATH = (OSError, RuntimeError, ValueError)  # too long, out of reach, a home of no user, a NUL


@dataclass(frozen=True)
class ModelSpec:
    """A local model to load, and the memory it may take."""

    name: str  # a folder or a Hub id
    display_name: str  # as the user calls it
    revision: str | None = None  # of a Hub id
    cache_bytes: float | None = None  # for prompts used again; None: the worker decides
    memory_bytes: float | None = None  # before a warning; None: what the machine can give


def resolve_name(name: str, aliases: Mapping[str, str]) -> str:
    """Return the folder or Hub id that a name means.

    An existing folder wins, then the user's aliases, then the built-in ones, then a Hub id.

    Raises:
        LocalModelError: it is none of these.
    """
    for candidate in (name, aliases.get(name), ALIASES.get(name)):
        if candidate and (folder := existing_folder(candidate)):
            return str(folder.resolve())
    model = aliases.get(name) or ALIASES.get(name) or name
    fault = _path_fault(model)
    if fault is not None or model.startswith(("/", "./", "../", "~")):
        fault = fault or "does not exist"
        raise LocalModelError(f"{model} {fault}; name a folder, or a Hub id such as {DEFAULTS[0][1]}.")
    if not _HUB_ID.fullmatch(model) or len(model) > HUB_ID_LENGTH:
        names = f"a Hub id such as {DEFAULTS[0][1]}, or one of {', '.join([*aliases, *ALIASES])}"
        raise LocalModelError(f"{model!r} is no local model: name a folder, {names}.")
    return model


def existing_folder(name: str) -> Path | None:
    """Return the folder of that name, if there is one that can be looked at."""
    try:
        path = Path(name).expanduser()
        return path if path.is_dir() else None
    except _NOT_A_PATH:
        return None


def _path_fault(name: str) -> str | None:
    """Return why what stands under a name is no folder, in words; None when nothing stands there."""
    try:
        return "is not a folder with a model" if Path(name).expanduser().exists() else None
    except PermissionError:
        return "cannot be looked at (permission denied)"
    except _NOT_A_PATH:
        return None


def model_for_memory(memory_bytes: int) -> str:
    """Return the model to use on a machine with this much memory when none is named."""
    return [model for floor_gb, model in DEFAULTS if memory_bytes >= floor_gb * GB][-1]


def machine_memory_bytes(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that is there, in bytes: the machine's, or the container's where that is less."""
    if not hasattr(os, "sysconf"):
        return 0  # Windows, where no local model runs
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, _container_limit(cgroups) or machine)


def _container_limit(cgroups: Path) -> int | None:
    """Return what a container may use, by either version of cgroups; None where nothing limits it."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((cgroups / file).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
    return None


@dataclass(frozen=True)
class ModelSize:
    """The memory that a model needs."""

    weights_bytes: int
    cache_bytes: int  # of a conversation of `cached_tokens`
    cached_tokens: int

    @property
    def bytes(self) -> int:
        """Weights and cache together."""
        return self.weights_bytes + self.cache_bytes


def estimate_size(path: Path) -> ModelSize:
    """Estimate a model's memory from its files: the weights, and 16-bit keys and values."""
    config = read_config(path)
    layers, heads = _count(config, "num_hidden_layers"), _count(config, "num_attention_heads")
    cached_heads = _count(config, "num_key_value_heads") or heads
    head_dim = _count(config, "head_dim") or _count(config, "hidden_size") // max(heads, 1)
    tokens = min(CACHED_TOKENS, context_length(config) or CACHED_TOKENS)
    return ModelSize(weights_bytes(path), 2 * 2 * layers * cached_heads * head_dim * tokens, tokens)


def weights_bytes(path: Path) -> int:
    """Return the size of a model's weight files that are there."""
    return sum(file.stat().st_size for file in path.glob("*.safetensors") if file.is_file())


def read_config(path: Path) -> dict[str, Any]:
    """Return config.json, the language part of it where there are several; {} when it is unreadable."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {**config, **_mapping(config, "text_config")} if isinstance(config, dict) else {}


def context_length(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a model was made for; None when its config does not say."""
    limit, scaling = _count(config, "max_position_embeddings"), _mapping(config, "rope_scaling")
    original, factor = _count(scaling, "original_max_position_embeddings"), scaling.get("factor")
    if limit and isinstance(factor, int | float) and math.isfinite(factor):
        return max(limit, int(original * factor))
    return limit or None


def _count(config: Mapping[str, Any], name: str) -> int:
    """Return a number above 0 from a config, or the largest of a list for each layer; 0 for none."""
    value = config.get(name)
    numbers = [n for n in (value if isinstance(value, list) else [value]) if type(n) is int and n > 0]
    return max(numbers, default=0)


def _mapping(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def cached_models() -> list[ModelInfo]:
    """Return the language models in the Hub's cache on this machine, by id."""
    return sorted(_models_in(hub_cache()), key=lambda model: model.id.lower())


def hub_cache() -> Path:
    """Return where the Hub's client keeps what it downloads, the way that client decides it."""
    environment = os.environ
    if chosen := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen).expanduser()
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(environment.get("HF_HOME") or cache / "huggingface").expanduser() / "hub"


def _models_in(cache: Path) -> Iterator[ModelInfo]:
    for folder in cache.glob("models--*--*"):
        newest = _newest_snapshot(folder)
        model = model_info("/".join(folder.name.split("--")[1:]), newest) if newest else None
        if model is not None:
            yield model


def downloaded_folder(model: str) -> Path | None:
    """Return where the files of a model are, a folder or a Hub id; None when they are not here yet."""
    path = Path(model)
    return path if path.is_dir() else _newest_snapshot(hub_cache() / f"models--{model.replace('/', '--')}")


def _newest_snapshot(folder: Path) -> Path | None:
    snapshots = [path for path in folder.glob("snapshots/*") if (path / "config.json").is_file()]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=None)


def has_all_weights(path: Path) -> bool:
    """Return whether the weights of a model are all there, as far as its files tell."""
    try:
        index = json.loads((path / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return all((path / name).is_file() for name in index["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # one file, or a damaged index
        return any(path.glob("model*.safetensors"))


def model_info(name: str, path: Path) -> ModelInfo | None:
    """Return what a model's folder says about it; None when it holds no language model."""
    config, size_bytes = read_config(path), weights_bytes(path)
    architectures = str(config.get("architectures") or "CausalLM")
    if not size_bytes or not ("CausalLM" in architectures or "ConditionalGeneration" in architectures):
        return None
    quantization = _mapping(config, "quantization") or _mapping(config, "quantization_config")
    bits = quantization.get("bits")
    number_format = f"{bits}-bit" if bits else config.get("torch_dtype") or config.get("dtype")
    return ModelInfo(name, size_bytes, number_format and str(number_format), context_length(config))
