"""What a local model costs: the wait in a long conversation, batching, and the kernel meanwhile.

usage: python benchmarks/local.py [ROUNDS]

A random model of 3 layers x 128 (0.5 M parameters, float32, heads of 64) stands for a real one; what
counts is the ratios, taken in one run. On Linux MLX multiplies with a reference BLAS, so a larger
model would measure that alone. Prints the median of ROUNDS (3) and exits with 1 where a goal is
missed: the first token of turn 20 at most 1.7 times that of turn 1, and 32 prompts batched at least 4
times as fast as one by one. CPU is that of kernel and worker together; it holds on a busy machine,
where times do not.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

import helix_nb as hx
from helix_nb.config.registry import configure
from helix_nb.endpoints.local import tiny_model
from helix_nb.endpoints.local.pool import unload

SHAPE = tiny_model.Shape(layers=3, hidden=128, heads=2, key_value_heads=1, context_length=8192)
TURNS, ANSWER_TOKENS = 20, 24
PROMPTS, BATCH_TOKENS = 32, 32
SERVER_AT_ONCE = 8  # mlx_lm.server resets connections at 32 at once
SYSTEM = "You answer in the prose of a notebook, in words and columns, and never in a hurry."
PLAIN = """
import sys, time
from mlx_lm import load, stream_generate
model, tokenizer = load(sys.argv[1])
def ask(text, n):
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
    for _ in stream_generate(model, tokenizer, prompt, max_tokens=n): pass
ask("warm", 4)
began = time.perf_counter()
for i in range(int(sys.argv[2])): ask(f"Prompt {i}", int(sys.argv[3]))
print(time.perf_counter() - began)
"""


def first_token_ms(model: str, name: str) -> list[float]:
    """Time to first token of every turn of one conversation."""
    system = f"{name}. {SYSTEM}"  # of its own, so that turn 1 is computed whole
    chat = hx.Chat(model, endpoint="local", system=system, max_tokens=ANSWER_TOKENS)
    waits = []
    for turn in range(TURNS):
        reply = chat.ask(f"What is the capital of France? {turn}")
        waits.append(reply.time_to_first_token_ms or 0.0)
    return waits


def conversation(model: str, rounds: int, *, reuse: bool) -> tuple[float, float]:
    """Median first token of turn 1 and of turn 20, over rounds."""
    unload()
    configure("local", cache_bytes=None if reuse else 1)
    hx.ask("warm", endpoint="local", model=model, max_tokens=4)
    every = [first_token_ms(model, f"Round {number}") for number in range(rounds)]
    unload()
    configure("local", cache_bytes=None)
    return statistics.median(waits[0] for waits in every), statistics.median(waits[-1] for waits in every)


@dataclass(frozen=True)
class Speed:
    """Of a number of answers: tokens a second, and CPU milliseconds a token."""

    tokens_per_s: float
    cpu_ms: float

    @classmethod
    def of(cls, work: Callable[[], list[hx.Reply]]) -> Speed:
        cpu_s, began = cpu_time_s(), time.perf_counter()
        tokens = sum(reply.usage.completion_tokens or 0 for reply in work())
        return cls(tokens / (time.perf_counter() - began), (cpu_time_s() - cpu_s) * 1000 / tokens)

    def __str__(self) -> str:
        return f"{self.tokens_per_s:.0f} ({self.cpu_ms:.1f} ms CPU each)"


def cpu_time_s() -> float:
    """CPU seconds of this process and its worker."""
    processes = [psutil.Process(), *psutil.Process().children()]
    return sum(process.cpu_times().user + process.cpu_times().system for process in processes)


def one_by_one(model: str, endpoint: str, tag: str) -> list[hx.Reply]:
    """Ask all prompts, one after the other."""
    return [
        hx.ask(f"{tag} {i}", endpoint=endpoint, model=model, max_tokens=BATCH_TOKENS) for i in range(PROMPTS)
    ]


def batched(model: str, endpoint: str, tag: str, at_once: int = PROMPTS) -> list[hx.Reply]:
    """Ask the same number of prompts together."""

    async def ask() -> list[hx.Reply]:
        turns = asyncio.Semaphore(at_once)

        async def one(i: int) -> hx.Reply:
            async with turns:
                return await hx.aask(f"{tag} {i}", endpoint=endpoint, model=model, max_tokens=BATCH_TOKENS)

        return await asyncio.gather(*map(one, range(PROMPTS)))

    return asyncio.run(ask())


def median(speeds: list[Speed]) -> Speed:
    return sorted(speeds, key=lambda speed: speed.tokens_per_s)[len(speeds) // 2]


def plain(model: str) -> float:
    """Tokens a second of `mlx_lm.stream_generate`, one by one, in a process of its own."""
    command = [sys.executable, "-c", PLAIN, model, str(PROMPTS), str(BATCH_TOKENS)]
    took = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return PROMPTS * BATCH_TOKENS / took


@contextmanager
def server(model: str) -> Iterator[None]:
    """Connect `mlx_lm.server` with the same model as the endpoint `mlx`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", model, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not reached(f"http://127.0.0.1:{port}/health"):
            time.sleep(0.2)
        hx.connect(f"http://127.0.0.1:{port}", name="mlx")
        yield
        process.kill()


