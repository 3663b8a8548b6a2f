"""mlx-lm's BatchGenerator for one request at a time: for models whose caches cannot be batched."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.generate import generate_step


@dataclass(frozen=True)
class GeneratedToken:
    """A token of a request, named as mlx-lm's GenerationBatch names its responses."""

    uid: int
    token: int
    finish_reason: str | None = None  # set with the last token, and only then the two below
    prompt_cache: list[Any] | None = None  # of `all_tokens`
    all_tokens: list[int] | None = None


class SingleGenerator:
    """The part of BatchGenerator that the engine uses, over `generate_step`."""

    def __init__(self, model: Any, end_tokens: Collection[int], prefill_tokens: int) -> None:
        self._model, self._end_tokens, self._prefill_tokens = model, end_tokens, prefill_tokens
        self._uid = 0  # of the last request
        self._steps: Iterator[tuple[int, Any]] | None = None
        self._cache: list[Any] = []
        self._tokens: list[int] = []
        self._left = 0
        self._begun = False

    def insert_segments(  # noqa: PLR0917 - as BatchGenerator has it
        self,
        segments: list[list[list[int]]],
        max_tokens: list[int],
        caches: list[list[Any]],
        all_tokens: list[list[int]],
        samplers: list[Any],
        logits_processors: list[list[Any]],
    ) -> list[int]:
        """Begin the one request there is, and return its uid."""
        prompt = [token for segment in segments[0] for token in segment]
        cached = mx.array(all_tokens[0], dtype=mx.int32)
        self._cache, self._tokens, self._left = caches[0], all_tokens[0] + prompt, max_tokens[0]
        self._uid, self._begun = self._uid + 1, False
        self._steps = iter(
            generate_step(
                mx.array(prompt),
                self._model,
                max_tokens=max_tokens[0],
                sampler=samplers[0],
                logits_processors=[_with_cached(cached, process) for process in logits_processors[0]],
                prompt_cache=self._cache,
                prefill_step_size=self._prefill_tokens,
            )
        )
        return [self._uid]

    def next(self) -> tuple[list[Any], list[GeneratedToken]]:
        """Return the next token; the list of prompts' progress is always empty."""
        if self._steps is None:
            return [], []
        token, _ = next(self._steps)
        self._begun = True
        self._tokens.append(token)
        self._left -= 1
        reason = "stop" if token in self._end_tokens else "length" if self._left == 0 else None
        if reason is None:
            return [], [GeneratedToken(self._uid, token)]
        return [], [GeneratedToken(self._uid, token, reason, self._end(), self._tokens)]

    def remove(
        self, uids: list[int], *, return_prompt_caches: bool = True
    ) -> dict[int, tuple[list[Any], list[int]]]:
        """End the request before its time and hand over its cache, if it holds what its tokens say."""
        cache = self._end()
        return {uids[0]: (cache, self._tokens)} if self._begun and return_prompt_caches else {}

    def extract_cache(self, _: list[int]) -> dict[int, tuple[list[Any], list[int]]]:
        """Return nothing: a cache in use here is not copied."""
        return {}

    def _end(self) -> list[Any]:
        cache, self._steps, self._cache = self._cache, None, []
        return cache


def _with_cached(cached: mx.array, process: Any) -> Any:
    """Return a logits processor that sees the tokens of the reused cache too."""
    return lambda tokens, logits: process(mx.concatenate([cached, tokens]), logits)
