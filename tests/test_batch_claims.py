"""Which run of a batch asks a row: groups claimed ahead, claims given up, two runs in one kernel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest
from batch_server import BatchServer
from wire_server import Answer, WireServer
from wire_transcripts import ROLE, chunk, say, sse

import helix_nb as hx
from helix_nb.dataframes.runner import GROUP
from helix_nb.records.storage.log import Log, current_log

ROWS = pd.DataFrame({"n": range(2 * GROUP)})
EQUAL = pd.DataFrame({"n": ["same"] * (2 * GROUP)})
ASK = "row {{n}} please"


class Claims:
    """Counts the claims of a log, and holds one of them back until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hold: int | None = None) -> None:
        self.count, self.came = 0, threading.Condition()
        self.go, self.gone = threading.Event(), threading.Event()
        claim = Log.claim

        def counted(log: Log, batch_id: str, identities: Collection[str]) -> set[str]:
            with self.came:
                self.count += 1
                number = self.count
                self.came.notify_all()
            if number == hold:
                assert self.go.wait(30)
            granted = claim(log, batch_id, identities)
            if number == hold:
                self.gone.set()
            return granted

        monkeypatch.setattr(Log, "claim", counted)

    def wait_for(self, count: int, timeout_s: float) -> bool:
        with self.came:
            return self.came.wait_for(lambda: self.count >= count, timeout_s)


def test_the_next_rows_are_claimed_while_the_first_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the very first row waits for its answer, the second group is claimed already."""
    claims, ahead = Claims(monkeypatch), []

    def answer(body: dict[str, Any]) -> str:
        if not ahead:
            ahead.append(claims.wait_for(2, timeout_s=10))
        return "yes"

    with BatchServer(answer=answer) as server:
        hx.connect(server.url, name="s")
        done = ROWS.helix.ask(ASK, model="m", concurrency=1, progress=False)
    assert ahead == [True] and (done["answer_status"] == "ok").all()


def test_a_claim_under_way_at_the_stop_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is cancelled while it claims waits for that claim, and leaves none behind."""
    claims = Claims(monkeypatch, hold=2)

    async def stopped() -> None:
        asking = asyncio.ensure_future(ROWS.helix.aask(ASK, model="m", name="left", progress=False))
        assert await asyncio.to_thread(claims.wait_for, 2, 30)
        asking.cancel()
        threading.Timer(0.2, claims.go.set).start()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with BatchServer() as server:
        hx.connect(server.url, name="s")
        asyncio.run(stopped())
        assert claims.gone.wait(30)
    left = current_log().write(
        lambda connection: connection.execute("SELECT count(*) FROM claims").fetchone()
    )
    assert left == (0,)


def test_two_threads_of_one_kernel_share_a_batch() -> None:
    """The same batch asked by two threads at once sends each row once, and both get every answer."""
    both = threading.Barrier(2)

    def ask(_: int) -> pd.DataFrame:
        both.wait(30)
        return ROWS.helix.ask(ASK, model="m", name="both", concurrency=8, progress=False)

    with BatchServer(latency_s=0.02) as server, ThreadPoolExecutor(2) as threads:
        hx.connect(server.url, name="s")
        first, second = threads.map(ask, range(2))
    assert server.count == len(set(server.prompts())) == len(ROWS)
    assert (
        first["answer"].tolist() == second["answer"].tolist() == [f"echo: row {n} please" for n in ROWS["n"]]
    )


def test_equal_rows_share_no_answer_where_each_is_to_have_its_own() -> None:
    """With `dedupe=False` two rows that were answered before answer two rows of the next run, not more."""
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        for frame in (EQUAL[:2], EQUAL):
            done = frame.helix.ask(ASK, model="m", name="own", dedupe=False, progress=False)
    assert server.count == len(EQUAL) and done.attrs["batch"]["reused"] == 2
    assert hx.batch("own")["exchange_id"].nunique() == len(EQUAL)


def test_two_threads_share_equal_rows_that_each_have_their_own_answer() -> None:
    """With `dedupe=False` a claim lasts until the last of its equal rows is done."""
    both = threading.Barrier(2)

    def ask(_: int) -> pd.DataFrame:
        both.wait(30)
        return EQUAL.helix.ask(ASK, model="m", name="both", dedupe=False, concurrency=4, progress=False)

    with BatchServer(latency_s=0.05) as server, ThreadPoolExecutor(2) as threads:
        hx.connect(server.url, name="s")
        done = list(threads.map(ask, range(2)))
    assert server.count == len(EQUAL)
    assert all((frame["answer_status"] == "ok").all() for frame in done)


def test_an_answer_cut_by_a_content_filter_is_reused() -> None:
    """Only what was cut at its token limit is asked again: a filter would cut it again."""
    filtered = Answer(sse(ROLE, say("No"), chunk(finish="content_filter")))
    with WireServer(lambda _: filtered) as server:
        hx.connect(server.url, name="s")
        done = [ROWS[:1].helix.ask(ASK, model="m", name="cut", progress=False) for _ in range(2)]
        assert len(server.asked()) == 1
    assert [frame["answer_finish_reason"].iloc[0] for frame in done] == ["content_filter"] * 2
