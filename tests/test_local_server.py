"""The real mlx_lm.server behind the remote client: the other way to a model on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from local_models import scripted

import helix_nb as hx

if find_spec("mlx_lm") is None:
    pytest.skip("local models need the extra: pip install 'helix-nb[local]'", allow_module_level=True)
pytestmark = pytest.mark.local

SCRIPT = ["<think>", "So, ", "France. ", "</think>", "\n\n", "The capital ", "is ", "Paris", "."]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """mlx_lm.server with a model that thinks and then says where it is; the URL of its root."""
    folder = tmp_path_factory.mktemp("server")
    model = scripted(folder / "model", SCRIPT, thinking=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(model), "--port", str(port)]
    environment = {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    (folder / "hub" / "hub").mkdir(parents=True)  # without it, /v1/models is an empty 200
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while not answers(url):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield url
        process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(autouse=True)
def connected(server: str) -> None:
    hx.connect(server, name="mlx")


def test_a_streamed_answer_is_whole(server: str) -> None:
    """Comments, the `reasoning` field and the close-delimited HTTP/1.0 body are all understood."""
    reply = hx.ask("Where?", model="default_model")
    assert reply.text.strip() == "The capital is Paris."
    assert reply.reasoning.strip() == "So, France."
    assert (reply.status, reply.finish_reason) == ("ok", "stop")
    assert reply.usage.source == "server" and reply.usage.completion_tokens == len(SCRIPT) + 1
    assert hx.log().iloc[-1]["base_url"] == f"{server}/v1"


def test_an_answer_without_streaming_is_the_same() -> None:
    """One JSON body gives the same text, thoughts and counts."""
    streamed, whole = (
        hx.ask("Where?", model="default_model"),
        hx.ask("Where?", model="default_model", stream=False),
    )
    assert (whole.text, whole.reasoning) == (streamed.text, streamed.reasoning)
    assert whole.usage.completion_tokens == streamed.usage.completion_tokens


def test_an_answer_cut_by_max_tokens_says_so() -> None:
    """`length` comes through."""
    reply = hx.ask("Where?", model="default_model", max_tokens=6)
    assert (reply.finish_reason, reply.cut) == ("length", True)


def test_its_errors_are_sentences(tmp_path: Path) -> None:
    """Its `{"error": "text"}` bodies and 404s become errors of the tree, with its words."""
    with pytest.raises(hx.HelixError) as caught:
        hx.ask("Where?", model=str(tmp_path / "nothing-here"))
    assert caught.value.status_code == 404
    assert "nothing-here" in str(caught.value)
    with pytest.raises(hx.HelixError) as caught:
        hx.ask("Where?", model="default_model", top_p=7)
    assert "top_p" in str(caught.value) and caught.value.status_code in (400, 404)


def test_its_models_are_listed() -> None:
    """`/v1/models` is read, whatever it finds in the cache."""
    assert "id" in hx.models()