def reached(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def lag_ms(work: Callable[[], object]) -> float:
    """95th percentile of how late a 5 ms ticker in this thread wakes while work goes on in another."""
    doing = threading.Thread(target=work)
    doing.start()
    late = []
    while doing.is_alive():
        began = time.perf_counter()
        time.sleep(0.005)
        late.append((time.perf_counter() - began - 0.005) * 1000)
    return statistics.quantiles(late, n=20)[-1]


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    os.environ["HELIX_NB_LOG"] = str(Path(tempfile.mkdtemp()) / "log.db")
    model = str(tiny_model.build(Path(tempfile.mkdtemp()) / "model", SHAPE))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {rounds} rounds\n")

    reused, fresh = conversation(model, rounds, reuse=True), conversation(model, rounds, reuse=False)
    grows, grew = reused[1] / reused[0], fresh[1] / fresh[0]
    print(f"first token, turn 1 -> {TURNS}, goal <= x 1.7")
    print(f"   here:                {reused[0]:.0f} -> {reused[1]:.0f} ms, x {grows:.2f}")
    print(f"   without reuse:       {fresh[0]:.0f} -> {fresh[1]:.0f} ms, x {grew:.2f}")

    hx.ask("warm", endpoint="local", model=model, max_tokens=4)
    pairs = [
        (
            Speed.of(lambda i=i: one_by_one(model, "local", f"a{i}")),
            Speed.of(lambda i=i: batched(model, "local", f"b{i}")),
        )
        for i in range(rounds)
    ]
    alone, together = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    gain = together.tokens_per_s / alone.tokens_per_s
    print(f"{PROMPTS} prompts, tokens/s, goal >= x 4 batched")
    print(f"   here:                one by one {alone}, batched {together}: x {gain:.1f}")
    print(f"   stream_generate:     one by one {plain(model):.0f}")
    with server(model):
        hx.ask("warm", endpoint="mlx", model="default_model", max_tokens=4)
        served = Speed.of(lambda: one_by_one("default_model", "mlx", "c"))
        crowd = Speed.of(lambda: batched("default_model", "mlx", "d", SERVER_AT_ONCE))
    print(f"   mlx_lm.server:       one by one {served}, {SERVER_AT_ONCE} at once {crowd}")

    idle = lag_ms(lambda: time.sleep(2))
    busy = lag_ms(lambda: [batched(model, "local", f"e{i}") for i in range(2)])
    print("a 5 ms ticker in the kernel is late by, 95th percentile")
    print(f"   {busy:.1f} ms while 32 answers stream, {idle:.1f} ms idle")
    unload()
    return 0 if grows <= 1.7 and gain >= 4 else 1


if __name__ == "__main__":
    sys.exit(main())
