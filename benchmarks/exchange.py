"""What one exchange costs: time to first text against raw httpx on the same server, CPU, and loading.

usage: python benchmarks/exchange.py [ROUNDS]

Prints medians of one run, interleaved so that a busy machine is busy for everybody. The server runs
in a process of its own and answers at once; the differences are what helix_nb adds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECES = ["Hello", ", ", "world", "."]
BODY = {"model": "bench", "messages": [{"role": "user", "content": "hi"}], "stream": True}


class Handler(BaseHTTPRequestHandler):
    """Answers every prompt with the same short stream, over a kept-alive connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as every real server does

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        deltas = [{"delta": {"content": piece}} for piece in PIECES] + [
            {"delta": {}, "finish_reason": "stop"}
        ]
        frames = [json.dumps({"model": "bench", "choices": [{"index": 0, **d}]}) for d in deltas]
        for frame in [*frames, "[DONE]"]:
            data = f"data: {frame}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: Any) -> None:
        """Stay quiet."""


def serve(port: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def raw(client: Any, url: str) -> float:
    started = time.perf_counter()
    first = None
    with client.stream("POST", f"{url}/chat/completions", json=BODY) as response:
        for line in response.iter_lines():
            if first is None and '"content"' in line:
                first = time.perf_counter() - started
    return (first or 0.0) * 1000


def streamed(hx: Any) -> float:
    started = time.perf_counter()
    first = None
    with hx.stream("hi", model="bench") as pieces:
        for _ in pieces:
            first = first or time.perf_counter() - started
    return (first or 0.0) * 1000


class FirstText:
    """Stands where the terminal is, and notes when the first text of a cell arrives."""

    def __init__(self) -> None:
        self.at: float | None = None

    def write(self, text: str) -> int:
        if "Hello" in text and self.at is None:
            self.at = time.perf_counter()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False


def cell(shell: Any) -> float:
    out, sys.stdout = sys.stdout, FirstText()  # type: ignore[assignment]
    try:
        started = time.perf_counter()
        shell.run_cell_magic("helix", "bench", "hi")
        at = sys.stdout.at  # type: ignore[attr-defined]
    finally:
        sys.stdout = out
    return ((at or 0.0) - started) * 1000


def cpu_ms(call: Callable[[], object], times: int) -> float:
    before = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - before) * 1000 / times


def loading_ms() -> float:
    code = (
        "import time\nfrom IPython.core.interactiveshell import InteractiveShell as S\n"
        "s=S.instance()\nb=time.process_time()\ns.run_line_magic('load_ext','helix_nb')\n"
        "print((time.process_time()-b)*1000)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(7)
    ]
    return statistics.median(runs)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    os.environ["HELIX_NB_LOG"] = os.path.join(tempfile.mkdtemp(), "log.db")  # noqa: PTH118
    import httpx
    from IPython.core.interactiveshell import InteractiveShell

    import helix_nb as hx

    hx.connect(url, name="bench")
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "helix_nb")
    with httpx.Client() as client:
        for _ in range(5):
            raw(client, url), streamed(hx), cell(shell)
        times: dict[str, list[float]] = {"raw httpx": [], "hx.stream": [], "%%helix": []}
        for _ in range(rounds):
            times["raw httpx"].append(raw(client, url))
            times["hx.stream"].append(streamed(hx))
            times["%%helix"].append(cell(shell))
        base = statistics.median(times["raw httpx"])
        print("time to first text, ms (median)")
        for name, values in times.items():
            median = statistics.median(values)
            print(f"  {name:10} {median:7.2f}   {median - base:+.2f} over raw")
        print("CPU per exchange, ms")
        print(f"  raw httpx  {cpu_ms(lambda: raw(client, url), rounds):7.2f}")
        print(f"  hx.ask     {cpu_ms(lambda: hx.ask('hi', model='bench'), rounds):7.2f}")
    print(f"%load_ext helix_nb: {loading_ms():.1f} ms of CPU (median of 7)")
    server.terminate()


if __name__ == "__main__":
    main()
