"""The kernel's side of a local model: one child process per model, as it is started, spoken to and ended.

A process lives until it is unloaded, idle for too long, or this one ends. It is in a session of
its own, so that Ctrl-C and a kernel's interrupt do not reach it, and it ends by itself when its
input does. If it dies, whoever waits for an answer is told why; the next request starts another.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import progress
from .models import GB

END_S = 1.0  # how long a worker may take to end by itself
_MAIN = "helix_nb.endpoints.local.worker.main"
_BOOT = f"import sys; sys.path.append(sys.argv.pop(1)); from {_MAIN} import main; main()"
# By name: Windows, where no local model runs, imports this too and has not all of them.
_MEMORY_SIGNALS = ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS")

Event = dict[str, Any]

LOG_NAME = 100  # characters of a model's name in that of its log: the name of a file has a limit
_folder: tuple[int, Path] | None = None


@dataclass(eq=False)
class RunningRequest:
    """One request on a worker: its events, on the loop of whoever waits for them."""

    id: str
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    finished: bool = False

    def deliver(self, event: Event) -> None:
        """Hand over an event, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.events.put_nowait, event)
        except RuntimeError:
            pass  # that loop is closed: nobody waits any more


class Worker:
    """A child process with one model. `run` and `release` belong to the background loop."""

    def __init__(self, model: str, revision: str | None, order: Mapping[str, Any], shown: str) -> None:
        self.model, self.shown = model, shown
        self.size_bytes: int | None = None
        self.ended = False
        self.failure: str | None = None  # why it was never ready
        self.failed_at = 0.0
        self._ready = False
        self._memory_bytes = 0.0
        self._ends_at = 0.0
        self.stopping = False
        self._tickets: dict[str, RunningRequest] = {}
        self._numbers = itertools.count(1)
        self._idle: asyncio.TimerHandle | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.log = new_log(model)
        self.process = self._spawn()
        progress.show_loading(shown)
        self._send({"model": model, "revision": revision, **order})
        for target in (self._write, self._read):
            threading.Thread(target=target, name=f"helix_nb {target.__name__}", daemon=True).start()

    @property
    def busy(self) -> bool:
        return bool(self._tickets)

    def run(self, wire: Mapping[str, Any]) -> RunningRequest:
        """Send a request; its events arrive in the ticket."""
        if self._idle is not None:
            self._idle.cancel()
        ticket = RunningRequest(f"{self.process.pid}-{next(self._numbers)}", asyncio.get_running_loop())
        self._tickets[ticket.id] = ticket
        self._send({"do": "run", "id": ticket.id, **wire})
        if self.ended:  # it died meanwhile, and told only those it knew
            ticket.deliver({"event": "died", "message": self._epitaph()})
        return ticket

    def release(self, ticket: RunningRequest, idle_unload_s: float | None) -> None:
        """Let go of a request, stopping it at its next token if it still runs."""
        self._tickets.pop(ticket.id, None)
        if not ticket.finished:
            self._send({"do": "cancel", "id": ticket.id})
        if not self._tickets and idle_unload_s:
            self._idle = ticket.loop.call_later(idle_unload_s, self._unload_if_idle)

    def hang_up(self) -> None:
        """Close its input, which tells the process to end; waits for nothing."""
        self.stopping = True
        self._ends_at = time.monotonic() + END_S
        self._outbox.put(None)

    def stop(self) -> None:
        """End the process, at once if it does not end by itself."""
        if not self.stopping:
            self.hang_up()
        try:
            self.process.wait(max(0.0, self._ends_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(END_S)

    def forget(self) -> None:
        """In a forked child: let go of the pipes without a word to a process that is not ours."""
        self.process.returncode = 0
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _unload_if_idle(self) -> None:
        if not self.busy:
            self.hang_up()

    def _spawn(self) -> subprocess.Popen[bytes]:
        root = Path(__file__).resolve().parents[3]
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [sys.executable, "-P", "-c", _BOOT, str(root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=environment(),
                start_new_session=True,
            )

    def _send(self, command: Mapping[str, Any]) -> None:
        self._outbox.put(json.dumps(command).encode() + b"\n")

    def _write(self) -> None:
        """Write commands on a thread of their own: a full pipe must not stop the loop."""
        pipe = self.process.stdin
        assert pipe is not None
        try:
            for line in iter(self._outbox.get, None):
                view = memoryview(line)
                while view:
                    view = view[pipe.write(view) :]
            pipe.close()
        except (OSError, ValueError):
            pass  # the process is gone; its end is told by the reader

    def _read(self) -> None:
        for event in self._events():
            self._take(event)
        self.process.wait()
        if not (self._ready or self.stopping or self.failure):
            self._fail(self._epitaph())
        self.ended = True
        progress.show_end(self.shown)
        self._outbox.put(None)
        for ticket in list(self._tickets.values()):
            ticket.deliver({"event": "died", "message": self._epitaph()})

    def _events(self) -> Iterator[Event]:
        assert self.process.stdout is not None
        with io.BufferedReader(self.process.stdout) as lines:  # type: ignore[type-var]
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    return  # cut in the middle by its death

    def _take(self, event: Event) -> None:
        ticket = self._tickets.get(event.get("id", ""))
        if ticket is not None:
            ticket.deliver(event)
        elif event["event"] == "progress":
            self._progress(event)
        elif event["event"] == "ready":
            self._ready = True
            progress.show_end(self.shown)
        elif event["event"] == "size":
            self.size_bytes, self._memory_bytes = event["bytes"], event["memory"]
        elif event["event"] in ("note", "failed"):
            if event["event"] == "failed":
                self._fail(event["message"])
            for waiting in list(self._tickets.values()):
                waiting.deliver(event)

    def _fail(self, why: str) -> None:
        self.failure, self.failed_at, self.ended = why, time.monotonic(), True

    def _progress(self, event: Event) -> None:
        if event["what"] == "download":
            progress.show_download(self.shown, event["done"], event["total"])
        else:
            progress.show_loading(self.shown)

    def _epitaph(self) -> str:
        """One sentence on why the process is gone."""
        if self.stopping:
            return f"{self.model} was unloaded while it was needed; ask again to load it."
        code = self.process.returncode or 0
        name = signal.Signals(-code).name if -code in set(signal.Signals) else ""
        if name in _MEMORY_SIGNALS:
            need, have = (self.size_bytes or 0) / GB, self._memory_bytes / GB
            sizes = f": it needs about {need:.3g} GB of {have:.3g} GB" if self.size_bytes else ""
            cause = (
                f"was ended by {name}, most likely for want of memory{sizes}. "
                "Try a smaller model or free some memory"
            )
        else:
            cause = f"ended unexpectedly (exit code {code})"
        return (
            f"The process running {self.model} {cause}; the next request starts it anew. Its log: {self.log}"
        )


def log_folder() -> Path:
    """Return this process's private folder for the workers' logs; made anew where a system tidied it away."""
    global _folder
    if _folder is None or _folder[0] != os.getpid() or not _folder[1].is_dir():
        _folder = os.getpid(), Path(tempfile.mkdtemp(prefix="helix_nb-"))
    return _folder[1]


def new_log(model: str) -> Path:
    """Return a new file for the log of a worker with this model."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", model).strip("-")[-LOG_NAME:]
    number, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir=log_folder())
    os.close(number)
    return Path(path)


def environment() -> dict[str, str]:
    """The worker's environment: no key, and a private folder for the code that MLX compiles and loads."""
    environment = {name: value for name, value in os.environ.items() if name != "HELIX_API_KEY"}
    return environment | {"TMPDIR": str(_compiled()), "TOKENIZERS_PARALLELISM": "false"}


def _compiled() -> Path:
    from platformdirs import user_cache_path

    path = user_cache_path("helix_nb") / "mlx"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_uid == os.getuid() and not path.stat().st_mode & 0o022 and os.access(path, os.W_OK):
            return path
    except OSError:
        pass  # no home to write to
    return log_folder()


def remove_log_folder() -> None:
    """Remove this process's private folder."""
    if _folder is not None and _folder[0] == os.getpid():
        shutil.rmtree(_folder[1], ignore_errors=True)
