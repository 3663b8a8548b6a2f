"""helix_nb beside its peers: loading, a streamed cell, a DataFrame on a bad day; on one machine in one run.

usage, in an environment that can be thrown away:
    python3 -m venv peers && peers/bin/pip install -e '.[test]' openai cellmage \
        jupyter-ai-magics langchain-openai jupyter-ai-magic-commands
    peers/bin/python benchmarks/peers.py [RUNS]

Prints medians of RUNS (3 unless said; 4 minutes each), interleaved so that a busy machine is busy for all:
- `%load_ext` in a fresh process: CPU milliseconds, modules imported;
- cells answered with 2,000 tokens at 500/s: the kernel's CPU seconds for loading and a first answer;
  then, for a second one, kilobytes and messages on iopub, and seconds until its first word was shown
  (the answer takes 4);
- 200 rows of which one is refused: answers in the frame afterwards; and, with a kill -9 when half were
  asked and the same code run again, requests beyond the 200.
Peers are used as they document it, unpatched, and left out where they are not installed. litellm's price
list comes from its package instead of the network.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from batch_server import BatchServer  # noqa: E402 - the path comes first
from kernel_session import KernelSession, Ran  # noqa: E402 - the path comes first

TOKENS, RATE = 2_000, 500
ROWS, BAD_ROW, LATENCY_S = 200, 57, 0.02
PROSE = "Rainfall is *counted* by the day, a `station` at a time; its mean is taken over thirty years. "
PIECES = [(PROSE * 100)[4 * n : 4 * n + 4] for n in range(TOKENS)]
QUESTION = "Tell me everything."
URL = "os.environ['OPENAI_BASE_URL']"
SDK = "import html, ipywidgets as widgets, openai\nask = openai.OpenAI().chat.completions.create"
STREAM = f"""for chunk in ask(model='bench', messages=[dict(role='user', content={QUESTION!r})], stream=True):
    text = chunk.choices[0].delta.content or ''
    """


@dataclass(frozen=True)
class Peer:
    """Its name for pip, whether it is an extension, what comes before the cell, and the cell."""

    package: str
    loads: bool
    before: str
    cell: str

    @property
    def extension(self) -> str:
        return self.package.replace("-", "_")


CONNECT = f"import helix_nb as hx, os\nhx.connect({URL}, name='bench', model='bench');"
ALIAS = f"import os\n%ai alias bench openai/bench --api-base {{{URL}}}"
WIDGET = f"shown = widgets.HTML()\ndisplay(shown)\n{STREAM}shown.value += html.escape(text)"
PEERS = {
    "helix_nb": Peer("helix-nb", True, CONNECT, f"%%helix\n{QUESTION}"),
    "jupyter-ai-magics": Peer("jupyter-ai-magics", True, "", f"%%ai openai-chat-custom:bench\n{QUESTION}"),
    "jupyter-ai-magic-commands": Peer("jupyter-ai-magic-commands", True, ALIAS, f"%%ai bench\n{QUESTION}"),
    "CellMage": Peer("cellmage", True, "", f"%%llm -m bench\n{QUESTION}"),
    "openai SDK, print": Peer("openai", False, SDK, f"{STREAM}print(text, end='', flush=True)"),
    "openai SDK, widgets.HTML": Peer("openai", False, SDK, WIDGET),
}


class Handler(BaseHTTPRequestHandler):
    """Tells 2,000 tokens at their pace, or, asked for the whole, sends it when it would have been told."""

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if body.get("stream") else "application/json")
        self.end_headers()
        if body.get("stream"):
            return self._tell()
        time.sleep(TOKENS / RATE)
        message = {"role": "assistant", "content": "".join(PIECES)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return self._send(choice, "chat.completion", b"%s")

    def _tell(self) -> None:
        begun = time.perf_counter()
        for number, piece in enumerate([*PIECES, None]):
            time.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
            delta, end = ({"content": piece}, None) if piece else ({}, "stop")
            choice = {"index": 0, "delta": delta, "finish_reason": end}
            self._send(choice, "chat.completion.chunk", b"data: %s\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, choice: dict[str, Any], kind: str, frame: bytes) -> None:
        answer = {"id": "1", "object": kind, "created": 1, "model": "bench", "choices": [choice]}
        self.wfile.write(frame % json.dumps(answer).encode())


def loaded(peer: Peer, environ: Mapping[str, str], folder: str) -> tuple[float, float]:
    """CPU milliseconds and modules of `%load_ext`, in a process of its own."""
    code = (
        "import sys, time\nfrom IPython.core.interactiveshell import InteractiveShell as S\n"
        "s = S.instance(); modules = len(sys.modules); before = time.process_time()\n"
        f"s.run_line_magic('load_ext', {peer.extension!r})\n"
        "print('took', (time.process_time() - before) * 1000, len(sys.modules) - modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True
    )
    took, modules = next(line for line in said.stdout.splitlines() if line.startswith("took")).split()[1:]
    return float(took), float(modules)


CPU_S = "(lambda used: used.ru_utime + used.ru_stime)(__import__('resource').getrusage(0))"


def streamed(peer: Peer, environ: Mapping[str, str], folder: str) -> tuple[float, ...]:
    """CPU seconds up to a first answer; kilobytes, messages and seconds to the first word of a second."""
    shown_s: list[float] = []

    def watch(ran: Ran) -> None:
        last = ran.messages[-1]
        asked = last["header"]["msg_type"] == "execute_input"
        if not shown_s and not asked and PIECES[0] in str(last["content"]):
            shown_s.append(time.perf_counter() - begun)

    kernel = KernelSession(environ, load=False)
    try:
        kernel.run(f"%cd -q {folder}")
        before = kernel.value(CPU_S)
        for code in (f"%load_ext {peer.extension}" if peer.loads else "", peer.before, peer.cell):
            assert kernel.run(code).status == "ok"
        cpu_s = kernel.value(CPU_S) - before
        meter = kernel.meter()
        begun = time.perf_counter()
        assert kernel.run(peer.cell, during=watch).status == "ok"
        time.sleep(0.3)  # the second subscriber's last messages
        meter.close()
    finally:
        kernel.close()
    return cpu_s, meter.bytes / 1000, meter.messages, shown_s[0]


def answer_rows(way: str) -> None:
    """Ask about every row, as a cell would, and print how many answers the frame has."""
    import openai
    import pandas as pd

    import helix_nb as hx

    frame, api = pd.DataFrame({"n": range(ROWS)}), openai.OpenAI()

    def ask(n: int) -> str | None:
        messages: Any = [{"role": "user", "content": f"row {n}"}]
        return api.chat.completions.create(model="bench", messages=messages).choices[0].message.content

    def try_ask(n: int) -> str | None:
        try:
            return ask(n)
        except openai.OpenAIError:
            return None

    try:
        if way == "helix_nb":
            hx.connect(os.environ["OPENAI_BASE_URL"], name="bench", model="bench")
            frame = frame.helix.ask("row {{n}}", progress=False)
        else:
            frame["answer"] = frame["n"].apply(try_ask if "try" in way else ask)
    except openai.OpenAIError:
        pass  # as in a notebook: the cell failed, and the frame is what it was
    print(int(frame["answer"].notna().sum()) if "answer" in frame else 0)


REFUSED = {f"row {BAD_ROW}": 400}
WAYS = ("helix_nb", "df.apply, openai SDK", "df.apply, a try in each row")


def bad_days(way: str, environ: Mapping[str, str]) -> tuple[float, float]:
    """Answers kept when one row is refused, and requests paid again after a kill -9 at half."""
    command = [sys.executable, __file__, "--rows", way]
    with tempfile.TemporaryDirectory() as folder:
        own = {**environ, "HELIX_NB_LOG": f"{folder}/log.db"}
        with BatchServer(lambda seen: REFUSED.get(seen.prompt), latency_s=LATENCY_S) as server:
            own["OPENAI_BASE_URL"] = f"{server.url}/v1"
            kept = subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout
        with BatchServer(latency_s=LATENCY_S) as server:
            own["OPENAI_BASE_URL"] = f"{server.url}/v1"
            with subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL) as running:
                server.wait_for(ROWS // 2)
                running.kill()
            subprocess.run(command, env=own, capture_output=True, check=True)
        return float(kept), float(server.count - ROWS)


def table(title: str, names: Iterable[str], measure: Callable[[str], tuple[float, ...]], runs: int) -> None:
    """Print the medians of every measure, the names taking turns."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for _ in range(runs):
        for name, results in found.items():
            results.append(measure(name))
    print(f"\n{title}")
    for name, results in found.items():
        print(f"  {name:28}", *(f"{statistics.median(column):9.2f}" for column in zip(*results, strict=True)))


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(runs: int) -> None:
    here = {name: peer for name, peer in PEERS.items() if installed(peer.package)}
    print("load of the machine:", *(f"{load:.1f}" for load in os.getloadavg()))
    print(*sorted({f"{peer.package} {installed(peer.package)}" for peer in here.values()}), sep="\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    with tempfile.TemporaryDirectory() as folder:
        own = {"HOME": folder, "PATH": os.environ["PATH"], "HELIX_NB_LOG": f"{folder}/log.db"}
        own |= {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url, "OPENAI_API_BASE": url}
        own |= {"CELLMAGE_API_BASE": url, "CELLMAGE_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        of, extensions = "%load_ext: CPU ms, modules imported", [name for name in here if here[name].loads]
        table(of, extensions, lambda name: loaded(here[name], own, folder), runs)
        of = f"{TOKENS:,} tokens in {TOKENS / RATE:g} s: CPU s, kB on iopub, messages, s to the first word"
        table(of, here, lambda name: streamed(here[name], own, folder), runs)
        of = f"{ROWS} rows: answers kept when one is refused, requests paid again after kill -9 at half"
        table(of, WAYS if installed("openai") else WAYS[:0], lambda way: bad_days(way, own), runs)
    server.shutdown()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rows"]:
        answer_rows(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
