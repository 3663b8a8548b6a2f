"""Prompt caches of earlier requests, so that a conversation's next turn pays for its new part only.

Runs in the worker. The keys and values of finished (or cancelled) requests are kept, least
recently used first out, within a budget of bytes; the one sharing the longest beginning with a
new prompt is taken, trimmed to what is shared where its kind of cache can be.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import (
    CacheList,
    KVCache,
    QuantizedKVCache,
    RotatingKVCache,
    can_trim_prompt_cache,
)

from ....text import common_prefix


@dataclass(frozen=True, eq=False)
class Entry:
    """The cache of these tokens."""

    tokens: list[int]
    cache: list[Any]  # one for each layer
    bytes: int


class PromptCaches:
    """The caches kept, least recently used first."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._entries: list[Entry] = []

    @property
    def bytes(self) -> int:
        """What all caches occupy together."""
        return sum(entry.bytes for entry in self._entries)

    def fetch(self, prompt: list[int]) -> tuple[list[Any] | None, int]:
        """Return a copy of a cache for the beginning of a prompt, and how many of its tokens it covers.

        At least the last token is left over, because the model must be fed something.
        """
        length, entry = self._longest_match(prompt)
        if entry is None:
            return None, 0
        self._entries.remove(entry)
        self._entries.append(entry)
        cache = copy.deepcopy(entry.cache)  # shares the arrays; mlx copies them when one is written to
        excess = len(entry.tokens) - length
        if excess and any(layer.trim(excess) != excess for layer in cache):
            return None, 0
        return cache, length

    def insert(self, tokens: Sequence[int], cache: list[Any]) -> None:
        """Keep the cache of these tokens; drop those that it makes superfluous, or that are too much."""
        tokens = list(tokens)
        # Until it is evaluated, a cache cut out of a batch keeps the whole batch in memory.
        mx.eval([layer.state for layer in cache])
        size = sum(layer.nbytes for layer in cache)
        if size > self._budget_bytes or not tokens:
            return
        trimmable = can_trim(cache)  # then it stands for each of its beginnings
        self._entries = [
            entry
            for entry in self._entries
            if entry.tokens != tokens and not (trimmable and _starts_with(tokens, entry.tokens))
        ]
        self._entries.append(Entry(tokens, cache, size))
        while self.bytes > self._budget_bytes:
            self._entries.pop(0)

    def clear(self) -> None:
        """Drop all caches."""
        self._entries.clear()

    def _longest_match(self, prompt: list[int]) -> tuple[int, Entry | None]:
        """Return the entry usable for most of a prompt (of equals the last used), and for how many tokens."""
        longest, match = 0, None
        for entry in self._entries:
            usable = _usable_tokens(entry, prompt)
            if usable and usable >= longest:
                longest, match = usable, entry
        return longest, match


def _usable_tokens(entry: Entry, prompt: list[int]) -> int:
    """Return how many tokens of the prompt this cache can stand for."""
    shared = min(common_prefix(entry.tokens, prompt), len(prompt) - 1)
    return shared if shared == len(entry.tokens) or can_trim(entry.cache) else 0


def can_trim(cache: list[Any]) -> bool:
    """Return whether the end of this cache can be cut off now.

    A cache with a window cannot once it has dropped its beginning: what the last tokens that stay
    would look back to is gone.
    """
    return bool(can_trim_prompt_cache(cache)) and not any(
        getattr(layer, "start_position", 0) for layer in cache
    )


def always_trimmable(cache: list[Any]) -> bool:
    """Return whether caches of this model can be trimmed at any time, however long they are."""
    return all(type(layer) in (KVCache, QuantizedKVCache) for layer in cache)


def can_pad(cache: list[Any]) -> bool:
    """Return whether prompts of different lengths may be fed to this model side by side.

    What fills up the shorter ones is masked in keys and values; a recurrent state takes it in,
    in mlx-lm's mamba, jamba and some others.
    """
    layers = [
        inner for layer in cache for inner in (layer.caches if isinstance(layer, CacheList) else [layer])
    ]
    return all(isinstance(layer, KVCache | RotatingKVCache) for layer in layers)


def _starts_with(tokens: list[int], beginning: list[int]) -> bool:
    return tokens[: len(beginning)] == beginning
