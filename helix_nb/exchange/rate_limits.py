"""How fast a batch may go: what the user allows per minute, and what the server turns out to bear."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

START = 4.0  # requests in flight before anything is known
MOST = 256.0
FAST = 0.5  # growth per answer below what was refused: half as many again each round
SLOWER = 2.0  # this many times the best latency means that requests already queue at the server
MUCH_SLOWER = 4.0
ROUNDING_S = 0.01  # latencies below this differ by noise
UNSAID_S = 1.0  # the pause that a refusal without Retry-After counts as
REGAIN = 1.05  # what a learnt rate grows by in the time of one pause without a refusal
SOON = 5.0  # after so many pauses it has grown twice as often, and then ever faster
MOST_REGAINS = 300.0
CAREFUL = 0.95
NEARLY = 0.8
SLOWEST_PER_S = 0.2
PROBES_PER_S = 4.0  # while nothing is admitted; half of it after each further wave
PROBES_LEAST_PER_S = 1.0
GONE_S = 60.0  # a server that admits nothing for that long is not expected back
STEP_S = 0.25  # how long a wait holds before it is judged anew
LATE_S = 0.02  # what timers may be late by and catch up
CHARACTERS_PER_TOKEN = 4


class AdaptiveLimit:
    """The requests a server bears: `limit` in flight, and a rate once it refused some.

    The limit grows with each answer while the time to the first token holds, and halves when the
    server refuses. When most of what was in flight then is refused as well, it was too fast: what
    it admitted, over that time and at first the pause it asks for, is the rate from then on, which
    grows while answers come. A refusal alone says nothing about rates, and neither does a wave in
    which nothing was admitted: the server is down, and a few requests ask whether it is back.
    """

    def __init__(self) -> None:
        self.limit = START
        self._fast_until = MOST
        self._latencies_s: list[float] = []
        self._best_s: float | None = None
        self._slow = False
        self._admitted = 0
        self._wave = self._wave_of = 0
        self._shown: float | None = None
        self._cut_at = -1.0
        self._cycle_at: float | None = None
        self._pause_s = UNSAID_S
        self._rate: float | None = None
        self._probes_per_s: float | None = None
        self._down_at = 0.0
        self._calm_at = 0.0
        self._last_start = 0.0
        self._line = asyncio.Lock()

    def started(self) -> None:
        """A request goes out."""
        if self._cycle_at is None:
            self._cycle_at = time.monotonic()

    def first_token(self, latency_s: float) -> None:
        """An answer began; every `limit` of them the latency is judged anew."""
        self._admitted += 1
        self._probes_per_s = None
        if not self._slow:
            self._calm_at = time.monotonic()
        self._latencies_s.append(latency_s)
        if len(self._latencies_s) < self.limit:
            return
        mean_s = sum(self._latencies_s) / len(self._latencies_s)
        self._latencies_s.clear()
        # The best drifts up, so that one lucky round does not hold the batch back for ever.
        self._best_s = mean_s if self._best_s is None else min(mean_s, self._best_s * 1.02)
        self._slow = mean_s > SLOWER * self._best_s + ROUNDING_S
        if self._slow:
            self._fast_until = self.limit
        if mean_s > MUCH_SLOWER * self._best_s + ROUNDING_S:
            self.limit = max(START, self.limit * 0.75)

    def answered(self, in_flight: int) -> None:
        """An answer is whole; a limit that was not nearly reached says nothing, and does not grow."""
        if not self._slow and in_flight >= self.limit / 2:
            growth = FAST if self.limit < self._fast_until else 1.0 / self.limit
            self.limit = min(MOST, self.limit + growth)

    def refused(self, started_at: float, retry_after_s: float | None, in_flight: int) -> None:
        """The server had too many; requests that were already out when it said so halve nothing more."""
        if started_at < self._cut_at:
            self._wave += 1
        else:
            self._cut(time.monotonic(), started_at, retry_after_s, in_flight)
        if self._wave >= max(2.0, self._wave_of / 2) and self._shown is not None:
            self._rate, self._shown = max(self._shown, SLOWEST_PER_S), None

    @property
    def down(self) -> bool:
        """Whether the server admits nothing at all, whoever asks."""
        return self._probes_per_s is not None

    def gone(self) -> bool:
        """Whether the server has admitted nothing for so long that waiting is no use."""
        return self.down and time.monotonic() - self._down_at > GONE_S

    def _cut(self, now: float, started_at: float, retry_after_s: float | None, in_flight: int) -> None:
        self._pause_s = max(UNSAID_S if retry_after_s is None else retry_after_s, 0.1)
        if self._admitted:
            self._fast_until = NEARLY * self.limit
            self._show(max(now - (self._cycle_at or started_at), 0.0))
        else:
            self._down(now)
        self.limit = max(1.0, self.limit / 2)
        self._wave, self._wave_of = 1, in_flight
        self._cut_at = self._cycle_at = now + self._pause_s
        self._admitted = 0

    def _show(self, taken_s: float) -> None:
        """Note the rate admitted until now; a known rate only rises by it, unless a wave follows."""
        burst = self._rate is None
        self._shown = CAREFUL * self._admitted / (taken_s + self._pause_s if burst else max(taken_s, 0.1))
        if self._rate is not None and taken_s >= self._pause_s:
            self._rate = max(self._rate, self._shown)

    def _down(self, now: float) -> None:
        self._shown = None
        if self._probes_per_s is None:
            self._down_at, self._probes_per_s = now, 2 * PROBES_PER_S
        self._probes_per_s = max(self._probes_per_s / 2, PROBES_LEAST_PER_S)

    def _per_s(self) -> float | None:
        """How many requests may start in a second from now; None is any number."""
        if self._rate is None or self._cycle_at is None:
            return self._probes_per_s
        pauses = max(self._calm_at - self._cycle_at, 0.0) / self._pause_s
        regains = min(pauses * (1.0 + (pauses / SOON) ** 2), MOST_REGAINS)
        return float(min(self._rate * REGAIN**regains, self._probes_per_s or float("inf")))

    async def turn(self) -> None:
        """Wait until the learnt rate lets one more request go."""
        if self._per_s() is None:
            return
        asked_at = time.monotonic()
        async with self._line:
            while True:
                now, per_s = time.monotonic(), self._per_s()
                gap_s = 1.0 / per_s if per_s else 0.0
                start = max(self._last_start + gap_s, self._cycle_at or 0.0, asked_at)
                if start <= now:
                    break
                await asyncio.sleep(min(start - now, STEP_S))
            self._last_start = max(start, now - LATE_S)


@dataclass
class PerMinuteLimit:
    """What the user allows per minute: requests, tokens, or both; None is no limit."""

    rpm: float | None = None
    tpm: float | None = None
    _next_start: float = 0.0
    _balance: float = 0.0
    _filled_at: float = field(default_factory=time.monotonic)
    _mean_tokens: float | None = None

    def wait_s(self) -> float:
        """Take the next place in line; seconds until it comes."""
        now = time.monotonic()
        wait_s = 0.0
        if self.rpm:
            start = max(self._next_start, now)
            self._next_start = start + 60.0 / self.rpm
            wait_s = start - now
        return max(wait_s, self._until_filled_s(now))

    def _until_filled_s(self, now: float) -> float:
        if not self.tpm:
            return 0.0
        per_s = self.tpm / 60.0
        self._balance = min(self._balance + (now - self._filled_at) * per_s, per_s)
        self._filled_at = now
        return max(-self._balance / per_s, 0.0)

    def reserve(self, characters: int) -> float:
        """Book the tokens that a request will probably use, before `wait_s`; returns how many."""
        expected = self._mean_tokens or 2.0 * characters / CHARACTERS_PER_TOKEN
        self._balance -= expected
        return expected

    def settle(self, reserved: float, used: float | None) -> None:
        """Correct a booking by what was used; None is unknown and stays as booked."""
        if used is None:
            return
        self._balance += reserved - used
        if used > 0:
            mean = self._mean_tokens
            self._mean_tokens = used if mean is None else mean + 0.1 * (used - mean)
