"""A real Jupyter kernel for tests: run cells as a front end does, and see every message that comes back."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

import pytest
import zmq
from jupyter_client.manager import KernelManager

START_S = 60.0
CELL_S = 30.0


def kernel_manager() -> KernelManager:
    """A manager whose kernel is spoken to by sockets in a folder of its own.

    Two kernels that start at the same time can be given the same TCP port; one of them then dies.
    """
    folder = tempfile.mkdtemp(prefix="hx-kernel-")  # in pytest's own, longer than a socket's path may be
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return KernelManager(kernel_name="python3", transport="ipc", ip=f"{folder}/kernel")


@dataclass
class Ran:
    """What one cell sent: its iopub messages, its reply, and the raw bytes of both kinds of display."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [m["content"] for m in self.messages if m["header"]["msg_type"] in kinds]

    @property
    def displays(self) -> list[dict[str, Any]]:
        """The outputs a notebook would save: updates are applied, streams left out."""
        saved: dict[str, dict[str, Any]] = {}
        for number, content in enumerate(self.of("display_data", "update_display_data", "execute_result")):
            key = content.get("transient", {}).get("display_id") or str(number)
            saved[key] = content
        return list(saved.values())

    @property
    def html(self) -> str:
        return "".join(shown["data"].get("text/html", "") for shown in self.displays)

    @property
    def plain(self) -> str:
        return "\n".join(shown["data"].get("text/plain", "") for shown in self.displays)

    @property
    def printed(self) -> str:
        return "".join(content["text"] for content in self.of("stream"))

    @property
    def error(self) -> dict[str, Any] | None:
        return next(iter(self.of("error")), None)

    @property
    def status(self) -> str:
        return str(self.reply["status"])


class KernelSession:
    """One kernel with helix_nb loaded; cells run one after the other."""

    def __init__(self, environ: Mapping[str, str], *, load: bool = True) -> None:
        self.manager = kernel_manager()
        self.manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self.manager.start_kernel(env={**os.environ, **environ})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=START_S)
        if load:
            assert self.run("%load_ext helix_nb").messages[-1]["content"]["execution_state"] == "idle"

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(
        self,
        code: str,
        *,
        cell_id: str | None = None,
        stdin: bool = True,
        during: Callable[[Ran], None] | None = None,
    ) -> Ran:
        """Run a cell; `during` is called after each message that arrives while it runs."""
        ran = Ran()
        message = self.client.session.msg(
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": stdin,
            },
            metadata={"cellId": cell_id} if cell_id else {},
        )
        self.client.shell_channel.send(message)
        deadline = time.monotonic() + CELL_S
        while time.monotonic() < deadline:
            try:
                got = self.client.get_iopub_msg(timeout=0.5)
            except Empty:
                continue
            if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            ran.messages.append(got)
            if during is not None:
                during(ran)
            if got["header"]["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                break
        else:
            raise TimeoutError(f"The cell did not end: {code!r}")
        ran.reply = self._reply(message["header"]["msg_id"])
        return ran

    def value(self, expression: str) -> Any:
        """The value of an expression, by way of its repr."""
        import ast

        ran = self.run(f"print(repr({expression}))")
        assert ran.error is None, ran.error
        return ast.literal_eval(ran.printed)

    def complete(self, code: str, position: int | None = None) -> dict[str, Any]:
        """What a front end gets for Tab."""
        msg_id = self.client.complete(code, len(code) if position is None else position)
        return self._reply(msg_id)

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def meter(self) -> Meter:
        """Count the raw bytes on iopub from now on."""
        return Meter(self.manager)

    def _reply(self, msg_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + CELL_S
        while time.monotonic() < deadline:
            reply = self.client.get_shell_msg(timeout=CELL_S)
            if reply["parent_header"].get("msg_id") == msg_id:
                content: dict[str, Any] = reply["content"]
                return content
        raise TimeoutError("The kernel did not reply.")


class Meter:
    """A second subscriber of iopub that counts every byte of every message."""

    def __init__(self, manager: KernelManager) -> None:
        self.bytes = self.messages = 0
        self._stop = threading.Event()
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.connect(f"ipc://{manager.ip}-{manager.iopub_port}")
        self._socket.subscribe(b"")
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(50):
                frames = self._socket.recv_multipart()
                self.messages += 1
                self.bytes += sum(map(len, frames))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close(0)


@pytest.fixture(scope="module")
def kernel_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., KernelSession]]:
    """Start kernels with a log of their own; ended with the module."""
    running: list[KernelSession] = []

    def start(*, load: bool = True, **environ: str) -> KernelSession:
        folder = tmp_path_factory.mktemp("kernel")
        clean = {name: "" for name in os.environ if name.startswith("HELIX_")}
        own = {"HELIX_NB_LOG": str(folder / "log.db"), "IPYTHONDIR": str(folder / "ipython")}
        session = KernelSession({**clean, **own, "PYDEVD_DISABLE_FILE_VALIDATION": "1", **environ}, load=load)
        running.append(session)
        return session

    yield start
    for session in running:
        session.close()


@pytest.fixture(scope="module")
def kernel(kernel_factory: Callable[..., KernelSession]) -> KernelSession:
    """One kernel for the tests of a module; tests leave no settings behind."""
    return kernel_factory()


def lines_of(error: Mapping[str, Any]) -> Sequence[str]:
    """The lines of an error as a notebook shows them."""
    return "\n".join(error["traceback"]).split("\n")
