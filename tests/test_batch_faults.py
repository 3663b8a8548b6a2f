"""`df.helix.ask` where things go wrong: refusals, broken servers, kills, interrupts, limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from typing import Any

import pandas as pd
import pytest
from batch_server import BatchServer, Seen, capped

import helix_nb as hx
from helix_nb.records.storage.log import current_log

QUIET: dict[str, Any] = {"model": "m", "progress": False}
ROWS = pd.DataFrame({"n": range(400)})
ASK = "row {{n}} please"


def faults(seen: Seen) -> int | str | None:
    """10 % refusals, 5 % broken answers, 2 % resets, and one row that is always refused."""
    if seen.prompt == "row 57 please":
        return 400
    if seen.number % 50 == 15:
        return "reset"
    return 429 if seen.number % 10 == 3 else 500 if seen.number % 20 == 7 else None


def early(seen: list[Seen], wait_s: float) -> list[str]:
    """The prompts that came again before their refusal's Retry-After was over."""
    refused: dict[str, float] = {}
    found = []
    for one in sorted(seen, key=lambda one: one.at):
        if one.at < refused.get(one.prompt, 0.0):
            found.append(one.prompt)
        if one.got == 429:
            refused[one.prompt] = one.at + wait_s
    return found


def test_every_row_comes_through_a_failing_server_but_the_poisoned_one() -> None:
    """399 answers and one row error in at most 500 requests, and nothing is retried before its time."""
    with BatchServer(faults, latency_s=0.02, retry_after_s=0.3) as server:
        hx.connect(server.url, name="s")
        done = ROWS.helix.ask(ASK, concurrency=64, **QUIET)
    assert done["answer_status"].value_counts().to_dict() == {"ok": 399, "error": 1}
    good = done[done["answer_status"] == "ok"]
    assert good["answer"].tolist() == [f"echo: row {n} please" for n in good["n"]]
    assert "BadRequest" in done.loc[57, "answer_error"] and len(server.prompts(400)) == 1
    assert server.count <= 500 and not early(server.seen, 0.299)


def test_a_capped_server_is_learnt_not_hammered() -> None:
    """At 40 rows a second, 300 rows take at most 330 requests and none is lost."""
    with BatchServer(capped(40), latency_s=0.02) as server:
        hx.connect(server.url, name="s")
        done = ROWS[:300].helix.ask(ASK, **QUIET)
    assert (done["answer_status"] == "ok").all() and server.count <= 330
    assert not early(server.seen, 0.999)


def test_a_retry_after_holds_everyone_back() -> None:
    """After one refusal no request at all starts on that endpoint until the server's time is over."""
    with BatchServer(lambda seen: 429 if seen.number == 8 else None, retry_after_s=0.5) as server:
        hx.connect(server.url, name="s")
        ROWS[:40].helix.ask(ASK, concurrency=2, **QUIET)
    refused = next(one for one in server.seen if one.got == 429)
    between = [one for one in server.seen if refused.at < one.at < refused.at + 0.499]
    assert len(between) <= 1  # what was out already
    assert server.count == 41


SCRIPT = """
import sys, pandas as pd, helix_nb as hx
hx.connect(sys.argv[1], name="s")
frame = pd.DataFrame({"n": range(400)})
done = frame.helix.ask("row {{n}} please", model="m", name="shared", concurrency=16, progress=False)
print((done["answer_status"] == "ok").sum(), done.attrs["batch"]["requests"])
"""


