"""The local models of this process: which have a child process now, and when it is ended."""

from __future__ import annotations

import atexit
import threading
import time

from ...config.session import aliases
from ...errors import LocalModelError
from ...runtime.fork import after_fork_in_child
from .models import ModelSpec, downloaded_folder, estimate_size, machine_memory_bytes, resolve_name
from .process import Worker, remove_log_folder

FAILED_FOR_S = 10.0  # how long the failure of a load stands for the next requests, unless they retry

_workers: dict[tuple[str, str | None], Worker] = {}  # by name and revision of the model
_lock = threading.Lock()


def worker_for(spec: ModelSpec, *, retry: bool) -> Worker:
    """Return the running worker of a model, starting it if there is none.

    Args:
        retry: load a model again that could not be loaded a moment ago.

    Raises:
        LocalModelError: it could not be loaded a moment ago.
    """
    with _lock:
        worker = _workers.get((spec.name, spec.revision))
        failure = worker.failure if worker is not None and not retry else None
        if worker is not None and failure and time.monotonic() - worker.failed_at < FAILED_FOR_S:
            raise LocalModelError(failure)
        if worker is None or worker.ended or worker.stopping:
            _make_room(spec)
            worker = _workers[spec.name, spec.revision] = Worker(spec)
        return worker


def workers() -> list[Worker]:
    """Return the workers of this process, those included that ended and were not replaced yet."""
    with _lock:
        return list(_workers.values())


def loaded_models() -> list[tuple[str, str]]:
    """Return the models that have a process now: the folder or Hub id, and the name it was asked by."""
    return [(worker.spec.name, worker.spec.display_name) for worker in workers() if not worker.ended]


def unload(model: str | None = None) -> list[str]:
    """End the processes of a model, by any of its names, or of all; return the names of the models."""
    name = None if model is None else _loaded_name(model)
    with _lock:
        keys = [key for key in _workers if name in (None, key[0])]
        removed = [_workers.pop(key) for key in keys]
    alive = [worker for worker in removed if not worker.ended]
    for worker in alive:
        worker.close_input()  # all of them first: they end side by side
    for worker in alive:
        worker.stop()
    return [worker.spec.display_name for worker in alive]


def _loaded_name(model: str) -> str:
    try:
        return resolve_name(model, aliases())
    except LocalModelError:  # its folder may be gone meanwhile
        names = (worker.spec.name for worker in workers() if worker.spec.display_name == model)
        return next(names, model)


def _make_room(spec: ModelSpec) -> None:
    """Unload idle models that do not fit beside the next one; all of them where its size is unknown."""
    folder = downloaded_folder(spec.name)
    needed_bytes = estimate_size(folder).bytes if folder else None
    memory_bytes = spec.memory_bytes or machine_memory_bytes()
    for key, worker in list(_workers.items()):
        in_use_bytes = sum(other.size_bytes or 0 for other in _workers.values())
        if worker.ended:
            del _workers[key]
        elif not worker.busy and (needed_bytes is None or in_use_bytes + needed_bytes > memory_bytes):
            del _workers[key]
            worker.stop()


@atexit.register
def _unload_at_exit() -> None:
    died = any(worker.ended and worker.process.returncode for worker in _workers.values())
    unload()
    if not died:  # else the log is what there is to read
        remove_log_folder()


def _after_fork() -> None:
    """Forget the workers in a forked child: its parent's go on without it."""
    global _lock
    _lock = threading.Lock()
    for worker in _workers.values():
        worker.abandon()
    _workers.clear()


after_fork_in_child(_after_fork)
