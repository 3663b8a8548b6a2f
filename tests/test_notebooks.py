"""The notebooks where something is configured: they promise that the same cells talk to Helix."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from nbclient import NotebookClient

from helix_nb import demo
from helix_nb.runtime.loop import run_sync

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
UNKNOWN = 'model "{}" is not available (currently configured: qwen3:8b)'


class Helix(BaseHTTPRequestHandler):
    """Answers as the demo does, but to no model's name: it chooses itself, and serves none of the demo's."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if model := json.loads(body).get("model"):
            self._send(500, "text/plain", UNKNOWN.format(model).encode())
            return
        there = urlsplit(run_sync(demo.url()))
        connection = http.client.HTTPConnection(there.netloc)
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answered = connection.getresponse()
        self._send(answered.status, answered.headers["Content-Type"], answered.read())
        connection.close()

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def helix() -> Iterator[str]:
    """The root URL of a Helix of this module's own."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Helix)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "magics", "chat", "panel", "batch", "usage"])
def test_a_notebook_runs_where_helix_is_configured(
    name: str, helix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run All comes to the end, and what goes wrong on purpose goes wrong as in the saved outputs."""
    monkeypatch.setenv("HELIX_URL", helix)
    monkeypatch.setenv("HELIX_API_KEY", "hl-canary-0123456789abcdef")
    monkeypatch.setenv("HELIX_NB_LOG", str(tmp_path / "log.db"))
    saved = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": tmp_path}}).execute()
    assert _errors(notebook) == _errors(saved)


def _errors(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [(output.ename, output.evalue) for output in outputs if output.output_type == "error"]
