"""The panel in a real kernel, spoken to over its comm as JupyterLab does: Stop while idle, while
another cell blocks, and while the stream is awaited inside a cell.

JupyterLab sends a widget's messages on a subshell where the kernel has them (ipykernel 7 and
later). ipykernel 6 has none: there Stop waits until the running cell ends.
"""

from __future__ import annotations

import os
import queue
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipykernel
import pytest
from kernel_session import kernel_manager
from panel_server import PanelServer

SUBSHELLS = int(ipykernel.__version__.split(".")[0]) >= 7
ROOT = Path(__file__).parents[1]


class Kernel:
    """A kernel with a panel in it, and a front end that speaks to the panel's comm."""

    def __init__(self, folder: Path, url: str) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = os.environ | {"HELIX_NB_LOG": str(folder / "log.db"), "PYTHONPATH": path}
        self.manager = kernel_manager()
        self.manager.start_kernel(env=environ, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.subshell = self._subshell() if SUBSHELLS else None
        self.told: list[dict[str, Any]] = []
        self.comm = ""
        self.run(f"import time, helix_nb as hx\nhx.connect({url!r}, name='lab', model='slow')")
        self.run("panel = hx.ChatPanel(endpoint='lab')\npanel")

    def _subshell(self) -> str:
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        reply = self.client.get_control_msg(timeout=30)
        return str(reply["content"]["subshell_id"])

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def start(self, code: str) -> str:
        return str(self.client.execute(code, stop_on_error=False))

    def run(self, code: str) -> None:
        self.until_done(self.start(code))

    def until_done(self, execution: str) -> float:
        """Take in what the kernel says until a cell has ended; when it did."""
        return self._until(
            lambda m: (
                m["msg_type"] == "status"
                and m["content"]["execution_state"] == "idle"
                and m["parent_header"].get("msg_id") == execution
            )
        )

    def until_told(self, **wanted: Any) -> float:
        """Take in what the kernel says until the panel tells its views this; when it did."""
        return self._until(
            lambda m: m["msg_type"] == "comm_msg" and wanted.items() <= (_custom(m) or {}).items()
        )

    def _until(self, fits: Any) -> float:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            content = message["content"]
            if message["msg_type"] == "comm_open" and content["data"]["state"].get("_esm"):
                self.comm = content["comm_id"]
            if message["msg_type"] == "error":
                raise AssertionError("\n".join(content["traceback"]))
            if message["msg_type"] == "comm_msg" and (custom := _custom(message)):
                self.told.append(custom)
            if fits(message):
                return time.monotonic()
        raise AssertionError(f"never came; told last: {self.told[-3:]}")

    def displays(self, code: str, kind: str) -> list[dict[str, Any]]:
        """Run code; the displays of that kind, until half a second after its end and the first of them."""
        shown: list[dict[str, Any]] = []
        execution, ended, last = self.start(code), False, time.monotonic() + 60
        while time.monotonic() < last:
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                continue
            if message["msg_type"] == kind:
                shown.append(message["content"])
            ended |= _idle(message) and message["parent_header"].get("msg_id") == execution
            if ended and shown:
                last = min(last, time.monotonic() + 0.5)
        return shown

    def request(self, do: str, **more: Any) -> float:
        """Send what a view sends, on the subshell where there is one; when."""
        data = {"method": "custom", "content": {"do": do, **more}}
        message = self.client.session.msg("comm_msg", {"comm_id": self.comm, "data": data})
        if self.subshell:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)
        return time.monotonic()


def _custom(message: dict[str, Any]) -> dict[str, Any] | None:
    data = message["content"]["data"]
    return data.get("content") if data.get("method") == "custom" else None


@pytest.fixture(scope="module")
def server() -> Iterator[PanelServer]:
    """The server that the panel asks."""
    started = PanelServer()
    yield started
    started.close()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, server: PanelServer) -> Iterator[Kernel]:
    """One kernel for the tests of this module."""
    started = Kernel(tmp_path_factory.mktemp("kernel"), server.url)
    yield started
    started.close()


def test_stop_while_idle(kernel: Kernel, server: PanelServer) -> None:
    """A stream begun by a Send stops at Stop: the socket closes and the turn is `interrupted`."""
    number = uuid.uuid4().hex
    kernel.request("send", id=number, text="go")
    kernel.until_told(t="stream", id=number)
    kernel.request("stop", id=number)
    assert server.left.acquire(timeout=20)
    kernel.until_told(t="state", busy=False)
    turn = [told["turn"] for told in kernel.told if told["t"] == "turn"][-1]
    assert turn["id"] == number and turn["answer"]["status"] == "interrupted"


@pytest.mark.parametrize("begun_by", ["a view", "a cell"])
def test_stop_while_another_cell_blocks(kernel: Kernel, server: PanelServer, begun_by: str) -> None:
    """With subshells Stop works while a cell blocks, whoever began the stream; without, after it."""
    number = uuid.uuid4().hex
    if begun_by == "a view":
        kernel.request("send", id=number, text="go")
    else:
        kernel.run("panel.send('go')")
    kernel.until_told(t="stream")
    blocking = kernel.start("open('blocking', 'w').close(); time.sleep(4)")
    kernel.until_told(t="stream")
    kernel.request("stop", id=number)
    stopped = kernel.until_told(t="state", busy=False) if SUBSHELLS else 0.0
    ended = kernel.until_done(blocking)
    if SUBSHELLS:
        assert stopped < ended
    else:
        stopped = kernel.until_told(t="state", busy=False)
        assert stopped >= ended
    assert server.left.acquire(timeout=20)


def test_stop_of_a_stream_that_a_cell_waits_for(kernel: Kernel, server: PanelServer) -> None:
    """With subshells Stop ends `panel.send(...).result()` in a running cell, which gets the partial Reply."""
    if not SUBSHELLS:
        waiting = kernel.start("reply = panel.send('go').result()")
        kernel.until_told(t="stream")
        kernel.manager.interrupt_kernel()  # the kernel's own Stop is what works there
        with pytest.raises(AssertionError, match="KeyboardInterrupt"):
            kernel.until_done(waiting)
    else:
        waiting = kernel.start("reply = panel.send('go').result()")
        kernel.until_told(t="stream")
        kernel.request("stop")
        kernel.until_done(waiting)
        kernel.run("assert reply.status == 'interrupted' and reply.text.startswith('word0')")
    assert server.left.acquire(timeout=20)


def test_the_transcript_follows(kernel: Kernel) -> None:
    """Beside the widget stand the displays of the transcript; an answer changes only the page it is on."""
    kernel.run("chat = hx.Chat(endpoint='lab', model='echo')\nwords = 'spoken ' * 300")
    kernel.run("for number in range(12): chat.ask(f'**turn {number}** {words}')")
    shown = kernel.displays("other = hx.ChatPanel(chat)\nother", "display_data")
    assert [set(message["data"]) for message in shown] == [
        {"application/vnd.jupyter.widget-view+json", "text/plain"},
        *[{"text/html", "text/plain"}] * 6,
    ]
    pages = {message["transient"]["display_id"]: message["data"]["text/html"] for message in shown[1:]}
    assert len(pages) == 6 and [html.count("<strong>turn") for html in pages.values()] == [2, 2, 2, 2, 2, 2]
    updates = kernel.displays("other.send('and **turn 12**').result()", "update_display_data")
    assert [update["transient"]["display_id"] for update in updates] == [list(pages)[-1]]
    assert "<strong>turn 12</strong>" in updates[0]["data"]["text/html"]


def _idle(message: dict[str, Any]) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
