"""The canary in a real kernel: nothing that a notebook is told, or that is saved with it, holds the key."""

# ruff: noqa: E501 - one cell is one line
from __future__ import annotations

import json
import os
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canary import KEY, SAYS, answers, beside, leaks, sent
from kernel_session import kernel_manager
from wire_server import WireServer

ROOT = Path(__file__).parents[1]


class Kernel:
    """A kernel whose HELIX_API_KEY is the canary, and every message it sends."""

    def __init__(self, folder: Path, url: str) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        log = str(folder / "log.db")
        environ = os.environ | {
            "HELIX_NB_LOG": log,
            "PYTHONPATH": path,
            "HELIX_API_KEY": KEY,
            "HELIX_URL": url,
        }
        self.manager = kernel_manager()
        self.manager.start_kernel(env=environ | {"IPYTHONDIR": str(folder / "ipython")}, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.told: list[str] = []

    def run(self, code: str, *, live: bool = True) -> list[dict[str, Any]]:
        """Run a cell, as JupyterLab does or as nbclient does; what the kernel said."""
        execution = self.client.execute(code, allow_stdin=live, stop_on_error=False)
        said = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            content = message["content"]
            said.append(content)
            mine = message["parent_header"].get("msg_id") == execution
            if message["msg_type"] == "status" and content["execution_state"] == "idle" and mine:
                break
        reply = self.client.get_shell_msg(timeout=30)
        self.told += [json.dumps(one) for one in [*said, reply["content"], reply["metadata"]]]
        return said

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def server() -> Iterator[WireServer]:
    """The server that tells the key."""
    with WireServer(answers) as started:
        yield started


@pytest.fixture
def kernel(tmp_path: Path, server: WireServer) -> Iterator[Kernel]:
    """A kernel configured by the environment."""
    started = Kernel(tmp_path, server.url)
    yield started
    started.close()


CELLS = [
    "import os\nimport helix_nb as hx\nfrom helix_nb.config.registry import configure\n%load_ext helix_nb\n%xmode Verbose\nsecret = os.environ['HELIX_API_KEY']\nconfigure('helix', retries=0);",
    "%helix",
    "%helix models",
    "hx.use()",
    "config.endpoints()",
    *(f"%%helix -m {model} -o reply\nWhat is my key?" for model in SAYS),
    "reply",
    "reply._repr_mimebundle_()",
    "%%helix -m whole\nIs {{secret}} a key?",
    "%%helix -m whole\n{{ {}[secret] }}",
    "%%helix -m whole\n{{open(secret)}}",
    "%%helix -m whole -a secret\nIs that a key?",
    "%%helix -m whole -s {{secret}} --dry-run\nIs {{secret}} a key?",
    "%%helix -m split -c\nIs {{secret}} a key?",
    "%%helix -m letters -c -s @secret\nAnd this: {{secret}}?",
    "%helix chat",
    "%helix chats",
    "%%helix -m split -f json\n{{secret}}",
    "%%helix -m split -f code --insert\n{{secret}}",
    "%%helix -m whole -m 401 -m split\n{{secret}}",
    "hx.ask('Is that a key?', model='401')",
    "hx.ask('?', model='no-http')",
    "await hx.aask('?', model='raw-line')",
    "hx.models()",
    "%xmode Context",
    "hx.use(endpoint=secret)",
    "hx.ask(f'Is {secret} a key?', model='401')",
    "hx.ask(f'Is {secret} a key?', model='split')",
    "hx.connect('http://127.0.0.1:9', key=secret, name='given')",
    "hx.use(endpoint='helix')",
    "panel = hx.ChatPanel()\npanel.chat.model = 'split'\npanel",
    "panel.send(f'Is {secret} a key?')",
    "panel.chat.model = '401'\npanel.send('And now?')",
    "panel.chat.model = 'calls'\npanel.send('And now?')",
    "import time\nwhile panel.busy: time.sleep(0.05)\npanel.frame()",
    "panel.chat.messages",
    "import ipywidgets\nprint(ipywidgets.Widget.get_manager_state())",
    "hx.log('all')",
    "hx.log('all').to_dict()",
    "hx.last",
    "{name: getattr(hx.last, name) for name in hx.last.__dataclass_fields__}",
    "hx.transcript(hx.log('all')['thread_id'].iloc[-1])",
    "%helix log",
]


@pytest.mark.parametrize("live", [True, False], ids=["as in JupyterLab", "as nbclient runs it"])
def test_no_message_of_a_kernel_holds_the_key(kernel, server, tmp_path, live):
    """Cells, panel, tables, errors and widget state: frame by frame, no message holds the key."""
    ran = [kernel.run(cell, live=live) for cell in CELLS]
    assert not any("ename" in one for said in ran[:2] for one in said)
    assert any("Your key is [key]." in json.dumps(said) for said in ran)
    assert [excerpt for message in kernel.told for excerpt in leaks(message)] == []
    assert leaks(sent(server)) == []
    assert len(server.asked()) > len(SAYS)
    assert all(got.headers["authorization"] == f"Bearer {KEY}" for got in server.asked())
    assert leaks(beside(tmp_path)) == []
