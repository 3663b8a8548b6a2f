"""The pace of the panel: its reader rests between two steps, and nothing is lost or held up by that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from panel_server import PanelServer

import helix_nb as hx
from helix_nb.chat.ask import prepare
from helix_nb.notebook.panel.stream import Pace, step_interval_s
from helix_nb.runtime.loop import run_sync


@pytest.fixture
def server() -> Iterator[PanelServer]:
    """A chat server, connected as the endpoint `lab`."""
    started = PanelServer()
    hx.connect(started.url, name="lab", model="echo")
    yield started
    started.close()


def test_reader_rests_until_the_next_step_is_due() -> None:
    """The first step is at once; then the reader rests, and a step shows what was read after the rest."""

    async def told() -> list[str]:
        shown: list[str] = []
        text = "first"
        pace = Pace(lambda: shown.append(text) or 0)
        pace.request_step()
        assert pace.rest() is None
        while not shown:
            await asyncio.sleep(0)
        pace.request_step()
        rest = pace.rest()
        assert rest is not None and pace.rest() is rest
        await rest
        assert len(shown) == 1 and pace.rest() is None
        text = "all that had arrived"
        while len(shown) < 2:
            await asyncio.sleep(0)
        return shown

    assert run_sync(told()) == ["first", "all that had arrived"]


def test_no_rest_where_no_step_is_due_soon() -> None:
    """After a large step the next one is far away, and the reader reads on meanwhile."""

    async def rested() -> object:
        shown: list[int] = []
        pace = Pace(lambda: shown.append(1) or 1_000_000)
        pace.request_step()
        while not shown:
            await asyncio.sleep(0)
        pace.request_step()
        return pace.rest()

    assert run_sync(rested()) is None


def test_last_step_is_shown_at_once() -> None:
    """However far away the next step is after a large one, the end of an answer does not wait for it."""

    async def told() -> int:
        shown: list[int] = []
        pace = Pace(lambda: shown.append(1) or 1_000_000)
        pace.request_step()
        while not shown:
            await asyncio.sleep(0)
        pace.request_step()
        pace.request_step(final=True)
        async with asyncio.timeout(10):  # the next step was 25 seconds away
            while len(shown) < 2:
                await asyncio.sleep(0)
        assert pace.rest() is None  # nothing is left to show
        return len(shown)

    assert run_sync(told()) == 2


def test_steps_that_take_long_come_less_often() -> None:
    """Rendering takes a tenth of the loop's time at most, and a slow view gets its bytes at its speed."""
    assert step_interval_s(100, 0.001) == 0.05
    assert step_interval_s(100, 0.14) == pytest.approx(1.4)
    assert step_interval_s(40_000, 0.001) == 1.0


def test_exchange_reads_on_after_the_rest(server: PanelServer) -> None:
    """While its watcher rests an exchange stands still; afterwards all of the answer is there."""
    going_on, rested = threading.Event(), threading.Event()

    def rest() -> asyncio.Future[None] | None:
        if going_on.is_set() or not pending.reply.text:
            return None
        rested.set()
        return asyncio.ensure_future(asyncio.to_thread(going_on.wait))

    pending = prepare("a word or two, " * 100, endpoint="lab")
    pending.throttle_with(rest)
    pending.begin()
    assert rested.wait(10)
    assert len(pending.reply.text) == 40 and not pending.done
    going_on.set()
    assert pending.result().text == "a word or two, " * 100


def test_stop_ends_a_rest(server: PanelServer) -> None:
    """An exchange whose reader rests is stopped at once, and keeps what it has read."""
    rested = threading.Event()

    def rest() -> asyncio.Future[None] | None:
        if not pending.reply.text:
            return None
        rested.set()
        return asyncio.get_running_loop().create_future()

    pending = prepare("a word or two, " * 100, endpoint="lab")
    pending.throttle_with(rest)
    pending.begin()
    assert rested.wait(10)
    reply = pending.cancel()
    assert reply.status == "interrupted" and len(reply.text) == 40
