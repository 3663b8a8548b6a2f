"""Many requests on one model, in the worker: continuous batching, cancelling, reuse of prompt caches.

`step` moves every running request on by one token. Requests join and leave the batch between
steps. One with a seed runs alone, because all samplers share one random state; so does everything
on a model whose caches cannot be batched.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import mlx.core as mx
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache

from .download import first_line
from .generation import Generation
from .load import LoadedModel
from .prompt_cache import PromptCaches, always_trimmable, can_pad
from .single_generator import SingleGenerator

BATCH = 32
PREFILL_BATCH = 8
# Between two steps a cancel is seen and others get their tokens, so a long prompt goes in pieces,
# of a size that this machine needs about so long for.
PREFILL_S = 0.25
PREFILL_TOKENS, PREFILL_LEAST, PREFILL_MOST = 64, 16, 512


class Engine:
    """One loaded model and the requests on it. Every method runs on the worker's main thread."""

    def __init__(self, loaded: LoadedModel, cache_bytes: int) -> None:
        self._loaded = loaded
        self._prompt_caches = PromptCaches(cache_bytes)
        cache = make_prompt_cache(loaded.model)
        self._can_batch = all(hasattr(layer, "merge") for layer in cache)
        self._prefill_batch = PREFILL_BATCH if can_pad(cache) else 1
        self._always_trimmable = always_trimmable(cache)
        self._waiting: deque[Generation] = deque()
        self._running: dict[int, Generation] = {}  # by the generator's uid
        self._exclusive = False  # the one that runs must run alone
        self._generator = self._new_generator()

    @property
    def idle(self) -> bool:
        """Whether there is no request."""
        return not self._running and not self._waiting

    def add(self, request_id: str, wire: Mapping[str, Any]) -> None:
        """Queue a request; raises ServingError when this model cannot serve it."""
        self._waiting.append(Generation(request_id, wire, self._loaded))

    def cancel(self, request_id: str) -> None:
        """Drop a request; what it computed so far stays of use to the next one."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.id != request_id)
        for uid in [uid for uid, running in self._running.items() if running.id == request_id]:
            self._remove(uid)

    def start(self) -> Iterator[dict[str, Any]]:
        """Start those that wait, as far as they may run now; yield an event with each prompt's length."""
        while self._waiting and not self._exclusive:
            exclusive = self._waiting[0].seed is not None or not self._can_batch
            if exclusive and self._running:
                return
            generation = self._waiting.popleft()
            try:
                self._insert(generation)
                self._exclusive = exclusive
                yield {"event": "piece", "id": generation.id, "usage": generation.usage}
            except Exception as error:  # noqa: BLE001 - a request may fail, the others go on
                yield self._error_event(generation, error)

    def step(self) -> list[dict[str, Any]]:
        """Move every running request on by one token and return what came of it."""
        events: list[dict[str, Any]] = []
        try:
            started = time.monotonic()
            prompts, tokens = self._generator.next()
            if any(not response.end_of_segment for response in prompts):
                self._fit_prefill(time.monotonic() - started)
            for response in prompts:
                if response.end_of_segment and not response.end_of_prompt and response.uid in self._running:
                    self._keep_cache(response.uid)
            for response in tokens:
                events.append(self._token_event(response))
        except Exception as error:  # noqa: BLE001 - whatever mlx raises, the worker goes on
            return [*events, *self._fail_all(error)]
        if self.idle:
            mx.clear_cache()
        return events

    def _insert(self, generation: Generation) -> None:
        cache, generation.cached_tokens = self._prompt_caches.fetch(generation.prompt)
        if generation.seed is not None:
            mx.random.seed(generation.seed)
        (uid,) = self._generator.insert_segments(
            [self._segments(generation)],
            max_tokens=[generation.max_tokens],
            caches=[cache or make_prompt_cache(self._loaded.model)],
            all_tokens=[generation.prompt[: generation.cached_tokens]],
            samplers=[generation.sampler()],
            logits_processors=[generation.logits_processors()],
        )
        self._running[uid] = generation

    def _segments(self, generation: Generation) -> list[list[int]]:
        """Return the part of the prompt to feed, in two where only a stop in between gives a reusable cache.

        A template may drop the model's thoughts, or open them, so that the next turn's prompt parts
        from this one's tokens before the answer. A cache that cannot be trimmed is kept there.
        """
        prompt, cached = generation.prompt, generation.cached_tokens
        boundary = 0 if self._always_trimmable else generation.boundary()
        if cached < boundary < len(prompt):
            return [prompt[cached:boundary], prompt[boundary:]]
        return [prompt[cached:]]

    def _fit_prefill(self, seconds: float) -> None:
        """Fit the next pieces of prompts to how long a full one took."""
        size = self._generator.prefill_step_size
        if seconds > 2 * PREFILL_S:
            self._generator.prefill_step_size = max(PREFILL_LEAST, size // 2)
        elif seconds < PREFILL_S:
            self._generator.prefill_step_size = min(PREFILL_MOST, size * 2)

    def _token_event(self, response: Any) -> dict[str, Any]:
        uid, reason = response.uid, response.finish_reason
        generation = self._running[uid]
        try:
            fields = generation.add_token(response.token, reason)
        except Exception as error:  # noqa: BLE001 - an unreadable token ends one answer, not its neighbours'
            self._forget(uid) if reason is not None else self._remove(uid)
            return self._error_event(generation, error)
        if reason is not None:
            self._forget(uid)
            self._prompt_caches.insert(response.all_tokens, response.prompt_cache)
        elif generation.stopped:
            self._remove(uid)
            reason = "stop"
        finish = {"finish_reason": generation.finish_reason(reason)} if reason else {}
        return {"event": "piece", "id": generation.id, "usage": generation.usage, **fields, **finish}

    def _keep_cache(self, uid: int) -> None:
        """Keep the cache of a request that runs on."""
        for cache, tokens in self._generator.extract_cache([uid]).values():
            self._prompt_caches.insert(tokens, cache)

    def _remove(self, uid: int) -> None:
        """Take a request out of the batch before its end, and keep its cache."""
        removed = self._generator.remove([uid], return_prompt_caches=True)
        self._forget(uid)
        for cache, tokens in removed.values():
            self._prompt_caches.insert(tokens, cache)

    def _forget(self, uid: int) -> None:
        generation = self._running.pop(uid)
        self._exclusive = False
        if generation.seed is not None:  # the next unseeded request must not follow from this seed
            mx.random.seed(int.from_bytes(os.urandom(7), "big"))

    def _fail_all(self, error: Exception) -> list[dict[str, Any]]:
        """End every running request: there is no telling which of them broke the batch."""
        events = [self._error_event(generation, error) for generation in self._running.values()]
        self._running.clear()
        self._exclusive = False
        self._prompt_caches.clear()
        self._generator = self._new_generator()
        return events

    def _error_event(self, generation: Generation, error: Exception) -> dict[str, Any]:
        traceback.print_exception(error)
        message = f"{self._loaded.name} failed while answering: {first_line(error)}."
        return {"event": "error", "id": generation.id, "kind": "LocalModelError", "message": message}

    def _new_generator(self) -> Any:
        end_tokens = self._loaded.tokenizer.eos_token_ids
        if not self._can_batch:
            return SingleGenerator(self._loaded.model, set(end_tokens), PREFILL_MOST)
        return BatchGenerator(
            self._loaded.model,
            stop_tokens=[[token] for token in end_tokens],
            completion_batch_size=BATCH,
            prefill_batch_size=self._prefill_batch,
            prefill_step_size=PREFILL_TOKENS,
        )
