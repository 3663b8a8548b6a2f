"""Which local model is meant, what is on this machine, and how much memory a model needs.

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
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_ID_LENGTH = 96  # what the Hub's client takes
_CGROUPS = Path("/sys/fs/cgroup")


def resolve_name(asked: str, aliases: Mapping[str, str]) -> str:
    """Return the folder or Hub id that a name means.

    An existing folder wins, then the user's aliases, then the built-in ones, then a Hub id.

    Raises:
        LocalModelError: it is none of these.
    """
    for name in (asked, aliases.get(asked), ALIASES.get(asked)):
        if name and (folder := existing_folder(name)):
            return str(folder.resolve())
    name = aliases.get(asked) or ALIASES.get(asked) or asked
    what = _no_folder(name)
    if what is not None or name.startswith(("/", "./", "../", "~")):
        what = what or "does not exist"
        raise LocalModelError(f"{name} {what}; name a folder, or a Hub id such as {DEFAULTS[0][1]}.")
    if not _HUB_ID.fullmatch(name) or len(name) > HUB_ID_LENGTH:
        known = f"a Hub id such as {DEFAULTS[0][1]}, or one of {', '.join([*aliases, *ALIASES])}"
        raise LocalModelError(f"{name!r} is no local model: name a folder, {known}.")
    return name


def existing_folder(name: str) -> Path | None:
    """Return the folder of that name, if there is one that can be looked at."""
    try:
        path = Path(name).expanduser()
        return path if path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long for a path, out of reach, a home of nobody
        return None


def _no_folder(name: str) -> str | None:
    """What is there under that name, in words, where it is not a folder; None when nothing is."""
    try:
        return "is not a folder with a model" if Path(name).expanduser().exists() else None
    except PermissionError:
        return "cannot be looked at (permission denied)"
    except (OSError, RuntimeError, ValueError):
        return None


def model_for_memory(memory_bytes: int) -> str:
    """Return the model to use on a machine with this much memory when none is named."""
    return [model for floor, model in DEFAULTS if memory_bytes >= floor * GB][-1]


def machine_memory_bytes() -> int:
    """Return the memory that is there, in bytes: the machine's, or the container's where that is less."""
    if not hasattr(os, "sysconf"):
        return 0  # Windows, where no local model runs
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, _container_limit(_CGROUPS) or machine)


def _container_limit(cgroups: Path) -> int | None:
    """What a container may use, by either version of cgroups; None where nothing limits it."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((cgroups / file).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
    return None


@dataclass(frozen=True)
class Size:
    """What a model weighs: its weights, and its cache for a conversation of so many tokens, in bytes."""

    weights_bytes: int
    cache_bytes: int
    cached_tokens: int

    @property
    def bytes(self) -> int:
        return self.weights_bytes + self.cache_bytes


CACHED_TOKENS = 8192  # one long conversation; what the estimate of a cache is made for


def estimate_size(path: Path) -> Size:
    """Estimate a model's memory from its files: the weights, and 16-bit keys and values."""
    config = read_config(path)
    layers, heads = _count(config, "num_hidden_layers"), _count(config, "num_attention_heads")
    heads_kept = _count(config, "num_key_value_heads") or heads
    head_dim = _count(config, "head_dim") or _count(config, "hidden_size") // max(heads, 1)
    tokens = min(CACHED_TOKENS, context_length(config) or CACHED_TOKENS)
    return Size(weights_bytes(path), 2 * 2 * layers * heads_kept * head_dim * tokens, tokens)


def _count(config: Mapping[str, Any], name: str) -> int:
    """A number above 0 from a config, or the largest of a list for each layer; 0 where there is none."""
    value = config.get(name)
    found = [n for n in (value if isinstance(value, list) else [value]) if type(n) is int and n > 0]
    return max(found, default=0)


def weights_bytes(path: Path) -> int:
    """Return the bytes of a model's weight files that are there."""
    return sum(file.stat().st_size for file in path.glob("*.safetensors") if file.is_file())


def read_config(path: Path) -> dict[str, Any]:
    """Return config.json, the language part of it where there are several; {} when it is unreadable."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(config, dict):
        return {}
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def context_length(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a model was made for; None when its config does not say."""
    limit, scaling = _count(config, "max_position_embeddings"), _mapping(config, "rope_scaling")
    original, factor = _count(scaling, "original_max_position_embeddings"), scaling.get("factor")
    if limit and isinstance(factor, int | float) and math.isfinite(factor):
        return max(limit, int(original * factor))
    return limit or None


def _mapping(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def cached_models() -> list[ModelInfo]:
    """Return the language models in the Hub's cache on this machine, by id."""
    return sorted(_found(hub_cache()), key=lambda model: model.id.lower())


def hub_cache() -> Path:
    """Return where the Hub's client keeps what it downloads, the way that client decides it."""
    environment = os.environ
    if chosen := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen).expanduser()
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(environment.get("HF_HOME") or cache / "huggingface").expanduser() / "hub"


def _found(cache: Path) -> Iterator[ModelInfo]:
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
    """Whether the weights of a model are all there, as far as its files tell."""
    try:
        index = json.loads((path / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return all((path / name).is_file() for name in index["weight_map"].values())
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ):  # one file, or an index nobody can read
        return any(path.glob("model*.safetensors"))


def model_info(name: str, path: Path) -> ModelInfo | None:
    """Return what a model's folder says about it; None when it holds no language model."""
    config, size_bytes = read_config(path), weights_bytes(path)
    made_for = str(config.get("architectures") or "CausalLM")
    if not size_bytes or not ("CausalLM" in made_for or "ConditionalGeneration" in made_for):
        return None
    quantization = _mapping(config, "quantization") or _mapping(config, "quantization_config")
    bits = quantization.get("bits")
    kind = f"{bits}-bit" if bits else config.get("torch_dtype") or config.get("dtype")
    return ModelInfo(name, size_bytes, kind and str(kind), context_length(config))
