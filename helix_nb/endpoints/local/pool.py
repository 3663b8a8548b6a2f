"""The local models of this process: which have a child process now, and when it is ended."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Mapping
from typing import Any

from ...config.session import aliases
from ...errors import LocalModelError
from ...runtime.fork import after_fork_in_child
from .models import resolve_name
from .process import Worker, remove_log_folder

FAILED_FOR_S = 10.0

Key = tuple[str, str | None]

_workers: dict[Key, Worker] = {}
_lock = threading.Lock()


def worker_for(
    model: str,
    revision: str | None,
    order: Mapping[str, Any],
    *,
    shown: str,
    needs_bytes: int | None,
    memory_bytes: float,
    again: bool,
) -> Worker:
    """Return the running worker of a model, starting it if there is none.

    Without `again`, one that could not be loaded a moment ago is not tried again.
    """
    with _lock:
        worker = _workers.get((model, revision))
        failure = worker.failure if worker is not None and not again else None
        if worker is not None and failure and time.monotonic() - worker.failed_at < FAILED_FOR_S:
            raise LocalModelError(failure)
        if worker is None or worker.ended or worker.stopping:
            _make_room(needs_bytes, memory_bytes)
            worker = _workers[model, revision] = Worker(model, revision, order, shown)
        return worker


def loaded_models() -> list[tuple[str, str]]:
    """Return the models that have a process now: the folder or Hub id, and the name it was asked by."""
    with _lock:
        return [(worker.model, worker.shown) for worker in _workers.values() if not worker.ended]


def unload(model: str | None = None) -> list[str]:
    """End the processes of a model, by any of its names, or of all; return the names of what they held."""
    wanted = None if model is None else _meant(model)
    with _lock:
        keys = [key for key in _workers if wanted in (None, key[0])]
        workers = [_workers.pop(key) for key in keys]
    held = [worker for worker in workers if not worker.ended]
    for worker in held:
        worker.hang_up()  # all of them first: they end side by side
    for worker in held:
        worker.stop()
    return [worker.shown for worker in held]


def _meant(model: str) -> str:
    try:
        return resolve_name(model, aliases())
    except LocalModelError:  # its folder may be gone meanwhile
        return next((key[0] for key, worker in list(_workers.items()) if worker.shown == model), model)


def _make_room(needs_bytes: int | None, memory_bytes: float) -> None:
    """Unload idle models that do not fit beside the next one."""
    for key, worker in list(_workers.items()):
        in_use = sum(other.size_bytes or 0 for other in _workers.values())
        if worker.ended:
            del _workers[key]
        elif not worker.busy and (needs_bytes is None or in_use + needs_bytes > memory_bytes):
            del _workers[key]
            worker.stop()


@atexit.register
def _leave() -> None:
    died = any(worker.ended and worker.process.returncode for worker in _workers.values())
    unload()
    if not died:  # else the log is what there is to read
        remove_log_folder()


def _forget() -> None:
    """A forked child has no worker: its parent's go on without it."""
    global _lock
    _lock = threading.Lock()
    for worker in _workers.values():
        worker.forget()
    _workers.clear()


after_fork_in_child(_forget)
