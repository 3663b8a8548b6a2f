"""Rate limits: those that the user sets per minute, and those that a server shows by refusing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

CHARACTERS_PER_TOKEN = 4
STEP_S = 0.25  # the longest sleep of a wait, because the rate may change meanwhile
LATE_S = 0.02  # how late a timer may fire without the rate losing time

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class AdaptiveLimit:
    """Learn how many requests a server bears: `limit` in flight, and a rate once it refused some.

    The limit is a congestion window with additive increase and multiplicative decrease (AIMD, as in
    TCP Reno), which a growing time to the first token holds back. The rate is learnt from what a
    server admitted before it refused most of a wave.

    Args:
        clock: seconds that only grow.
        sleep: waits for so many seconds of that clock.
        give_up_s: how long a server may admit nothing before it is not expected back.
        probes_per_s: requests a second that ask whether such a server is back, at first and at least.
        default_pause_s: the pause after a refusal without Retry-After.
    """

    def __init__(
        self,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        *,
        give_up_s: float = 60.0,
        probes_per_s: tuple[float, float] = (4.0, 1.0),
        default_pause_s: float = 1.0,
    ) -> None:
        self._window = CongestionWindow()
        self._rate = LearnedRate(clock, probes_per_s, default_pause_s)
        self._clock, self._sleep, self._give_up_s = clock, sleep, give_up_s
        self._last_start_s = 0.0
        self._turns = asyncio.Lock()

    @property
    def limit(self) -> float:
        """How many requests may be in flight now."""
        return self._window.limit

    @property
    def unreachable(self) -> bool:
        """Whether the server admits no request at all."""
        return self._rate.probing

    @property
    def given_up(self) -> bool:
        """Whether the server has admitted nothing for so long that waiting is no use."""
        return self.unreachable and self._clock() - self._rate.unreachable_since_s > self._give_up_s

    def request_started(self) -> None:
        """Note that a request goes out."""
        self._rate.request_started()

    def answer_began(self, latency_s: float) -> None:
        """Note the first token of an answer, and how long it took."""
        self._rate.request_admitted(queueing=self._window.queueing)
        self._window.answer_began(latency_s)

    def answer_ended(self, in_flight: int) -> None:
        """Note that an answer is whole, and how many requests were in flight then."""
        self._window.answer_ended(in_flight)

    def request_refused(self, started_s: float, retry_after_s: float | None, in_flight: int) -> None:
        """Note a refusal; requests that were already out at the one before decrease nothing more."""
        admitted = self._rate.admitted > 0
        if self._rate.request_refused(started_s, retry_after_s, in_flight):
            self._window.decrease(was_admitting=admitted)

    async def wait_for_turn(self) -> None:
        """Wait until the learnt rate lets one more request go."""
        if self._rate.per_s() is None:
            return
        asked_s = self._clock()
        async with self._turns:
            while True:
                now_s, per_s = self._clock(), self._rate.per_s()
                gap_s = 1.0 / per_s if per_s else 0.0
                start_s = max(self._last_start_s + gap_s, self._rate.cycle_started_s or 0.0, asked_s)
                if start_s <= now_s:
                    break
                await self._sleep(min(start_s - now_s, STEP_S))
            self._last_start_s = max(start_s, now_s - LATE_S)


class CongestionWindow:
    """A limit on what is in flight that grows with each answer and halves with each refusal."""

    INITIAL = 4.0  # requests in flight before anything is known
    LARGEST = 256.0
    SLOW_START = 0.5  # growth per answer below the threshold: half as many again each round
    THRESHOLD = 0.8  # of the limit at which a server refused; growth is slow from there
    QUEUEING = 2.0  # this many times the best latency means that requests queue at the server
    CONGESTED = 4.0  # this many times: the limit shrinks
    NOISE_S = 0.01  # latencies below this differ by noise
    DRIFT = 1.02  # growth of the best latency a round, so that one lucky round does not count for ever

    def __init__(self) -> None:
        self.limit = self.INITIAL
        self.queueing = False
        self._slow_start_until = self.LARGEST
        self._best_latency_s: float | None = None
        self._latencies_s: list[float] = []

    def answer_began(self, latency_s: float) -> None:
        """Note the latency of an answer, and judge the mean every `limit` answers."""
        self._latencies_s.append(latency_s)
        if len(self._latencies_s) < self.limit:
            return
        mean_s = sum(self._latencies_s) / len(self._latencies_s)
        self._latencies_s.clear()
        best_s = mean_s if self._best_latency_s is None else min(mean_s, self._best_latency_s * self.DRIFT)
        self._best_latency_s = best_s
        self.queueing = mean_s > self.QUEUEING * best_s + self.NOISE_S
        if self.queueing:
            self._slow_start_until = self.limit
        if mean_s > self.CONGESTED * best_s + self.NOISE_S:
            self.limit = max(self.INITIAL, self.limit * 0.75)

    def answer_ended(self, in_flight: int) -> None:
        """Let the limit grow, unless requests queue already, or it was not nearly reached."""
        if not self.queueing and in_flight >= self.limit / 2:
            growth = self.SLOW_START if self.limit < self._slow_start_until else 1.0 / self.limit
            self.limit = min(self.LARGEST, self.limit + growth)

    def decrease(self, *, was_admitting: bool) -> None:
        """Halve the limit; where the server admitted others, remember it as the threshold of slow start."""
        if was_admitting:
            self._slow_start_until = self.THRESHOLD * self.limit
        self.limit = max(1.0, self.limit / 2)


class LearnedRate:
    """Requests a second that a server admits, learnt from its refusals.

    A cycle begins with the first request and anew when a refusal's pause is over. When most of what
    was in flight at a refusal is refused as well, what the cycle admitted, over its time and at first
    the pause, is the rate from then on, which grows while answers come. A lone refusal says nothing
    about rates, and neither does a wave in which nothing was admitted: the server is down then, and a
    few probes ask whether it is back.
    """

    CAUTION = 0.95  # of the rate that was admitted
    SLOWEST_PER_S = 0.2
    GROWTH = 1.05  # what the rate grows by in the time of one pause without a refusal
    ACCELERATION = 5.0  # after so many pauses it has grown twice as often, and then ever faster
    MAX_GROWTHS = 300.0

    def __init__(self, clock: Clock, probes_per_s: tuple[float, float], default_pause_s: float) -> None:
        self._clock, self._default_pause_s = clock, default_pause_s
        self._first_probes_per_s, self._fewest_probes_per_s = probes_per_s
        self.admitted = 0  # requests in this cycle
        self.cycle_started_s: float | None = None
        self.unreachable_since_s = 0.0
        self._wave = self._wave_size = 0  # refusals since the first one, and how many were in flight then
        self._admitted_per_s: float | None = None  # in the last cycle: the rate, if a wave follows
        self._paused_until_s = -1.0
        self._pause_s = default_pause_s
        self._per_s: float | None = None
        self._probes_per_s: float | None = None  # while nothing is admitted; half of it after each wave
        self._calm_until_s = 0.0  # when the last answer came that did not queue

    @property
    def probing(self) -> bool:
        """Whether nothing is admitted, so that only probes go out."""
        return self._probes_per_s is not None

    def request_started(self) -> None:
        """Begin the first cycle, with the first request."""
        if self.cycle_started_s is None:
            self.cycle_started_s = self._clock()

    def request_admitted(self, *, queueing: bool) -> None:
        """Count an answer of this cycle."""
        self.admitted += 1
        self._probes_per_s = None
        if not queueing:
            self._calm_until_s = self._clock()

    def request_refused(self, started_s: float, retry_after_s: float | None, in_flight: int) -> bool:
        """Count a refusal and return whether it is the first of its wave."""
        first = started_s >= self._paused_until_s
        if first:
            self._begin_wave(started_s, retry_after_s, in_flight)
        else:
            self._wave += 1
        if self._wave >= max(2.0, self._wave_size / 2) and self._admitted_per_s is not None:
            self._per_s, self._admitted_per_s = max(self._admitted_per_s, self.SLOWEST_PER_S), None
        return first

    def per_s(self) -> float | None:
        """Return how many requests may start in a second from now; None is any number."""
        if self._per_s is None or self.cycle_started_s is None:
            return self._probes_per_s
        pauses = max(self._calm_until_s - self.cycle_started_s, 0.0) / self._pause_s
        growths = min(pauses * (1.0 + (pauses / self.ACCELERATION) ** 2), self.MAX_GROWTHS)
        return float(min(self._per_s * self.GROWTH**growths, self._probes_per_s or float("inf")))

    def _begin_wave(self, started_s: float, retry_after_s: float | None, in_flight: int) -> None:
        now_s = self._clock()
        self._pause_s = max(self._default_pause_s if retry_after_s is None else retry_after_s, 0.1)
        if self.admitted:
            self._measure(max(now_s - (self.cycle_started_s or started_s), 0.0))
        else:
            self._probe(now_s)
        self._wave, self._wave_size = 1, in_flight
        self._paused_until_s = self.cycle_started_s = now_s + self._pause_s
        self.admitted = 0

    def _measure(self, taken_s: float) -> None:
        """Note the rate admitted until now; unless a wave follows, a rate learnt before only rises by it."""
        is_burst = self._per_s is None
        over_s = taken_s + self._pause_s if is_burst else max(taken_s, 0.1)
        self._admitted_per_s = self.CAUTION * self.admitted / over_s
        if self._per_s is not None and taken_s >= self._pause_s:
            self._per_s = max(self._per_s, self._admitted_per_s)

    def _probe(self, now_s: float) -> None:
        self._admitted_per_s = None
        if self._probes_per_s is None:
            self.unreachable_since_s, self._probes_per_s = now_s, 2 * self._first_probes_per_s
        self._probes_per_s = max(self._probes_per_s / 2, self._fewest_probes_per_s)


@dataclass(eq=False)
class PerMinuteLimit:
    """A limit that the user sets, on requests or tokens or both; None is no limit."""

    rpm: float | None = None  # requests a minute
    tpm: float | None = None  # tokens a minute
    _next_start_s: float = 0.0
    _balance: float = 0.0  # of a bucket of tokens that fills by `tpm`
    _filled_s: float = field(default_factory=time.monotonic)
    _mean_tokens: float | None = None

    def wait_s(self) -> float:
        """Take the next place in line, and return the seconds until it comes."""
        now_s = time.monotonic()
        wait_s = 0.0
        if self.rpm:
            start_s = max(self._next_start_s, now_s)
            self._next_start_s = start_s + 60.0 / self.rpm
            wait_s = start_s - now_s
        return max(wait_s, self._until_filled_s(now_s))

    def _until_filled_s(self, now_s: float) -> float:
        if not self.tpm:
            return 0.0
        per_s = self.tpm / 60.0
        self._balance = min(self._balance + (now_s - self._filled_s) * per_s, per_s)
        self._filled_s = now_s
        return max(-self._balance / per_s, 0.0)

    def reserve(self, characters: int) -> float:
        """Reserve the tokens that a request will probably use, before `wait_s`, and return how many."""
        expected = self._mean_tokens or 2.0 * characters / CHARACTERS_PER_TOKEN
        self._balance -= expected
        return expected

    def settle(self, reserved: float, used: float | None) -> None:
        """Replace a reservation by the tokens used; where they are unknown (None) it stays."""
        if used is None:
            return
        self._balance += reserved - used
        if used > 0:
            mean = self._mean_tokens
            self._mean_tokens = used if mean is None else mean + 0.1 * (used - mean)
