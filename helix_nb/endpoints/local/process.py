"""The kernel's side of a local model: one child process per model, as it is started, spoken to and ended.

A process lives until it is unloaded, idle for too long, or this one ends. It is in a session of
its own, so that Ctrl-C and a kernel's interrupt do not reach it, and it ends by itself when its
input does. If it dies, the requests that wait for it are told why; the next one starts another.
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
from .models import GB, ModelSpec

END_S = 1.0  # how long a worker may take to end by itself
LOG_NAME = 100  # characters of a model's name in that of its log: the name of a file has a limit
_MAIN = "helix_nb.endpoints.local.worker.main"
_BOOT = f"import sys; sys.path.append(sys.argv.pop(1)); from {_MAIN} import main; main()"
# By name: Windows, where no local model runs, imports this too and has not all of them.
_MEMORY_SIGNALS = ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS")

WorkerEvent = dict[str, Any]


@dataclass(eq=False)
class RunningRequest:
    """One request on a worker: its events, on the loop that waits for them."""

    id: str
    loop: asyncio.AbstractEventLoop
    finished: bool = False  # its last event was taken
    _events: asyncio.Queue[WorkerEvent] = field(default_factory=asyncio.Queue)

    def deliver(self, event: WorkerEvent) -> None:
        """Hand over an event, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            pass  # that loop is closed: nothing waits any more

    async def next_event(self) -> WorkerEvent:
        """Wait for the next event."""
        event = await self._events.get()
        self.finished = event.get("finish_reason") is not None
        return event