def batch(url: str) -> subprocess.Popen[str]:
    """The same batch in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", SCRIPT, url], stdout=subprocess.PIPE, text=True)


def test_a_killed_batch_goes_on_where_it_was() -> None:
    """After kill -9 at half, the same batch asks again for at most what was in flight."""
    with BatchServer(latency_s=0.05) as server:
        process = batch(server.url)
        server.wait_for(200)
        process.kill()
        process.communicate(timeout=30)
        hx.connect(server.url, name="s")
        so_far = hx.batch("shared")
        assert len(so_far) == 400 and so_far["row_key"].tolist()[:3] == ["0", "1", "2"]
        assert 150 <= (so_far["answer_status"] == "ok").sum() <= 200
        done = ROWS.helix.ask(ASK, name="shared", **QUIET)
    assert (done["answer_status"] == "ok").all()
    assert server.count - 400 <= 16  # what was in flight
    assert len(set(server.prompts())) == 400


def test_ctrl_c_stops_at_once_and_a_rerun_pays_only_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """No request goes out after an interrupt, finished rows are kept, and it is said how to go on."""
    pid = os.getpid()

    def interrupt(seen: Seen) -> None:
        if seen.number == 200:
            os.kill(pid, signal.SIGINT)

    with BatchServer(interrupt, latency_s=0.05) as server:
        hx.connect(server.url, name="s")
        with pytest.raises(KeyboardInterrupt):
            ROWS.helix.ask(ASK, name="stopped", concurrency=16, model="m")
        server.settle()
        at_stop = server.count
        assert at_stop <= 201 + 32
        kept = hx.batch("stopped")
        ok = int((kept["answer_status"] == "ok").sum())
        assert at_stop - 32 <= ok <= at_stop
        assert set(hx.log(status="interrupted")["row_key"]) <= set(
            kept["row_key"][kept["answer_status"] != "ok"]
        )
        server.settle()
        assert server.count == at_stop
        done = ROWS.helix.ask(ASK, name="stopped", model="m")
    assert done.attrs["batch"]["reused"] == ok and server.count == at_stop + 400 - ok
    said = capsys.readouterr().err
    assert f"Stopped: {ok} of 400 rows are done" in said and "hx.batch('stopped')" in said
    assert f"Reusing {ok} of 400 answers of batch 'stopped'" in said


def test_two_kernels_share_a_batch() -> None:
    """The same batch in two processes at once sends each row once, and both get all answers."""
    with BatchServer(latency_s=0.02) as server:
        both = [batch(server.url), batch(server.url)]
        outputs = [process.communicate(timeout=60)[0].split() for process in both]
    assert [int(ok) for ok, _ in outputs] == [400, 400]
    assert server.count == sum(int(sent) for _, sent in outputs) == 400
    by_prompt: dict[str, int] = defaultdict(int)
    for prompt in server.prompts():
        by_prompt[prompt] += 1
    assert set(by_prompt.values()) == {1}


@pytest.mark.parametrize(("status", "error"), [(401, "AuthError"), (402, "QuotaExceeded")])
def test_what_every_row_would_meet_stops_the_batch(status: int, error: str) -> None:
    """A bad key or an empty account ends the batch: the rest is `skipped`, and says why."""
    with BatchServer(lambda seen: status if seen.number >= 20 else None, latency_s=0.01) as server:
        hx.connect(server.url, name="s")
        done = ROWS.helix.ask(ASK, concurrency=4, name="stops", **QUIET)
    counts = done["answer_status"].value_counts()
    assert counts["ok"] == 20 and 1 <= counts["error"] <= 4 and server.count <= 24
    assert done["answer_error"].dropna().iloc[0].startswith(error)
    skipped = done[done["answer_status"] == "skipped"]
    assert len(skipped) == 400 - server.count and skipped["answer_error"].str.startswith("Not asked: ").all()
    assert done.attrs["batch"]["stopped"]


def test_a_batch_stops_before_it_goes_over_its_budget() -> None:
    """`max_total_tokens` and `max_cost` end the batch cleanly; without a known cost that is said."""
    with BatchServer() as server:
        connection = hx.connect(server.url, name="s")
        tokens = ROWS.helix.ask(ASK, max_total_tokens=300, name="t", **QUIET)
        assert 15 * 15 <= tokens["answer_prompt_tokens"].sum() * 1.5 <= 300
        assert (tokens["answer_status"] == "skipped").sum() == 400 - server.count
        unpriced = ROWS.helix.ask(ASK, max_cost=1.0, name="u", **QUIET)
        assert "unknown" in unpriced.attrs["batch"]["stopped"]
        hx.logbook.prices[(connection.base_url, "*")] = {"input": 100.0, "output": 100.0}
        priced = ROWS.helix.ask(ASK, max_cost=0.0301, name="c", **QUIET)
        assert priced.attrs["batch"]["cost"] == pytest.approx(0.03, abs=0.0031)
        assert "max_cost" in priced.attrs["batch"]["stopped"]


def test_limits_per_minute_space_requests_and_tokens() -> None:
    """`rpm` and `tpm` hold for the batch whatever its concurrency."""
    for limit in ({"rpm": 1200}, {"tpm": 18_000}):  # twenty a second, as each answer is 15 tokens
        with BatchServer() as server:
            hx.connect(server.url, name=next(iter(limit)))
            ROWS[:24].helix.ask(ASK, concurrency=8, **limit, **QUIET)
        times = sorted(seen.at for seen in server.seen)
        assert times[-1] - times[11] >= 0.8 * 0.6


def test_a_dead_server_ends_the_batch_instead_of_trying_every_row() -> None:
    """When nobody answers any more, the rest is skipped with the reason."""
    with BatchServer() as server:
        connection = hx.connect(server.url, name="s", retries=0)
    assert connection.base_url.startswith(server.url)
    done = ROWS.helix.ask(ASK, concurrency=8, **QUIET)
    counts = done["answer_status"].value_counts()
    assert counts["error"] <= 40 and counts["skipped"] >= 360
    assert "cannot be reached" in done.attrs["batch"]["stopped"]


def test_a_batch_leaves_no_thread_or_claim_behind() -> None:
    """After a batch nothing of it is claimed, and the background loop is the only thread it kept."""
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        before = threading.active_count()
        ROWS[:10].helix.ask(ASK, name="clean", **QUIET)
        log = current_log()
        assert (
            log.write(lambda connection: connection.execute("SELECT count(*) FROM claims").fetchone()[0]) == 0
        )
        assert threading.active_count() <= before + 4  # the loop, the log's writer, their executor


def test_a_row_times_out_by_its_own_request_not_by_its_wait() -> None:
    """Neither `rpm=` nor a pause for everyone uses up the `timeout=` of a row; a silent server does."""
    with BatchServer(lambda seen: 429 if seen.number == 16 else None) as server:
        hx.connect(server.url, name="s")
        slow = ROWS[:12].helix.ask(ASK, concurrency=12, rpm=600, timeout=0.4, **QUIET)
        paused = ROWS[12:20].helix.ask(ASK, concurrency=2, timeout=0.4, **QUIET)
    assert (slow["answer_status"] == "ok").all() and (paused["answer_status"] == "ok").all()
    assert server.count == 21
    with BatchServer(latency_s=3) as server:
        hx.connect(server.url, name="s")
        silent = ROWS[:1].helix.ask(ASK, timeout=0.4, **QUIET)
    assert silent["answer_error"].iloc[0].startswith("TimedOut: No whole answer within 0.4 seconds")
    with BatchServer(answer=lambda body: '{"a": 1}' if len(body["messages"]) > 1 else "no") as server:
        hx.connect(server.url, name="s")
        repaired = ROWS[:8].helix.ask(ASK, schema={"a": int}, concurrency=8, rpm=600, timeout=0.4, **QUIET)
    assert (repaired["answer_status"] == "ok").all()


def test_a_pause_of_hours_ends_the_batch() -> None:
    """The rest is `skipped` and says how long to wait, instead of failing row by row."""
    with BatchServer(lambda seen: 429 if seen.number == 10 else None, retry_after_s=7200) as server:
        hx.connect(server.url, name="s")
        done = ROWS.helix.ask(ASK, concurrency=4, **QUIET)
    counts = done["answer_status"].value_counts()
    assert counts["error"] <= 4 + 1 and counts["skipped"] >= 380
    assert done.attrs["batch"]["stopped"] == "the server asks to wait 7200 seconds; run it again then"
