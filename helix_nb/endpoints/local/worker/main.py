"""The child process that holds one local model. The kernel never imports MLX; this does.

JSON lines on its pipes. In, the first line is the model to load, then requests:

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
from typing import TYPE_CHECKING, Any, TextIO

from ..models import machine_memory_bytes
from .download import ServingError, first_line

if TYPE_CHECKING:
    from .engine import Engine

PARENT_CHECK_S = 1.0
Commands = queue.SimpleQueue[dict[str, Any]]


class EventWriter:
    """The way out: events as JSON lines. Nothing else may be written there."""

    def __init__(self) -> None:
        # Libraries print; what they print goes to the log, not between the events.
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event now."""
        self.write([{"event": event, **fields}])

    def write(self, events: list[dict[str, Any]]) -> None:
        """Write events at once."""
        if not events:
            return
        with self._lock:
            self._file.write("".join(json.dumps(event) + "\n" for event in events))
            self._file.flush()


def main() -> None:
    """Load the model that the first line names, then serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    writer, commands = EventWriter(), Commands()
    parent = os.getppid()
    threading.Thread(target=_read, args=(_open_commands(), commands), daemon=True).start()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    try:
        _serve(writer, commands)
    except BrokenPipeError:
        _exit(0)
    except ServingError as error:
        writer.emit("failed", message=str(error))
    except Exception as error:  # noqa: BLE001 - the last word of a process is a sentence
        traceback.print_exc()
        writer.emit("failed", message=f"The local model failed: {first_line(error)}.")
    _exit(1)


def _serve(writer: EventWriter, commands: Commands) -> None:
    from .load import load

    spec = commands.get()
    loaded = load(spec["model"], spec.get("revision"), spec.get("memory_bytes"), writer.emit)
    from .engine import Engine

    engine = Engine(loaded, spec.get("cache_bytes") or machine_memory_bytes() // 8)
    writer.emit("ready", model=loaded.name)
    while True:
        for command in _next_commands(commands, wait=engine.idle):
            writer.write(_handle(engine, command))
        writer.write(list(engine.start()))
        writer.write(engine.step())


def _next_commands(commands: Commands, *, wait: bool) -> list[dict[str, Any]]:
    """Return the commands that came in; `wait` for one where there is nothing else to do."""
    arrived = [commands.get()] if wait else []
    while not commands.empty():
        arrived.append(commands.get())
    return arrived


def _handle(engine: Engine, command: dict[str, Any]) -> list[dict[str, Any]]:
    """Obey a command, and return the event of its failure."""
    request_id = command["id"]
    if command["do"] == "cancel":
        engine.cancel(request_id)
        return []
    try:
        engine.add(request_id, command)
    except ServingError as error:
        return [{"event": "error", "id": request_id, "kind": error.kind, "message": str(error)}]
    except Exception as error:  # noqa: BLE001 - a request may fail, the worker goes on
        traceback.print_exc()
        message = f"This request failed: {first_line(error)}."
        return [{"event": "error", "id": request_id, "kind": "LocalModelError", "message": message}]
    return []


def _open_commands() -> TextIO:
    """Return the way in; a library that asks at the keyboard finds no input, and no commands."""
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return commands


def _read(lines: TextIO, commands: Commands) -> None:
    for line in lines:
        commands.put(json.loads(line))
    _exit(0)


def _watch(parent: int) -> None:
    # A forked child of the kernel may hold the pipe open after the kernel died.
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    _exit(0)


def _exit(code: int) -> None:
    # Not sys.exit: a process that used MLX may abort on the ordinary way out.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
