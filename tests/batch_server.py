"""A chat completions server on 127.0.0.1 that fails on purpose and remembers every request."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Fault = Callable[["Seen"], "int | str | None"]


@dataclass
class Seen:
    """One request as it came in: its prompt, when, the how-manieth it was, and what it got."""

    prompt: str
    at: float
    number: int
    got: int | str = 200
    body: dict[str, Any] = field(default_factory=dict)


class BatchServer:
    """Answers `echo: <prompt>`, after `latency_s`, unless `fault(seen)` names a status or "reset".

    `answer(body)` makes another answer. Use it as a context manager; `url` is its root.
    """

    def __init__(
        self,
        fault: Fault | None = None,
        *,
        latency_s: float = 0.0,
        answer: Callable[[dict[str, Any]], str] | None = None,
        retry_after_s: float = 1.0,
        remember: bool = True,
    ) -> None:
        self.fault, self.latency_s, self.retry_after_s = fault, latency_s, retry_after_s
        self.answer = answer or (lambda body: f"echo: {body['messages'][-1]['content']}")
        self.seen: list[Seen] = []
        self.remember = remember
        self.talks: set[_Talk] = set()
        self.count = self.in_flight = self.most_in_flight = 0
        self.arrived = threading.Condition()
        self.loop = asyncio.new_event_loop()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BatchServer:
        self._thread.start()
        assert self._serving.wait(30)  # stopped before, it would keep listening and never answer
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(self.loop.create_server(lambda: _Talk(self), sock=self.socket))
        self.loop.call_soon(self._serving.set)
        self.loop.run_forever()
        server.close()
        for talk in list(self.talks):
            talk.transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))

    def wait_for(self, requests: int, timeout_s: float = 30.0) -> None:
        """Block until that many requests came in."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.count >= requests, timeout_s)

    def settle(self) -> None:
        """Block until all that was sent before is counted: what is asked now is read last."""
        with urllib.request.urlopen(f"{self.url}/v1/models", timeout=30) as answer:
            answer.read()

    def prompts(self, got: int | str | None = 200) -> list[str]:
        """The prompts of the requests that got this, or of all."""
        return [seen.prompt for seen in self.seen if got is None or seen.got == got]


class _Talk(asyncio.Protocol):
    def __init__(self, server: BatchServer) -> None:
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.talks.add(self)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, problem: Exception | None) -> None:
        self.server.talks.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            size = end + 4 + int(length or 0)
            if len(self.buffer) < size:
                return
            body, self.buffer = self.buffer[end + 4 : size], self.buffer[size:]
            self._received(head, body)

    def _received(self, head: bytes, raw: bytes) -> None:
        if head.startswith(b"get"):
            self._send(200, {"data": [{"id": "echo-1"}]})
            return
        server, body = self.server, json.loads(raw)
        with server.arrived:
            seen = Seen(body["messages"][-1]["content"], time.monotonic(), server.count, 200)
            server.count += 1
            server.arrived.notify_all()
        if server.remember:
            seen.body = body
            server.seen.append(seen)
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        seen.got = (server.fault(seen) if server.fault else None) or 200
        if server.latency_s:
            server.loop.call_later(server.latency_s, self._answer, seen, body)
        else:
            self._answer(seen, body)

    def _answer(self, seen: Seen, body: dict[str, Any]) -> None:
        server = self.server
        server.in_flight -= 1
        if seen.got == "reset":
            self.transport.abort()
        elif seen.got != 200:
            self._send(int(seen.got), {"error": {"message": f"a fault, status {seen.got}"}})
        elif body.get("stream"):
            self._send(200, sse(server.answer(body)), "text/event-stream")
        else:
            message = {"role": "assistant", "content": server.answer(body)}
            self._send(200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE})

    def _send(self, status: int, payload: Any, kind: str = "application/json") -> None:
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        wait = f"Retry-After: {self.server.retry_after_s:g}\r\n" if status == 429 else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{wait}Content-Length: {len(content)}\r\n\r\n"
        self.transport.write(head.encode() + content)


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def sse(text: str) -> bytes:
    """An answer as a stream of four events."""
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": text}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    ]
    frames = [f"data: {json.dumps({'id': 'c1', 'model': 'echo-1', **event})}\n\n" for event in events]
    return "".join([*frames, "data: [DONE]\n\n"]).encode()


def capped(per_s: int) -> Fault:
    """Refuse what goes over so many requests in any one second."""
    admitted: list[float] = []

    def fault(seen: Seen) -> int | None:
        while admitted and admitted[0] <= seen.at - 1.0:
            admitted.pop(0)
        if len(admitted) >= per_s:
            return 429
        admitted.append(seen.at)
        return None

    return fault


def main() -> None:
    """Serve until stdin closes: `python batch_server.py LATENCY_MS`; prints its URL."""
    with BatchServer(latency_s=float(sys.argv[1]) / 1000, remember=False) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
