"""Rows per second of a batch against raw aiohttp and the openai SDK, on the same server in the same run.

usage: python benchmarks/batch.py [RUNS]

Prints, for 200 ms latency with 256 in flight and for 0 ms with 64: rows per second and CPU seconds
per 1,000 rows (medians of RUNS, 3 unless said), interleaved so that a busy machine is busy for
everybody. Every row of helix_nb is recorded in a log file on disk; the peers record nothing.
Peers that are not installed are left out: pip install openai httpx-aiohttp
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "tests" / "batch_server.py"
SETTINGS = {"200 ms, 256 in flight": (200, 256, 5_000), "0 ms, 64 in flight": (0, 64, 4_000)}


def body(n: int) -> dict[str, Any]:
    content = f"row {n} please"
    return {"model": "m", "messages": [{"role": "user", "content": content}], "stream": False}


async def workers(rows: int, at_once: int, ask: Callable[[int], Any]) -> None:
    """Share the rows out among so many workers."""
    numbers = iter(range(rows))

    async def work() -> None:
        for n in numbers:
            assert "echo" in await ask(n)

    await asyncio.gather(*(work() for _ in range(at_once)))


def raw_aiohttp(url: str, rows: int, at_once: int) -> None:
    import aiohttp

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=at_once)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def ask(n: int) -> str:
                async with session.post(f"{url}/v1/chat/completions", json=body(n)) as response:
                    answer = json.loads(await response.read())
                    return str(answer["choices"][0]["message"]["content"])

            await workers(rows, at_once, ask)

    asyncio.run(main())


def openai_sdk(url: str, rows: int, at_once: int, *, aiohttp: bool = False) -> None:
    import openai

    async def main() -> None:
        client = openai.DefaultAioHttpClient() if aiohttp else None
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", http_client=client) as api:

            async def ask(n: int) -> str:
                answer = await api.chat.completions.create(**body(n))
                return str(answer.choices[0].message.content)

            await workers(rows, at_once, ask)

    asyncio.run(main())


def helix(url: str, rows: int, at_once: int, *, stream: bool) -> None:
    import pandas as pd

    import helix_nb as hx

    hx.connect(url, name="bench")
    frame = pd.DataFrame({"n": range(rows)})
    options: dict[str, Any] = {"concurrency": at_once, "stream": stream, "fresh": True, "progress": False}
    done = frame.helix.ask("row {{n}} please", model="m", **options)
    assert (done["answer_status"] == "ok").all()


WAYS: dict[str, Callable[[str, int, int], None]] = {
    "raw aiohttp": raw_aiohttp,
    "openai SDK": openai_sdk,
    "openai SDK, aiohttp": lambda *of: openai_sdk(*of, aiohttp=True),
    "helix_nb, whole answers": lambda *of: helix(*of, stream=False),
    "helix_nb, streamed": lambda *of: helix(*of, stream=True),
}
NEEDS = {"raw aiohttp": "aiohttp", "openai SDK": "openai", "openai SDK, aiohttp": "openai"}


def one(way: str, url: str, rows: int, at_once: int) -> None:
    """Run one way in this process, warmed up, and print seconds and CPU seconds."""
    WAYS[way](url, at_once, at_once)
    started, used = perf_counter(), _cpu_s()
    WAYS[way](url, rows, at_once)
    print(json.dumps([perf_counter() - started, _cpu_s() - used]))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(way: str, url: str, rows: int, at_once: int) -> tuple[float, float]:
    """Rows per second and CPU seconds per 1,000 rows, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--one", way, url, str(rows), str(at_once)]
        environment = {"HELIX_NB_LOG": f"{folder}/log.db", "PATH": "/usr/bin:/bin", "HOME": folder}
        environment["PYTHONPATH"] = str(ROOT)  # this checkout, whichever is installed
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    seconds, cpu_s = json.loads(output.splitlines()[-1])
    return rows / seconds, 1000 * cpu_s / rows


def main(runs: int) -> None:
    ways = [way for way in WAYS if find_spec(NEEDS.get(way, "json"))]
    for setting, (latency_ms, at_once, rows) in SETTINGS.items():
        command = [sys.executable, str(SERVER), str(latency_ms)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None and server.stdin is not None
            url = server.stdout.readline().strip()
            results: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for _ in range(runs):
                for way in ways:
                    results[way].append(measured(way, url, rows, at_once))
            server.stdin.close()
        best = statistics.median(rate for rate, _ in results[ways[0]])
        print(f"\n{setting}: rows/s, of {ways[0]}, CPU s per 1,000 rows")
        for way, found in results.items():
            rate = statistics.median(rate for rate, _ in found)
            cpu_s = statistics.median(cpu for _, cpu in found)
            print(f"  {way:26} {rate:7.0f} {rate / best:6.2f} {cpu_s:6.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
