"""The child process that holds one local model. The kernel never imports MLX; this does.

JSON lines on its pipes. In, the first line is the order to load, then requests:

    {"model", "revision", "cache_bytes", "memory_bytes"}
    {"do": "run", "id", "messages", ...parameters}        {"do": "cancel", "id"}

Out:

    {"event": "progress", "what": "download", "done", "total"} bytes of a download; "what": "load" follows it
    {"event": "note", "text"}                                  worth telling the user once
    {"event": "size", "bytes", "memory"}                       what the model needs, what there is
    {"event": "ready", "model"}                                loaded; requests are served from now on
    {"event": "failed", "message"}                             not loaded; the process ends
    {"event": "piece", "id", "usage": [prompt, completion, cached, reasoning],
        "text", "reasoning", "tool_calls", "finish_reason"}    one token; the first has none yet, the last
                                                               has a finish_reason
    {"event": "error", "id", "kind", "message"}                this request failed

End of input means the kernel is gone or has no more use for the model: the process ends at once,
whatever it is doing. An interrupt from the keyboard is not meant for it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import Any, TextIO

from ..models import machine_memory_bytes
from .download import ServingError, first_line

PARENT_CHECK_S = 1.0
Commands = queue.SimpleQueue[dict[str, Any]]


class EventWriter:
    """The way out: events as JSON lines. Nothing else may be written there."""

    def __init__(self) -> None:
        # Libraries print; what they print goes to the log, not between the events.
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def say(self, event: str, **fields: Any) -> None:
        """Send one event now."""
        self.send([{"event": event, **fields}])

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send events with one write."""
        if not events:
            return
        with self._lock:
            self._file.write("".join(json.dumps(event) + "\n" for event in events))
            self._file.flush()


def main() -> None:
    """Load the model that the first line names, then serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    line, commands = EventWriter(), Commands()
    parent = os.getppid()
    threading.Thread(target=_read, args=(_commands_in(), commands), daemon=True).start()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    try:
        _serve(line, commands)
    except BrokenPipeError:
        _leave(0)
    except ServingError as refused:
        line.say("failed", message=str(refused))
    except Exception as error:  # noqa: BLE001 - the last word of a process is a sentence
        traceback.print_exc()
        line.say("failed", message=f"The local model failed: {first_line(error)}.")
    _leave(1)


def _serve(line: EventWriter, commands: Commands) -> None:
    from .load import load

    order = commands.get()
    loaded = load(order["model"], order.get("revision"), order.get("memory_bytes"), line.say)
    from .engine import Engine

    engine = Engine(loaded, order.get("cache_bytes") or machine_memory_bytes() // 8)
    line.say("ready", model=loaded.name)
    while True:
        for command in _taken(commands, wait=engine.idle):
            line.send(_obey(engine, command))
        line.send(list(engine.start()))
        line.send(engine.step())


def _taken(commands: Commands, *, wait: bool) -> list[dict[str, Any]]:
    """The commands that came in; with nothing else to do, wait for one."""
    taken = [commands.get()] if wait else []
    while not commands.empty():
        taken.append(commands.get())
    return taken


def _obey(engine: Any, command: dict[str, Any]) -> list[dict[str, Any]]:
    job_id = command["id"]
    if command["do"] == "cancel":
        engine.cancel(job_id)
        return []
    try:
        engine.add(job_id, command)
    except ServingError as refused:
        return [{"event": "error", "id": job_id, "kind": refused.kind, "message": str(refused)}]
    except Exception as error:  # noqa: BLE001 - a request may fail, the worker goes on
        traceback.print_exc()
        message = f"This request failed: {first_line(error)}."
        return [{"event": "error", "id": job_id, "kind": "LocalModelError", "message": message}]
    return []


def _commands_in() -> TextIO:
    """The way in. A library that asks whoever sits at the keyboard finds nobody, and no commands."""
    ours = os.fdopen(os.dup(0), encoding="utf-8")
    nobody = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nobody, 0)
    os.close(nobody)
    return ours


def _read(lines: TextIO, commands: Commands) -> None:
    for text in lines:
        commands.put(json.loads(text))
    _leave(0)


def _watch(parent: int) -> None:
    # A forked child of the kernel may hold the pipe open after the kernel died.
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    _leave(0)


def _leave(code: int) -> None:
    # Not sys.exit: a process that used MLX may abort on the ordinary way out.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
