"""What the log costs: writing a row, reading many, summing up a million.

usage: python benchmarks/log.py [ROWS]

Makes a log of ROWS (1,000,000) exchanges in a temporary folder, unless HELIX_BENCH_LOG names a file
to make once and keep. Times are wall seconds and CPU seconds of this process. Exits with 1 where a
goal is missed: insert p50 <= 0.1 ms, an exchange in a batch <= 0.2 CPU-ms, 100,000 rows to a frame
<= 2.5 CPU-s without text, all rows summed by SQL in <= 5 s.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from helix_nb.messages import Message, Request
from helix_nb.records.storage import rows
from helix_nb.records.storage.batches import Link
from helix_nb.records.storage.content import ContentPolicy
from helix_nb.records.storage.location import LogLocation
from helix_nb.records.storage.log import Log
from helix_nb.records.storage.log_file import open_log
from helix_nb.replies import Reply, Usage

INSERTS = 2048
CLAIMED = 64  # requests of a batch claimed in one transaction
DAY_US = 86_400_000_000
MODELS = ["qwen3:8b", "qwen3:32b", "llama3:instruct", "deepseek-r1:32b", "mlx-community/Qwen3-0.6B-4bit"]


def exchange(number: int) -> tuple[Request, Reply, Reply]:
    """A request of 0.6 KB, its Reply when it leaves, and when it is answered with 1.2 KB."""
    words = f"Summarise report {number}: " + "the quick brown fox jumps over the lazy dog. " * 13
    asked = Request(
        (Message("system", "Be brief."), Message("user", words)), "qwen3:8b", {"temperature": 0.2}
    )
    begun = Reply(
        exchange_id=f"{number:032x}", endpoint="helix", base_url="https://x/v1", started_at=datetime.now(UTC)
    )
    usage = Usage(180, 260, 440, source="server")
    done = replace(
        begun, text="It jumps. " * 120, status="ok", model="qwen3:8b", usage=usage, duration_ms=900.0
    )
    return asked, begun, done


def inserts(path: Path) -> tuple[float, float]:
    """Milliseconds (p50) of a durable `pending` row, and of finishing it."""
    store = open_log(LogLocation(path=path))
    pending, finished = [], []
    for number in range(INSERTS):
        asked, begun, done = exchange(number)
        started = time.perf_counter()
        store.connection.execute("BEGIN IMMEDIATE")
        rows.insert(store, asked, begun, ContentPolicy())
        store.connection.execute("COMMIT")
        pending.append((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        store.connection.execute("BEGIN IMMEDIATE")
        rows.update(store, asked, done, "bench", ContentPolicy())
        store.connection.execute("COMMIT")
        finished.append((time.perf_counter() - started) * 1000)
    store.connection.close()
    return median(pending), median(finished)


async def waits(path: Path) -> tuple[float, float]:
    """Milliseconds (p50, p99) that the flow waits for a `pending` row: to the writer's thread and back."""
    log, times = Log(LogLocation(path=path)), []
    for number in range(INSERTS):
        asked, begun, done = exchange(number)
        started = time.perf_counter()
        await log.begin(asked, begun, part)
        times.append((time.perf_counter() - started) * 1000)
        log.finish(asked, done)
    log.close()
    return median(times), sorted(times)[len(times) * 99 // 100]


async def in_flight(path: Path, flight: int) -> float:
    """CPU microseconds of an exchange in a batch: claim, begin, finish, link and release, so many at once."""
    log = Log(LogLocation(path=path))
    asked = [_of_batch(*exchange(number), str(number)) for number in range(INSERTS)]
    identities = [request.digest(part(log.salt)) for request, _, _ in asked]
    log.link("bench", [Link(at, str(at), None, identity, None) for at, identity in enumerate(identities)])
    log.flush()
    todo = iter(range(INSERTS))

    async def worker() -> None:
        for at in todo:
            if at % CLAIMED == 0:
                await asyncio.to_thread(log.claim, "bench", identities[at : at + CLAIMED])
            request, begun, done = asked[at]
            await log.begin(request, begun, part)
            log.finish(request, done)
            if at % CLAIMED == CLAIMED - 1:
                some = range(at - CLAIMED + 1, at + 1)
                log.link(
                    "bench", [Link(n, str(n), asked[n][2].exchange_id, identities[n], None) for n in some]
                )
                log.release("bench", [identities[n] for n in some])

    cpu = time.process_time()
    await asyncio.gather(*(worker() for _ in range(flight)))
    await log.aflush()
    cpu = time.process_time() - cpu
    log.close()
    return cpu / INSERTS * 1e6


def part(_salt: bytes) -> str:
    """The endpoint's part of the identities here."""
    return "bench"


def _of_batch(asked: Request, begun: Reply, done: Reply, row_key: str) -> tuple[Request, Reply, Reply]:
    origin = replace(asked.origin, source="batch", batch_id="bench", row_key=row_key)
    return replace(asked, origin=origin), begun, done


def fill(path: Path, count: int) -> None:
    """Write a log of many exchanges, quickly and past the writer."""
    store = open_log(LogLocation(path=path))
    connection = store.connection
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    fields = [column for _, column, *_ in connection.execute("PRAGMA table_info(exchanges)")][1:]
    names, marks = ", ".join(fields), ", ".join(f":{name}" for name in fields)
    connection.executemany(
        f"INSERT INTO exchanges ({names}) VALUES ({marks})", exchanges(count, store.process, fields)
    )
    connection.execute(
        "INSERT INTO payloads (number, identity, prompt, response) "
        "SELECT number, id, 'question ' || number || ? , 'answer ' || number || ? FROM exchanges",
        (" of the quick brown fox" * 12, " and the lazy dog" * 25),
    )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def exchanges(count: int, process: int, fields: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of 90 days: five models, a few failures, some unknown usage, some prices."""
    chance = random.Random(1)
    start = 1_780_000_000_000_000
    for number in range(count):
        row: dict[str, Any] = dict.fromkeys(fields)
        model, known = chance.choice(MODELS), chance.random() < 0.9
        prompt, completion = chance.randrange(20, 2000), chance.randrange(5, 800)
        duration_ms = chance.lognormvariate(7.5, 0.7)
        row |= {"id": f"{start + number:016x}{chance.randrange(16**16):016x}", "process": process}
        row |= {"status": "error" if chance.random() < 0.02 else "ok", "source": "batch", "endpoint": "helix"}
        row |= {"base_url": "https://app.tryhelix.ai/v1", "model": model, "model_requested": model}
        row |= {"thread_id": row["id"], "started_at": start + number * 90 * DAY_US // count, "stream": 1}
        row |= {"duration_ms": duration_ms, "time_to_first_token_ms": duration_ms / 5, "attempts": 1}
        row |= {"finish_reason": "stop", "http_status": 200, "response_id": f"oai_{number}"}
        row["params"] = json.dumps({"temperature": 0.2})
        if known:
            row |= {"prompt_tokens": prompt, "completion_tokens": completion, "usage_source": "server"}
            row |= {"total_tokens": prompt + completion, "cost": prompt / 1e6, "currency": "USD"}
        yield row


def timed(what: str, run: Any, goal: str = "") -> tuple[float, float]:
    """Print the wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = f"{len(result):,} rows" if hasattr(result, "__len__") else ""
    print(f"{what:<46} {wall:8.2f} s  {cpu:8.2f} CPU-s  {size:>14}  {goal}")
    return wall, cpu


def main(count: int, folder: Path) -> int:
    """Run all of it; 1 where a goal is missed."""
    missed = []
    pending_ms, finished_ms = inserts(folder / "inserts.db")
    print(f"insert p50 {pending_ms:.3f} ms (goal <= 0.1), finish p50 {finished_ms:.3f} ms")
    missed += ["insert"] * (pending_ms > 0.1)
    begin_ms, slow_ms = asyncio.run(waits(folder / "waits.db"))
    print(f"begin p50 {begin_ms:.3f} ms, p99 {slow_ms:.3f} ms, as the flow waits for it, one after another")
    for flight in (1, 64, 256):
        cpu_us = asyncio.run(in_flight(folder / f"flight-{flight}.db", flight))
        print(f"{flight:>3} in flight: {cpu_us:.0f} CPU-us per exchange (goal <= 200 at 256)")
    missed += ["exchange"] * (cpu_us > 200)

    path = Path(os.environ.get("HELIX_BENCH_LOG", folder / "log.db"))
    if not path.exists():
        timed(f"generate {count:,} exchanges", lambda: fill(path, count))
    print(f"{path.stat().st_size / 1e6:,.0f} MB")
    os.environ["HELIX_NB_LOG"] = str(path)

    import helix_nb as hx

    timed("import pandas, open the log", lambda: hx.log(last=1))
    timed('log("all", last=1000)', lambda: hx.log("all", last=1000))
    _, cpu = timed(
        'log("all", last=100_000, text=False)',
        lambda: hx.log("all", last=100_000, text=False),
        "goal 2.5 CPU-s",
    )
    missed += ["frame"] * (cpu > 2.5)
    timed('log("all", last=100_000)', lambda: hx.log("all", last=100_000))
    timed('log("all", search=..., last=10)', lambda: hx.log("all", search="question 4711 ", last=10))
    wall, _ = timed('usage(by="model", scope="all")', lambda: hx.usage(by="model", scope="all"), "goal 5 s")
    missed += ["usage"] * (wall > 5)
    timed('usage(by=["model", "day"], scope="all")', lambda: hx.usage(by=["model", "day"], scope="all"))
    timed('latency(scope="all", since last 9 days)', lambda: hx.latency(scope="all", since=newest(hx)))
    timed("export 100,000 rows to .jsonl", lambda: exported(hx, folder / "x.jsonl"))
    timed("export 100,000 rows to .parquet", lambda: exported(hx, folder / "x.parquet"))
    print("missed: " + ", ".join(missed) if missed else "every goal met")
    return 1 if missed else 0


def newest(hx: Any) -> Any:
    """The moment after which a tenth of the rows started."""
    return hx.log("all", last=100_000, text=False)["started_at"].iloc[0]


def exported(hx: Any, path: Path) -> str:
    """Export the newest tenth; the size of the file."""
    return f"{hx.logbook.export(path, 'all', since=newest(hx)).stat().st_size / 1e6:.0f} MB"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, Path(temporary)))
