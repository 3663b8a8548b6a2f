"""What a batch learns of a server that refuses: driven by hand, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pandas as pd
import pytest
from batch_server import BatchServer

import helix_nb as hx
from helix_nb.exchange import rate_limits, retries
from helix_nb.exchange.rate_limits import AdaptiveLimit


class Clock:
    """Time passes where somebody sleeps; `meanwhile` runs after each sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.meanwhile: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that `pacing` then goes by."""
    clock = Clock()
    monkeypatch.setattr(rate_limits, "time", clock)
    monkeypatch.setattr(rate_limits, "asyncio", SimpleNamespace(sleep=clock.sleep, Lock=asyncio.Lock))
    return clock


async def answers(auto: AdaptiveLimit, clock: Clock, for_s: float, per_s: float = 100.0) -> int:
    """Let a server that bears `per_s` requests a second answer for so long; how many it got."""
    until, count = clock.now + for_s, 0
    while clock.now < until:
        await auto.turn()
        auto.started()
        clock.now += 1.0 / per_s
        auto.first_token(0.05)
        auto.answered(int(auto.limit))
        count += 1
    return count


async def refuses(auto: AdaptiveLimit, clock: Clock, for_s: float, at_once: int = 8) -> int:
    """Let a server that is down refuse for so long; how many requests it got."""
    until, count = clock.now + for_s, at_once
    for _ in range(at_once):
        auto.refused(clock.now, None, at_once)
    while clock.now < until:
        await auto.turn()
        auto.started()
        count += 1
        clock.now += 0.01
        auto.refused(clock.now - 0.01, None, at_once)
    return count


def test_an_outage_is_no_rate(clock: Clock) -> None:
    """A server down for ten seconds gets few requests meanwhile, and soon after as many as before."""

    async def run() -> tuple[int, int]:
        auto = AdaptiveLimit()
        await answers(auto, clock, 5)
        probes = await refuses(auto, clock, 10)
        await answers(auto, clock, 5)
        return probes, await answers(auto, clock, 5)

    probes, after = asyncio.run(run())
    assert probes <= 8 + 20
    assert after >= 250  # of 500


def test_a_learnt_rate_has_no_ceiling(clock: Clock) -> None:
    """A rate learnt too low is left behind within half a minute of answers."""

    async def run() -> int:
        auto = AdaptiveLimit()
        await answers(auto, clock, 2, per_s=1)
        await refuses(auto, clock, 0.1)
        await answers(auto, clock, 30)
        return await answers(auto, clock, 5)

    assert asyncio.run(run()) >= 400  # of 500


def test_a_long_wait_ends_when_answers_come(clock: Clock) -> None:
    """Who waits for a turn at the pace of an outage goes soon after the outage ended."""

    async def run() -> float:
        auto = AdaptiveLimit()
        await answers(auto, clock, 5)
        await refuses(auto, clock, 20)
        clock.meanwhile = lambda: auto.first_token(0.05)
        began = clock.now
        await auto.turn()
        return clock.now - began

    assert asyncio.run(run()) <= 1.0


def test_a_short_outage_loses_no_row() -> None:
    """Thirty answers 503 in a row cost a batch no row, whatever `retries` is."""
    with BatchServer(lambda seen: 503 if 20 <= seen.number < 50 else None, latency_s=0.01) as server:
        hx.connect(server.url, name="s", retries=0)
        frame = pd.DataFrame({"n": range(100)})
        done = frame.helix.ask("row {{n}}", concurrency=16, model="m", progress=False)
    assert (done["answer_status"] == "ok").all() and server.count == 130


def test_a_server_that_stays_down_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is given up, twenty rows in a row without an answer end the batch."""
    monkeypatch.setattr(rate_limits, "GONE_S", 0.2)
    with BatchServer(lambda _: 503) as server:
        hx.connect(server.url, name="s")
        frame = pd.DataFrame({"n": range(400)})
        done = frame.helix.ask("row {{n}}", concurrency=8, model="m", progress=False)
    counts = done["answer_status"].value_counts()
    assert counts["error"] <= 40 and counts["skipped"] >= 360
    assert "503" in done.attrs["batch"]["stopped"]


def test_an_outage_costs_no_row_however_few_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server that admits nothing says counts against no row, and it is asked every second at least."""
    assert rate_limits.PROBES_LEAST_PER_S >= 1
    for name, value in {"PROBES_PER_S": 100.0, "PROBES_LEAST_PER_S": 50.0, "UNSAID_S": 0.02}.items():
        monkeypatch.setattr(rate_limits, name, value)
    monkeypatch.setattr(retries, "BACKOFF_S", 0.01)
    with BatchServer(lambda seen: 503 if seen.number < 40 else None) as server:
        hx.connect(server.url, name="s", retries=0)
        done = pd.DataFrame({"n": range(3)}).helix.ask("{{n}}", concurrency=2, model="m", progress=False)
    assert (done["answer_status"] == "ok").all() and server.count == 43
