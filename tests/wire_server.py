"""A raw-socket HTTP server that answers with exactly the bytes a test wants, in the pieces it wants."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Got:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What is sent for one request.

    `framing` is "chunked", "length" or "close". `piece_bytes` cuts the body (None: one piece).
    `end` says what happens then: "keep" the connection, "close" it, "drop" it (closed without the end
    of a chunked body), "reset" it (which may cost the client what it has not read), or "hang".
    `hang_at` is how many bytes are sent before it, None for all.
    """

    body: bytes = b""
    status: int = 200
    content_type: str | None = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()
    framing: str = "chunked"
    piece_bytes: int | None = None
    end: str = "keep"
    hang_at: int | None = None
    head: bytes | None = None  # the raw status line and headers instead of those above
    pause_s: float = 0.0  # between two pieces

    def raw_head(self) -> bytes:
        if self.head is not None:
            return self.head
        version = "1.0" if self.framing == "close" else "1.1"
        lines = [f"HTTP/{version} {self.status} X"]
        if self.content_type is not None:
            lines.append(f"Content-Type: {self.content_type}")
        if self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        elif self.framing == "length":
            lines.append(f"Content-Length: {len(self.body)}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def pieces(self) -> Iterator[bytes]:
        body = self.body if self.hang_at is None else self.body[: self.hang_at]
        size = self.piece_bytes or max(len(body), 1)
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            yield b"%x\r\n%s\r\n" % (len(piece), piece) if self.framing == "chunked" else piece
        if self.framing == "chunked" and self.hang_at is None and self.end in ("keep", "close"):
            yield b"0\r\n\r\n"


Script = Callable[[Got], Answer]


class WireServer:
    """Serves `script(request)` on 127.0.0.1 until closed; `got` holds the requests in order."""

    def __init__(self, script: Script | Answer) -> None:
        self.script: Script = (lambda _: script) if isinstance(script, Answer) else script
        self.got: list[Got] = []
        self.connections = 0
        self.hung_up = threading.Event()  # a client closed a connection we were holding open
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self) -> list[Got]:
        """The requests for answers, without those for the list of models."""
        return [got for got in self.got if got.method == "POST"]

    def close(self) -> None:
        self._closing.set()
        with socket.create_connection(self._listener.getsockname()):  # wakes the thread, on any system
            self._accepting.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> WireServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
                self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as reader:
                while (got := _read(reader)) is not None:
                    with self._lock:
                        self.got.append(got)
                    answer = self.script(got)
                    connection.sendall(answer.raw_head())
                    for number, piece in enumerate(answer.pieces()):
                        time.sleep(answer.pause_s if number else 0)
                        connection.sendall(piece)
                    if not self._next(answer, connection):
                        return
        except OSError:
            self.hung_up.set()
        finally:
            with self._lock:  # `close` must not meet the number of a socket that is no longer ours
                self._open.discard(connection)
                connection.close()

    def _next(self, answer: Answer, connection: socket.socket) -> bool:
        """End an answer as told; false when the connection is over."""
        if answer.end == "hang" or (answer.hang_at is not None and answer.end == "keep"):
            while connection.recv(4096):
                pass
            self.hung_up.set()
            return False
        if answer.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return answer.end == "keep" and answer.framing != "close"


def _read(reader: Any) -> Got | None:
    line = reader.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return Got(method, target, headers, reader.read(int(headers.get("content-length", 0))))
