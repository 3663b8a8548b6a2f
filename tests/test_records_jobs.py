"""What the log's writer takes together, and that each who waits is told of his own row."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd
import pytest
from records_fixtures import begun, demo, ended, request

import helix_nb as hx
from helix_nb.origin import Origin
from helix_nb.records.storage.batches import Link
from helix_nb.records.storage.log import current_log
from helix_nb.runtime.loop import run_sync


async def begin_all(count: int) -> None:
    await asyncio.gather(*(current_log().begin(request(str(at)), begun(), demo) for at in range(count)))


def test_rows_that_several_loops_wait_for_at_once_are_all_written() -> None:
    """Each loop goes on once its own rows are in the file, although they share transactions."""
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda count: asyncio.run(begin_all(count)), (150, 150, 150, 150)))
    assert list(hx.log("all")["status"]) == ["pending"] * 600


def test_who_stops_waiting_leaves_the_others_their_rows() -> None:
    """A cancelled begin still writes its row, and nobody beside it notices."""

    async def some_leave() -> None:
        log = current_log()
        tasks = [asyncio.create_task(log.begin(request(), begun(), demo)) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError, type(None)] * 20
        await current_log().aflush()

    run_sync(some_leave())
    assert len(hx.log("all")) == 40


def test_a_row_that_cannot_be_written_costs_no_other_its_own() -> None:
    """Of rows that come together, one that SQLite refuses is warned about, and the rest are kept."""
    good, bad = [begun() for _ in range(20)], begun(attempts=2**70)

    async def together() -> None:
        await asyncio.gather(*(current_log().begin(request(), reply, demo) for reply in (bad, *good)))

    with pytest.warns(UserWarning, match="could not be written"):
        run_sync(together())
    assert sorted(hx.log("all")["id"]) == sorted(str(reply.exchange_id) for reply in good)


def test_a_row_of_a_batch_that_asks_something_else_now_is_linked_anew() -> None:
    """Linking again changes the answer in place; another request replaces the row, in its index too."""
    log = current_log()
    log.link("b", [Link(0, "0", None, "first", None), Link(1, "1", None, None, "no")])
    log.link("b", [Link(0, "0", "x", "first", None), Link(1, "1", None, None, "no")])
    log.link("b", [Link(0, "0", "y", "second", None), Link(1, "1", "z", None, None)])

    def rows(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT position, exchange_id, identity FROM links ORDER BY 1").fetchall()

    assert log.read(rows) == [[(0, "y", "second"), (1, "z", None)]]


def test_a_claim_grants_only_what_was_asked_for() -> None:
    """Requests that this process holds already are not granted again to who asks for others."""
    log = current_log()
    assert log.claim("b", ["one", "two"]) == {"one", "two"}
    assert log.claim("b", ["two", "three"]) == {"two", "three"}


def test_several_digests_of_a_request_are_those_it_has_one_by_one() -> None:
    """Whatever is in a request, its identity does not depend on how many were asked for."""
    asked = replace(request("half a \ud800 character"), params={"b": 1, "a": None}, schema={"type": "object"})
    assert asked.digests("here\nthere", "") == [asked.digest("here\nthere"), asked.digest()]


def test_an_exchange_is_found_by_its_request_once_there_is_something_to_find() -> None:
    """Its row in the file has no hashes while it waits, and those of its request from the first text on."""
    log, asked, reply = current_log(), request("why?"), begun()

    def hashes(connection: sqlite3.Connection) -> tuple[str | None, str | None]:
        return connection.execute("SELECT identity, lower(hex(request_hash)) FROM payloads").fetchone()

    run_sync(log.begin(asked, reply, demo))
    assert log.read(hashes) == [(None, "")]
    log.update(replace(reply, text="Be"))
    assert log.read(hashes) == [tuple(asked.digests("demo", ""))]
    log.finish(asked, ended(reply, "Because."))
    assert log.read(hashes) == [tuple(asked.digests("demo", ""))]


def test_a_row_of_a_batch_points_to_its_exchange_from_the_first_text_on() -> None:
    """Until then it is pending like one that was not asked; a killed kernel leaves the partial text."""
    log, reply = current_log(), begun()
    asked = request("why?", origin=Origin("batch", batch_id="b"))
    log.link("b", [Link(0, "0", None, asked.digest("demo"), None)])
    run_sync(log.begin(asked, reply, demo))
    waiting = hx.batch("b").loc[0]
    assert waiting["answer_status"] == "pending" and pd.isna(waiting["exchange_id"])
    log.update(replace(reply, text="Be"))
    begins = hx.batch("b").loc[0]
    assert (begins["answer"], begins["exchange_id"]) == ("Be", reply.exchange_id)


def test_a_row_that_is_gone_when_its_exchange_ends_is_written_whole() -> None:
    """Whatever became of the row that `begin` wrote, question, answer and facts are kept."""
    log, reply = current_log(), begun()
    asked = request("why?", system="Be brief.", origin=Origin(tags={"team": "x"}))
    run_sync(log.begin(asked, reply, demo))
    for table in ("exchanges", "payloads", "texts"):
        log.write(lambda connection, table=table: connection.execute(f"DELETE FROM {table}"))
    log.finish(asked, ended(reply, "Because."))
    row = hx.log("all").iloc[0]
    assert (row["id"], row["status"], row["total_tokens"]) == (reply.exchange_id, "ok", 15)
    assert (row["prompt"], row["system"], row["response"]) == ("why?", "Be brief.", "Because.")
    assert row["tags"] == '{"team": "x"}' and row["attempts"] == 1
