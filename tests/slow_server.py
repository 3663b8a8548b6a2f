"""An OpenAI-compatible server whose answers and pace a test chooses, and which remembers what it was sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], Sequence[str]]


class SlowServer:
    """Streams the pieces that `answer(body)` gives, `pause_s` apart; after the last it may hang."""

    def __init__(self, answer: Answer | Sequence[str], pause_s: float = 0.0, *, hang: bool = False) -> None:
        self.answer: Answer = answer if callable(answer) else (lambda _body: answer)
        self.pause_s, self.hang = pause_s, hang
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.delta: dict[str, Any] = {}  # said before the pieces, as it is
        self.hold_at: int | None = None  # how many pieces are sent before `release` is set
        self.release = threading.Event()
        self.left = threading.Event()
        self.left_at = 0.0
        self._closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                self._json({"data": [{"id": "alpha"}, {"id": "beta"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                try:
                    server._stream(self.wfile.write, body)
                    if server.hang:
                        self._hang()
                except OSError:
                    server.left_at = time.monotonic()
                    server.left.set()

            def _hang(self) -> None:
                while not server._closing.is_set():
                    self.wfile.write(b": still here\n\n")
                    time.sleep(0.02)

            def _json(self, data: Any) -> None:
                content = json.dumps(data).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _stream(self, write: Callable[[bytes], Any], body: dict[str, Any]) -> None:
        pieces = self.answer(body)
        started = time.monotonic()
        if self.delta:
            write(_event({"choices": [{"index": 0, "delta": self.delta}], "model": body["model"]}))
        for number, piece in enumerate(pieces):
            if number == self.hold_at:
                self.release.wait(60)
            write(_event({"choices": [{"index": 0, "delta": {"content": piece}}], "model": body["model"]}))
            if self.pause_s:
                time.sleep(max(0.0, started + (number + 1) * self.pause_s - time.monotonic()))
        if not self.hang:
            write(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
            usage = {"prompt_tokens": 5, "completion_tokens": len(pieces), "total_tokens": 5 + len(pieces)}
            write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> SlowServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
