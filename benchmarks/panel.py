"""What the chat panel costs in a live JupyterLab: bytes, kernel CPU, latency, long tasks, module size.

usage: python benchmarks/panel.py

Streams 2,000 tokens (prose, code, tables, lists, formulas; about 8,000 characters) at 1,000/s and
100/s into a panel with 200 earlier messages. Needs Debian's chromium and Playwright. One run; bytes
are sound on a busy machine, CPU within a fifth, times are not. What is measured against a goal names it.

The kernel's CPU is the whole process's, the transcript beside the panel included. `hx.ask` is the
same answer without a panel, woken for each token. The panel's reader rests between two steps; the same
answer read at that pace and shown to nobody is taken off for what the panel itself costs: rendering
and messages. At 100/s the processor sleeps between two steps, and the same work then takes it up to
four times as long as at 1,000/s.

Long tasks are counted in three parts: in a cell that streams the same answer without a panel
(JupyterLab's own, on the same page), while the panel streams, and in the two seconds after, when the
transcript beside the panel is brought up to date.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import CHROMIUM, Lab  # noqa: E402 - the path comes first
from playwright.sync_api import CDPSession, Page, sync_playwright  # noqa: E402

from helix_nb.notebook.panel.widget import ChatPanel  # noqa: E402

STATIC = ROOT / "helix_nb" / "notebook" / "panel" / "static"
TOKENS = 2_000
SECTION = """## Part {n}

Rain is counted by the day, and the mean $\\bar{{x}}_{n}$ is taken over *thirty* years of `station` data.
Most of it falls in autumn; the driest month is June.

| Station | Days | Month |
|:--------|-----:|:------|
| Bergen  | 235  | Oct   |
| Lisbon  | 113  | Nov   |

```python
rain = pd.Series({{"Bergen": 235, "Lisbon": 113}})
for station, days in rain.items():
    print(station, days)  # {n}
```

- Take **daily** sums.
- Leave out gaps of more than a week.

"""
CELLS = (
    "import resource, helix_nb as hx\nhx.connect({url!r}, name='bench', model='0')\n"
    "def cpu_s():\n    used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "    return used.ru_utime + used.ru_stime\n"
    "chat = hx.Chat(endpoint='bench')\n"
    "for number in range(100): chat.ask(f'Question {{number}}')\n"
    "from helix_nb.chat.ask import prepare\nfrom helix_nb.notebook.panel.stream import Pace\n"
    "def unseen(rate):\n    pending, pace = prepare('go', model=rate), Pace(lambda: 0)\n"
    "    pending.on_change(pace.request_step)\n    pending.throttle_with(pace.rest)\n    pending.result()",
    "panel = hx.ChatPanel(chat)\npanel",
)
WATCH = """() => {
  window.longTasks = []; window.done = null;
  window.watching ??= new PerformanceObserver(list =>
    window.longTasks.push(...list.getEntries().map(e => [performance.timeOrigin + e.startTime, e.duration])));
  window.watching.observe({entryTypes: ['longtask']});
  new MutationObserver(() => {
    const last = document.querySelector('.hx-turn:last-child .hx-tail')?.lastElementChild
      ?? document.querySelector('.hx-turn:last-child .hx-blocks')?.lastElementChild;
    if (!window.done && last?.textContent.includes('THE END')) window.done = Date.now();
  }).observe(document.querySelector('.hx-list'), {subtree: true, childList: true, characterData: true});
}"""
GOALS = {1_000: {"bytes": 0.10, "cpu": 0.15}, 100: {"bytes": 0.45, "cpu": 0.40}}
SETTLE_MS = 2_000  # what follows an answer: the transcript, JupyterLab's table of contents
POLL_MS = 250  # waiting at every frame, as Playwright does otherwise, would keep the page busy


class Handler(BaseHTTPRequestHandler):
    """Answers with 2,000 tokens at the rate that the model's name says; 0 is a short answer at once."""

    ended_s = 0.0

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rate = int(body["model"])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        pieces = tokens() if rate else [SECTION.format(n=1)]
        begun = time.perf_counter()
        for number, piece in enumerate(pieces):
            if rate:
                time.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            self._say({"choices": [{"delta": {"content": piece}}]})
        type(self).ended_s = time.time()
        self._say({"choices": [{"delta": {}, "finish_reason": "stop"}]})

    def _say(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def tokens() -> list[str]:
    """2,000 pieces of about four characters, the last of them a mark to look for."""
    text = "".join(SECTION.format(n=number) for number in range(1, 60))[: TOKENS * 4 - 12]
    text = text[: text.rindex("\n\n")] + "\n\nTHE END."
    return [text[at : at + 4] for at in range(0, len(text), 4)]


class Wire:
    """Counts what the kernel's websocket brings to the page."""

    def __init__(self, page: Page) -> None:
        self.bytes = self.messages = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, payload: str | bytes) -> None:
        self.bytes += len(payload.encode() if isinstance(payload, str) else payload)
        self.messages += 1


Row = tuple[str, float, float | None]  # what, how much, and at most how much