class Worker:
    """A child process with one model. `run` and `release` belong to the background loop."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.size_bytes: int | None = None  # that the model needs, once the worker weighed it
        self.stopping = False
        self.ended = False
        self.failure: str | None = None  # why the model was never ready
        self.failed_at = 0.0
        self._ready = False
        self._memory_bytes = 0.0  # that the worker found for the model
        self._kill_at = 0.0
        self._requests: dict[str, RunningRequest] = {}
        self._numbers = itertools.count(1)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.log = new_log(spec.name)
        self.process = self._spawn()
        progress.show_loading(spec.display_name)
        limits = {"cache_bytes": spec.cache_bytes, "memory_bytes": spec.memory_bytes}
        self._send({"model": spec.name, "revision": spec.revision, **limits})
        for target in (self._write, self._read):
            threading.Thread(target=target, name=f"helix_nb {target.__name__}", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a request is on this worker."""
        return bool(self._requests)

    def run(self, wire: Mapping[str, Any]) -> RunningRequest:
        """Send a request; its events arrive in what this returns."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        request = RunningRequest(f"{self.process.pid}-{next(self._numbers)}", asyncio.get_running_loop())
        self._requests[request.id] = request
        self._send({"do": "run", "id": request.id, **wire})
        if self.ended:  # it died meanwhile, and told only the requests it knew
            request.deliver({"event": "died", "message": self._exit_sentence()})
        return request

    def release(self, request: RunningRequest, idle_unload_s: float | None) -> None:
        """Let go of a request, stopping it at its next token if it still runs."""
        self._requests.pop(request.id, None)
        if not request.finished:
            self._send({"do": "cancel", "id": request.id})
        if not self._requests and idle_unload_s:
            self._idle_timer = request.loop.call_later(idle_unload_s, self._unload_if_idle)

    def close_input(self) -> None:
        """Close the worker's input, which tells it to end; waits for nothing."""
        self.stopping = True
        self._kill_at = time.monotonic() + END_S
        self._outbox.put(None)

    def stop(self) -> None:
        """End the process, by force if it does not end by itself."""
        if not self.stopping:
            self.close_input()
        try:
            self.process.wait(max(0.0, self._kill_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(END_S)

    def abandon(self) -> None:
        """In a forked child: let go of the pipes without a word to a process that is not ours."""
        self.process.returncode = 0
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _unload_if_idle(self) -> None:
        if not self.busy:
            self.close_input()

    def _spawn(self) -> subprocess.Popen[bytes]:
        root = Path(__file__).resolve().parents[3]
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [sys.executable, "-P", "-c", _BOOT, str(root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=_environment(),
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
            pass  # the process is gone; the reader tells of its end

    def _read(self) -> None:
        """Take events on a thread of their own until the process ends, then tell its requests why."""
        for event in self._events():
            self._take(event)
        self.process.wait()
        if not (self._ready or self.stopping or self.failure):
            self._fail(self._exit_sentence())
        self.ended = True
        progress.show_end(self.spec.display_name)
        self._outbox.put(None)
        self._tell_requests({"event": "died", "message": self._exit_sentence()})

    def _events(self) -> Iterator[WorkerEvent]:
        assert self.process.stdout is not None
        with io.BufferedReader(self.process.stdout) as lines:  # type: ignore[type-var]
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    return  # cut in the middle by its death

    def _take(self, event: WorkerEvent) -> None:
        """Hand an event to its request, or note what it says about the model."""
        request = self._requests.get(event.get("id", ""))
        if request is not None:
            return request.deliver(event)
        match event:
            case {"event": "progress", "what": "download", "done": done, "total": total}:
                progress.show_download(self.spec.display_name, done, total)
            case {"event": "progress"}:
                progress.show_loading(self.spec.display_name)
            case {"event": "size", "bytes": needed, "memory": memory}:
                self.size_bytes, self._memory_bytes = needed, memory
            case {"event": "ready"}:
                self._ready = True
                progress.show_end(self.spec.display_name)
            case {"event": "note"}:
                self._tell_requests(event)
            case {"event": "failed", "message": sentence}:
                self._fail(sentence)
                self._tell_requests(event)
        return None

    def _fail(self, failure: str) -> None:
        self.failure, self.failed_at, self.ended = failure, time.monotonic(), True

    def _tell_requests(self, event: WorkerEvent) -> None:
        for request in list(self._requests.values()):
            request.deliver(event)

    def _exit_sentence(self) -> str:
        """Return one sentence on why the process is gone."""
        if self.stopping:
            return f"{self.spec.name} was unloaded while it was needed; ask again to load it."
        code = self.process.returncode or 0
        name = signal.Signals(-code).name if -code in set(signal.Signals) else ""
        if name in _MEMORY_SIGNALS:
            needs, has = (self.size_bytes or 0) / GB, self._memory_bytes / GB
            sizes = f": it needs about {needs:.3g} GB of {has:.3g} GB" if self.size_bytes else ""
            cause = (
                f"was ended by {name}, most likely for want of memory{sizes}. "
                "Try a smaller model or free some memory"
            )
        else:
            cause = f"ended unexpectedly (exit code {code})"
        return (
            f"The process running {self.spec.name} {cause}; the next request starts it anew. "
            f"Its log: {self.log}"
        )


_log_folder: tuple[int, Path] | None = None  # of the process with that id


def log_folder() -> Path:
    """Return this process's private folder for the workers' logs; made anew where a system tidied it away."""
    global _log_folder
    if _log_folder is None or _log_folder[0] != os.getpid() or not _log_folder[1].is_dir():
        _log_folder = os.getpid(), Path(tempfile.mkdtemp(prefix="helix_nb-"))
    return _log_folder[1]


def remove_log_folder() -> None:
    """Remove this process's private folder for the workers' logs."""
    if _log_folder is not None and _log_folder[0] == os.getpid():
        shutil.rmtree(_log_folder[1], ignore_errors=True)


def new_log(model: str) -> Path:
    """Make and return a new file for the log of a worker with this model."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", model).strip("-")[-LOG_NAME:]
    number, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir=log_folder())
    os.close(number)
    return Path(path)


def _environment() -> dict[str, str]:
    """Return the worker's environment: no key, and a private folder for the code that MLX compiles."""
    environment = {name: value for name, value in os.environ.items() if name != "HELIX_API_KEY"}
    return environment | {"TMPDIR": str(_compile_folder()), "TOKENIZERS_PARALLELISM": "false"}


def _compile_folder() -> Path:
    """Return a folder that no other user can write to: MLX loads the code that it finds there."""
    from platformdirs import user_cache_path

    path = user_cache_path("helix_nb") / "mlx"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_uid == os.getuid() and not path.stat().st_mode & 0o022 and os.access(path, os.W_OK):
            return path
    except OSError:
        pass  # no home to write to
    return log_folder()
