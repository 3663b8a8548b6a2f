"""A chat server for the panel's tests: what it answers is chosen by the model's name.

`echo` gives the prompt back, `slow` writes a word every 20 ms until the client leaves, `held`
waits in the middle until `release` is set, `tells` writes five sentences word by word, `thinks`
reasons first, `cut` ends without a finish, `plain` counts no tokens, `refuses` fails, `calls` has
the tool `add` called first.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = ("echo", "slow", "held", "thinks", "cut", "tells", "plain", "refuses", "calls")
ONE_TO_FIVE = ("one", "two", "three", "four", "five")
STORY = " ".join(f"Sentence {n} goes on for a while, as sentences in stories do." for n in ONE_TO_FIVE)


class PanelServer:
    """The server on a port of its own: the bodies it got, and how many clients hung up (`left`)."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.left = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: PanelServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": name} for name in MODELS]}).encode()
        self._head(200, "application/json", len(body))
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.owner.requests.append(body)
        self.owner.keys.append(self.headers.get("Authorization"))
        if body["model"] == "refuses":
            return self._refuse()
        self._head(200, "text/event-stream")
        self.owner.begun.release()
        try:
            for chunk in self._answer(body):
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        except OSError:
            self.owner.left.release()

    def _refuse(self) -> None:
        body = b'{"error": {"message": "this model refuses every request"}}'
        self._head(400, "application/json", len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        model = body["model"]
        if model == "calls" and body["messages"][-1]["role"] == "user":
            call = {"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a": 20, "b": 22}'}}
            yield {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
            yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
            return
        for kind, piece in getattr(self, f"_{model}", self._echo)(_prompt(body)):
            yield {"model": model, "choices": [{"index": 0, "delta": {kind: piece}, "finish_reason": None}]}
        if model == "cut":
            return
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        if model != "plain":
            yield {"choices": [], "usage": {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32}}

    def _echo(self, prompt: str) -> Iterator[tuple[str, str]]:
        for at in range(0, len(prompt), 40):
            yield "content", prompt[at : at + 40]

    def _slow(self, prompt: str) -> Iterator[tuple[str, str]]:
        for number in range(3000):
            yield "content", f"word{number} " + ("\n\n" if number % 12 == 11 else "")
            time.sleep(0.02)

    def _held(self, prompt: str) -> Iterator[tuple[str, str]]:
        yield "content", "# Before\n\nThe first part. "
        while not self.owner.release.wait(0.05):
            yield "content", ""
        yield "content", "And the second part.\n\n"

    def _thinks(self, prompt: str) -> Iterator[tuple[str, str]]:
        yield "reasoning_content", "Let me see. "
        yield "reasoning_content", "It is <b>42</b>."
        yield "content", "The answer is 42."

    def _tells(self, prompt: str) -> Iterator[tuple[str, str]]:
        for word in STORY.split(" "):
            yield "content", f"{word} "
            time.sleep(0.05)

    def _cut(self, prompt: str) -> Iterator[tuple[str, str]]:
        yield "content", "Half an answer"


def _prompt(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]