def measure(lab: Lab, page: Page, session: CDPSession, wire: Wire, rate: int) -> list[Row]:
    """One answer at a rate, from the cell that asks to the last word on the screen."""
    page.evaluate(WATCH)
    ask_s = spent_by(lab, page, f"hx.ask('go', model='{rate}')", f"alone {rate}")
    unseen_s = spent_by(lab, page, f"unseen('{rate}')", f"unseen {rate}")
    page.wait_for_timeout(SETTLE_MS)
    without = [duration for _, duration in page.evaluate("window.longTasks")]
    page.evaluate(WATCH)
    before, tab = (wire.bytes, wire.messages), in_tab(session)
    run_last(lab, page, f"chat.model = '{rate}'\nbefore = cpu_s()\npending = panel.send('go')")
    page.wait_for_function("() => window.done", timeout=120_000, polling=POLL_MS)
    page.wait_for_selector(".hx-turn:last-child[data-status=ok]")
    got = wire.bytes - before[0], wire.messages - before[1]
    spent = {name: value - tab[name] for name, value in in_tab(session).items()}
    page.wait_for_timeout(SETTLE_MS)
    settled = wire.bytes - before[0]
    done, tasks = page.evaluate("[window.done, window.longTasks]")
    cpu = printed(
        lab, page, f"pending.result(); print(f'cpu {rate} {{cpu_s() - before:.3f}}')", f"cpu {rate}"
    )
    goal = GOALS[rate]
    return [
        ("bytes to the browser, MB", got[0] / 1e6, goal["bytes"]),
        ("  with the transcript, MB", settled / 1e6, None),
        ("messages", got[1], None),
        ("kernel CPU, s", cpu, goal["cpu"]),
        ("  hx.ask alone, s", ask_s, None),
        ("  read at the panel's pace, unseen, s", unseen_s, None),
        ("  the panel on top of that, s", cpu - unseen_s, goal["cpu"]),
        ("last token to screen, ms", done - Handler.ended_s * 1000, 150),
        *((f"tab: {name}, s", value, None) for name, value in spent.items()),
        *longest("a cell without a panel", without, None),
        *longest("the panel streams", [duration for at, duration in tasks if at <= done], 100),
        *longest("after it", [duration for at, duration in tasks if at > done], 100),
    ]


def longest(when: str, durations_ms: list[float], goal_ms: float | None) -> list[Row]:
    """The tasks over 50 ms in one part of the run."""
    most_ms = max(durations_ms, default=0.0)
    return [(f"long tasks, {when}", len(durations_ms), None), ("  longest, ms", most_ms, goal_ms)]


def line(name: str, value: float, goal: float | None) -> str:
    """A row of the table, with its goal and whether that is met."""
    against = "" if goal is None else f"   goal {goal:g}, {'met' if value <= goal else 'MISSED'}"
    return f"  {name:38}{value:10.3f}{against}"


def in_tab(session: CDPSession) -> dict[str, float]:
    """Seconds that the tab has spent on each kind of work."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return {name: metrics[f"{name}Duration"] for name in ("Task", "Script", "RecalcStyle", "Layout")}


def printed(lab: Lab, page: Page, code: str, mark: str) -> float:
    """The number that code in the last cell prints after a mark."""
    run_last(lab, page, code)
    output = page.locator(".jp-OutputArea-output pre", has_text=mark).last
    output.wait_for(timeout=60_000)
    return float(output.inner_text().split()[-1])


def spent_by(lab: Lab, page: Page, code: str, mark: str) -> float:
    """The CPU seconds that the kernel spends on code in the last cell."""
    return printed(lab, page, f"before = cpu_s()\n{code}\nprint(f'{mark} {{cpu_s() - before:.3f}}')", mark)


def run_last(lab: Lab, page: Page, code: str) -> None:
    """Run code in the notebook's last cell."""
    page.evaluate(
        """code => { const notebook = jupyterapp.shell.currentWidget.content;
        notebook.activeCellIndex = notebook.widgets.length - 1;
        notebook.activeCell.model.sharedModel.setSource(code) }""",
        code,
    )
    lab.run(page, "notebook:run-cell")


def main() -> None:
    """Print one table."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    print("load of the machine:", *(f"{load:.1f}" for load in os.getloadavg()))
    print(line("module, kB", len(str(ChatPanel._esm).encode()) / 1000, 40))
    print(line("stylesheet, kB", len((STATIC / "panel.css").read_bytes()) / 1000, None))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder), PYTHONPATH=str(ROOT))
        try:
            page = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
            wire = Wire(page)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            lab.open(page, lab.write("bench", CELLS[0].format(url=url), CELLS[1], "0"))
            lab.run_all(page)
            page.wait_for_selector(".hx-turn")
            for count in (40, 60, 80, 100):  # the earlier messages, all of them on the page
                page.locator(".hx-older").click()
                page.wait_for_function("n => document.querySelectorAll('.hx-turn').length === n", arg=count)
            for rate in (1_000, 100):
                print(f"\n2,000 tokens at {rate:,}/s, {page.locator('.hx-turn').count()} turns before")
                for row in measure(lab, page, session, wire, rate):
                    print(line(*row))
        finally:
            lab.close()
            server.shutdown()


if __name__ == "__main__":
    main()
