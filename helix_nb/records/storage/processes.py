"""Whose row is it: this process as the log knows it, and whether another one still lives."""

from __future__ import annotations

import functools
import os
import socket
import sys
import uuid
from dataclasses import dataclass

# Clocks are corrected while a machine runs, and the start time is told relative to them.
SAME_START_MS = 2000
UNTOLD = -1  # it runs, but the system does not say since when


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a host; `started_ms` tells it from a later one with the same pid."""

    host: str
    pid: int
    started_ms: int
    kernel_id: str


@functools.lru_cache(maxsize=2)
def _described(pid: int) -> Process:
    return Process(socket.gethostname(), pid, _started_ms(pid) or 0, _kernel_id())


def this_process() -> Process:
    """The process that runs this; after a fork, the child."""
    return _described(os.getpid())


def is_alive(host: str, pid: int, started_ms: int) -> bool:
    """Whether that process may still be running; one on another host cannot be told, so it may."""
    mine = this_process()
    if host != mine.host:
        return True
    if pid == mine.pid:
        return abs(started_ms - mine.started_ms) <= SAME_START_MS
    now = _started_ms(pid)
    return now is not None and (now == UNTOLD or abs(now - started_ms) <= SAME_START_MS)


def _started_ms(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.create_time() * 1000)
    except psutil.AccessDenied:
        return UNTOLD
    except psutil.Error:
        return None


def _kernel_id() -> str:
    """The id in the kernel's connection file, as Jupyter names it; else one of this process's own."""
    if "ipykernel" in sys.modules:
        from ipykernel.connect import get_connection_file

        try:
            name = os.path.basename(get_connection_file())  # noqa: PTH119  (a name, not a path)
            return name.removesuffix(".json").removeprefix("kernel-")
        except RuntimeError:  # ipykernel is imported, but this is no kernel
            pass
    return f"process-{uuid.uuid4().hex[:12]}"
