"""Models from the Hub, through its real client, from a small Hub on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import helix_nb as hx
from helix_nb.chat.ask import prepare
from helix_nb.config.registry import configure
from helix_nb.endpoints.local import tiny_model
from helix_nb.endpoints.local.pool import unload
from helix_nb.endpoints.local.progress import activity

if find_spec("mlx_lm") is None:
    pytest.skip("local models need the extra: pip install 'helix-nb[local]'", allow_module_level=True)
pytestmark = pytest.mark.local

COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """Serves one model as me/tiny and, behind terms, as me/gated."""

    def __init__(self, files: Path) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.files = {path.name: path.read_bytes() for path in files.iterdir()}
        self.requests: list[str] = []
        self.may_send_weights = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Pages(BaseHTTPRequestHandler):
    """The four answers that a download needs."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        known = path.removeprefix("/api/models").startswith(("/me/tiny", "/me/gated"))
        if not known:
            self.answer(b"", 401, {"X-Error-Code": "RepoNotFound"})
        elif "/revision/" in path and not path.endswith(("/main", COMMIT)):
            self.answer(b"", 404, {"X-Error-Code": "RevisionNotFound"})
        elif "/revision/" in path:
            self.answer(json.dumps({"id": "me/tiny", "sha": COMMIT, "siblings": []}).encode())
        elif "/tree/" in path:
            self.answer(json.dumps([entry(name, data) for name, data in self.server.files.items()]).encode())
        elif path.startswith("/me/gated"):
            self.answer(b"", 403, {"X-Error-Code": "GatedRepo"})
        else:
            self.file(path.rpartition("/")[2])

    def file(self, name: str) -> None:
        data = self.server.files[name]
        if name == "model.safetensors" and self.command == "GET":
            assert self.server.may_send_weights.wait(60)
        self.answer(data, 200, {"ETag": f'"{digest(data)}"', "X-Repo-Commit": COMMIT})

    def answer(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def entry(name: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(data), "oid": digest(data)}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that the worker's client is pointed to, and an empty cache."""
    with Hub(tiny_model.build(tmp_path / "model")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server
        unload()
        server.shutdown()


def test_a_model_is_downloaded_once_and_says_how_far_it_is(hub: Hub) -> None:
    """The first question fetches the model with progress; a new process finds it without the network."""
    running = prepare("Hi", endpoint="local", model="me/tiny", max_tokens=3).begin()
    while "downloading me/tiny" not in (activity() or ""):
        assert not running.wait_for_change(0.05) or not running.done, running.reply.error
    hub.may_send_weights.set()
    reply = running.result()
    assert (reply.status, reply.model) == ("ok", "me/tiny")
    assert activity() is None
    assert list(hx.models("local")["id"]) == ["me/tiny"]
    unload()
    asked = len(hub.requests)
    assert hx.ask("Hi", endpoint="local", model="me/tiny", max_tokens=3).text == reply.text
    assert len(hub.requests) == asked


def test_a_snapshot_without_weights_is_completed(hub: Hub, tmp_path: Path) -> None:
    """What another tool fetched of a model, its tokenizer alone, is no whole model."""
    hub.may_send_weights.set()
    folder = tmp_path / "cache" / "models--me--tiny"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_bytes(hub.files["config.json"])
    assert hx.ask("Hi", endpoint="local", model="me/tiny", max_tokens=3).status == "ok"


def test_what_cannot_be_had_is_one_sentence(hub: Hub) -> None:
    """Unknown, gated, without that revision: each says what to do."""
    hub.may_send_weights.set()
    for model, sentence in (
        ("me/nothing", "The Hub has no model me/nothing, or it is private"),
        ("me/gated", "me/gated is gated: accept its terms at https://huggingface.co/me/gated"),
    ):
        with pytest.raises(hx.LocalModelError, match=sentence):
            hx.ask("Hi", endpoint="local", model=model)
    configure("local", revision="v9")
    with pytest.raises(hx.LocalModelError, match="me/tiny has no revision 'v9'"):
        hx.ask("Hi", endpoint="local", model="me/tiny")


def test_a_hub_out_of_reach_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection, a model that is not here is said to be that."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(hx.LocalModelError, match="is not on this machine and the Hub cannot be reached"):
        hx.ask("Hi", endpoint="local", model="me/tiny")
    unload()
