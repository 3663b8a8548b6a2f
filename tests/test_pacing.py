"""What a batch learns of a server that refuses: driven by hand, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import cast

import pandas as pd
import pytest
from batch_server import BatchServer

import helix_nb as hx
from helix_nb.config.connection import Connection
from helix_nb.config.registry import resolve
from helix_nb.endpoints.base import Endpoint
from helix_nb.errors import ServerError
from helix_nb.exchange.flow import exchange
from helix_nb.exchange.gate import gate_for
from helix_nb.exchange.rate_limits import AdaptiveLimit
from helix_nb.exchange.retries import BATCH_POLICY
from helix_nb.messages import Message, Request
from helix_nb.records.storage.log import current_log
from helix_nb.replies import Delta
from helix_nb.runtime.loop import run_sync


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
def clock() -> Clock:
    """A clock that only sleeping moves."""
    return Clock()


def adapt(name: str, limit: AdaptiveLimit) -> None:
    """Have the endpoint of that name learn with `limit`."""

    async def put() -> None:
        gate_for(resolve(name)).adaptive = limit

    run_sync(put())


async def answers(limit: AdaptiveLimit, clock: Clock, for_s: float, per_s: float = 100.0) -> int:
    """Let a server that bears `per_s` requests a second answer for so long; how many it got."""
    until, count = clock.now + for_s, 0
    while clock.now < until:
        await limit.wait_for_turn()
        limit.request_started()
        clock.now += 1.0 / per_s
        limit.answer_began(0.05)
        limit.answer_ended(int(limit.limit))
        count += 1
    return count


async def refuses(limit: AdaptiveLimit, clock: Clock, for_s: float, at_once: int = 8) -> int:
    """Let a server that is down refuse for so long; how many requests it got."""
    until, count = clock.now + for_s, at_once
    for _ in range(at_once):
        limit.request_refused(clock.now, None, at_once)
    while clock.now < until:
        await limit.wait_for_turn()
        limit.request_started()
        count += 1
        clock.now += 0.01
        limit.request_refused(clock.now - 0.01, None, at_once)
    return count


def test_an_outage_is_no_rate(clock: Clock) -> None:
    """A server down for ten seconds gets few requests meanwhile, and soon after as many as before."""

    async def run() -> tuple[int, int]:
        limit = AdaptiveLimit(clock.monotonic, clock.sleep)
        await answers(limit, clock, 5)
        probes = await refuses(limit, clock, 10)
        await answers(limit, clock, 5)
        return probes, await answers(limit, clock, 5)

    probes, after = asyncio.run(run())
    assert probes <= 8 + 20
    assert after >= 250  # of 500


def test_a_learnt_rate_has_no_ceiling(clock: Clock) -> None:
    """A rate learnt too low is left behind within half a minute of answers."""

    async def run() -> int:
        limit = AdaptiveLimit(clock.monotonic, clock.sleep)
        await answers(limit, clock, 2, per_s=1)
        await refuses(limit, clock, 0.1)
        await answers(limit, clock, 30)
        return await answers(limit, clock, 5)

    assert asyncio.run(run()) >= 400  # of 500


def test_a_long_wait_ends_when_answers_come(clock: Clock) -> None:
    """Who waits for a turn at the pace of an outage goes soon after the outage ended."""

    async def run() -> float:
        limit = AdaptiveLimit(clock.monotonic, clock.sleep)
        await answers(limit, clock, 5)
        await refuses(limit, clock, 20)
        clock.meanwhile = lambda: limit.answer_began(0.05)
        began = clock.now
        await limit.wait_for_turn()
        return clock.now - began

    assert asyncio.run(run()) <= 1.0


def test_a_short_outage_loses_no_row() -> None:
    """Thirty answers 503 in a row cost a batch no row, whatever `retries` is."""
    with BatchServer(lambda seen: 503 if 20 <= seen.number < 50 else None, latency_s=0.01) as server:
        hx.connect(server.url, name="s", retries=0)
        frame = pd.DataFrame({"n": range(100)})
        done = frame.helix.ask("row {{n}}", concurrency=16, model="m", progress=False)
    assert (done["answer_status"] == "ok").all() and server.count == 130


def test_a_server_that_stays_down_ends_the_batch() -> None:
    """Once it is given up, twenty rows in a row without an answer end the batch."""
    with BatchServer(lambda _: 503) as server:
        hx.connect(server.url, name="s")
        adapt("s", AdaptiveLimit(give_up_s=0.2))
        frame = pd.DataFrame({"n": range(400)})
        done = frame.helix.ask("row {{n}}", concurrency=8, model="m", progress=False)
    counts = done["answer_status"].value_counts()
    assert counts["error"] <= 40 and counts["skipped"] >= 360
    assert "503" in done.attrs["batch"]["stopped"]


class Busy:
    """An endpoint that answers 503 so often before it answers."""

    def __init__(self, connection: Connection, refusals: int) -> None:
        self.connection, self.left = connection, refusals

    async def stream(self, request: Request) -> AsyncGenerator[Delta]:
        if self.left:
            self.left -= 1
            raise ServerError("busy", status_code=503)
        yield Delta(text="here", finished=True, http_status=200)


def test_an_outage_costs_no_row_however_few_are_in_flight() -> None:
    """What a server that admits nothing says counts against no row, whatever `retries` is."""
    connection = hx.connect("http://127.0.0.1:9", name="s", retries=0)
    adapt("s", AdaptiveLimit(probes_per_s=(100.0, 50.0), default_pause_s=0.02))
    policy = replace(BATCH_POLICY, backoff_s=0.01)
    request = Request((Message("user", "x"),), "m", retry_policy=policy)
    reply = run_sync(exchange(request, cast(Endpoint, Busy(connection, 40)), current_log()))
    assert (reply.status, reply.attempts) == ("ok", 41)
