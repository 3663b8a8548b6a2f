"""This process as the log knows it, and whether the process that wrote a row still lives."""

from __future__ import annotations

import functools
import os
import socket
import sys
import uuid
from dataclasses import dataclass

# Clocks are corrected while a machine runs, and start times are given relative to them.
SAME_START_MS = 2000
UNKNOWN_START = -1  # of a process that runs, where the system does not say since when


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a host; `started_ms` tells it from a later one with the same pid."""

    host: str
    pid: int
    started_ms: int
    kernel_id: str


def this_process() -> Process:
    """Return the process that runs this; after a fork, the child."""
    return _own_process(os.getpid())


@functools.lru_cache(maxsize=2)
def _own_process(pid: int) -> Process:
    return Process(socket.gethostname(), pid, _started_ms(pid) or 0, _kernel_id())


def is_alive(host: str, pid: int, started_ms: int) -> bool:
    """Return whether a process may still be running; one on another host cannot be checked, so it may."""
    mine = this_process()
    if host != mine.host:
        return True
    if pid == mine.pid:
        return abs(started_ms - mine.started_ms) <= SAME_START_MS
    now = _started_ms(pid)
    return now is not None and (now == UNKNOWN_START or abs(now - started_ms) <= SAME_START_MS)


def _started_ms(pid: int) -> int | None:
    """Return when a running process started; None where none runs under that pid."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.create_time() * 1000)
    except psutil.AccessDenied:
        return UNKNOWN_START
    except psutil.Error:
        return None


def _kernel_id() -> str:
    """Return the id in the kernel's connection file, as Jupyter names it; else a new one."""
    if "ipykernel" in sys.modules:
        from ipykernel.connect import get_connection_file

        try:
            name = os.path.basename(get_connection_file())  # noqa: PTH119  (a name, not a path)
            return name.removesuffix(".json").removeprefix("kernel-")
        except RuntimeError:  # ipykernel is imported, but this is no kernel
            pass
    return f"process-{uuid.uuid4().hex[:12]}"
