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
from .load import Loaded
from .prompt_cache import PromptCaches, always_trimmable, can_pad
from .single_generator import SingleGenerator

BATCH = 32
PREFILL_BATCH = 8
# Between two steps a cancel is seen and others get their tokens, so a long prompt goes in pieces,
# of a size that this machine needs about so long for.
PREFILL_S = 0.25
PREFILL_TOKENS, PREFILL_LEAST, PREFILL_MOST = 64, 16, 512

Event = dict[str, Any]


class Engine:
    """One loaded model and the requests on it. Every method runs on the worker's main thread."""

    def __init__(self, loaded: Loaded, cache_bytes: int) -> None:
        self._loaded = loaded
        self._prefixes = PromptCaches(cache_bytes)
        fresh = make_prompt_cache(loaded.model)
        self._batches = all(hasattr(layer, "merge") for layer in fresh)
        self._prefill_batch = PREFILL_BATCH if can_pad(fresh) else 1
        self._cuts = always_trimmable(fresh)
        self._waiting: deque[Generation] = deque()
        self._running: dict[int, Generation] = {}
        self._alone = False
        self._generator = self._new_generator()

    @property
    def idle(self) -> bool:
        return not self._running and not self._waiting

    def add(self, job_id: str, wire: Mapping[str, Any]) -> None:
        """Queue a request; raises Refused when this model cannot serve it."""
        self._waiting.append(Generation(job_id, wire, self._loaded))

    def cancel(self, job_id: str) -> None:
        """Forget a request; what it computed so far stays of use to the next one."""
        self._waiting = deque(job for job in self._waiting if job.id != job_id)
        for uid in [uid for uid, job in self._running.items() if job.id == job_id]:
            self._take_out(uid)

    def step(self) -> list[Event]:
        """Move on by one token and return what came of it."""
        events: list[Event] = []
        try:
            begun = time.monotonic()
            prompts, tokens = self._generator.next()
            if any(not response.end_of_segment for response in prompts):
                self._pace(time.monotonic() - begun)
            for response in prompts:
                if response.end_of_segment and not response.end_of_prompt and response.uid in self._running:
                    self._keep(response.uid)
            for response in tokens:
                events.append(self._event(response))
        except Exception as error:  # noqa: BLE001 - whatever mlx raises, the worker goes on
            return [*events, *self._failed(error)]
        if self.idle:
            mx.clear_cache()
        return events

    def _pace(self, seconds: float) -> None:
        """Fit the next pieces of prompts to how long a full one took."""
        size = self._generator.prefill_step_size
        if seconds > 2 * PREFILL_S:
            self._generator.prefill_step_size = max(PREFILL_LEAST, size // 2)
        elif seconds < PREFILL_S:
            self._generator.prefill_step_size = min(PREFILL_MOST, size * 2)

    def start(self) -> Iterator[Event]:
        """Start those that wait, as far as they may run now; tells the length of each prompt."""
        while self._waiting and not self._alone:
            alone = self._waiting[0].seed is not None or not self._batches
            if alone and self._running:
                return
            job = self._waiting.popleft()
            try:
                self._start(job)
                self._alone = alone
                yield {"event": "piece", "id": job.id, "usage": job.usage}
            except Exception as error:  # noqa: BLE001 - a request may fail, the others go on
                yield self._error(job, error)

    def _start(self, job: Generation) -> None:
        cache, cached = self._prefixes.take(job.prompt)
        job.cached_tokens = cached
        if job.seed is not None:
            mx.random.seed(job.seed)
        (uid,) = self._generator.insert_segments(
            [self._segments(job, cached)],
            max_tokens=[job.max_tokens],
            caches=[cache or make_prompt_cache(self._loaded.model)],
            all_tokens=[job.prompt[:cached]],
            samplers=[job.sampler()],
            logits_processors=[job.processors()],
        )
        self._running[uid] = job

    def _segments(self, job: Generation, cached: int) -> list[list[int]]:
        """The part of the prompt to feed, in two where only a stop in between gives a reusable cache.

        A template may drop the model's thoughts, or open them, so that the next turn's prompt parts
        from this one's tokens before the answer. A cache that cannot be cut back is kept there.
        """
        boundary = 0 if self._cuts else job.boundary()
        if cached < boundary < len(job.prompt):
            return [job.prompt[cached:boundary], job.prompt[boundary:]]
        return [job.prompt[cached:]]

    def _event(self, response: Any) -> Event:
        uid, reason = response.uid, response.finish_reason
        job = self._running[uid]
        try:
            fields = job.token(response.token, reason)
        except Exception as error:  # noqa: BLE001 - a token nobody can read ends one answer, not its neighbours'
            self._leave(uid) if reason is not None else self._take_out(uid)
            return self._error(job, error)
        if reason is not None:
            self._leave(uid)
            self._prefixes.keep(response.all_tokens, response.prompt_cache)
        elif job.stopped:
            self._take_out(uid)
            reason = "stop"
        finish = {"finish_reason": job.finish_reason(reason)} if reason else {}
        return {"event": "piece", "id": job.id, "usage": job.usage, **fields, **finish}

    def _keep(self, uid: int) -> None:
        """Keep the cache of a request that runs on."""
        for cache, tokens in self._generator.extract_cache([uid]).values():
            self._prefixes.keep(tokens, cache)

    def _take_out(self, uid: int) -> None:
        kept = self._generator.remove([uid], return_prompt_caches=True)
        self._leave(uid)
        for cache, tokens in kept.values():
            self._prefixes.keep(tokens, cache)

    def _leave(self, uid: int) -> None:
        job = self._running.pop(uid)
        self._alone = False
        if job.seed is not None:  # the next unseeded request must not follow from this seed
            mx.random.seed(int.from_bytes(os.urandom(7), "big"))

    def _failed(self, error: Exception) -> Iterator[Event]:
        """End every running request: nobody knows which of them broke the batch."""
        for job in self._running.values():
            yield self._error(job, error)
        self._running.clear()
        self._alone = False
        self._prefixes.clear()
        self._generator = self._new_generator()

    def _error(self, job: Generation, error: Exception) -> Event:
        traceback.print_exception(error)
        message = f"{self._loaded.name} failed while answering: {first_line(error)}."
        return {"event": "error", "id": job.id, "kind": "LocalModelError", "message": message}

    def _new_generator(self) -> Any:
        eos = [[token] for token in self._loaded.tokenizer.eos_token_ids]
        if not self._batches:
            return SingleGenerator(self._loaded.model, {token for (token,) in eos}, PREFILL_MOST)
        return BatchGenerator(
            self._loaded.model,
            stop_tokens=eos,
            completion_batch_size=BATCH,
            prefill_batch_size=self._prefill_batch,
            prefill_step_size=PREFILL_TOKENS,
        )
