"""What the tests of the log share: exchanges made by hand, and a script for other processes."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from helix_nb.messages import Message, Request
from helix_nb.origin import Origin
from helix_nb.records.storage.log import Log
from helix_nb.replies import Reply, Usage

# What a child process starts with: `record(log, n)` writes n exchanges, as the flow does.
SCRIPT = """
import asyncio, os, sys, time
from records_fixtures import record, record_all
from helix_nb.records.storage.log import current_log
log = current_log()
"""


def request(
    prompt: str | list[dict[str, Any]] = "hello", *, system: str | None = None, **more: Any
) -> Request:
    """A request of one user message, or of these messages."""
    items = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if system is not None:
        items = [{"role": "system", "content": system}, *items]
    return Request(tuple(Message.of(item) for item in items), **({"model": "m"} | more))


def begun(**facts: Any) -> Reply:
    """A Reply as it is when its request leaves."""
    started = {"started_at": datetime.now(UTC), "endpoint": "demo", "base_url": "demo"}
    exchange_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
    return Reply(**({"exchange_id": exchange_id, "model_requested": "m"} | started | facts))


def ended(reply: Reply, text: str = "hi", **facts: Any) -> Reply:
    """The same Reply as it is when the answer is whole."""
    usage = Usage(10, 5, 15, source="server")
    final = {"text": text, "status": "ok", "finish_reason": "stop", "model": "m", "usage": usage}
    times = {"ended_at": datetime.now(UTC), "duration_ms": 12.5, "attempts": 1, "http_status": 200}
    return replace(reply, **(final | times | facts))


def demo(_salt: bytes) -> str:
    """The endpoint's part of a request's identity."""
    return "demo"


async def record(log: Log, asked: Request | None = None, **facts: Any) -> Reply:
    """Write one exchange from begin to end."""
    asked = asked or request()
    reply = begun()
    await log.begin(asked, reply, demo)
    final = ended(reply, **facts)
    log.finish(asked, final)
    return final


async def record_all(log: Log, count: int) -> None:
    """Write many exchanges one after the other."""
    for number in range(count):
        await record(log, request(f"question {number}", origin=Origin(source="batch")))
    await log.aflush()


def child(code: str, path: Path | str, **environment: str) -> subprocess.Popen[str]:
    """Start a Python process with SCRIPT and some code; its log is at `path`."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("HELIX_")}
    here = Path(__file__).parent
    known |= {"HELIX_NB_LOG": str(path), "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + code],
        env=known,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str], timeout_s: float = 120) -> str:
    """What the process printed; it must end well."""
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, err
    return out
