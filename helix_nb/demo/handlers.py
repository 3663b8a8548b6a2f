"""The demo server's handlers of requests; imported, and tornado with it, when a server starts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from .completion import Completion, model_entry, model_list
from .faults import BUSY, FAILS, PASSING, Fault, Faults
from .validation import InvalidRequest, read_request

FIRST_TOKEN_S, PER_TOKEN_S = 0.03, 0.005


def application() -> Application:
    """Return a fresh server's routes, with its own memory of faults."""
    routes: list[Any] = [
        (r"/v1/chat/completions", CompletionsHandler, {"faults": Faults()}),
        (r"/v1/models(?:/(.+))?", ModelsHandler),
    ]
    return Application(routes, default_handler_class=MissingHandler, log_function=lambda handler: None)


class Handler(RequestHandler):
    """Answers errors in OpenAI's shape, and knows when its client has left."""

    def prepare(self) -> None:
        self.gone = asyncio.Event()  # the client has left

    def on_connection_close(self) -> None:
        self.gone.set()

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if typ is not StreamClosedError:  # a client that leaves is no failure of the server
            super().log_exception(typ, value, tb)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        if self._headers_written:  # in the middle of an answer: its client sees that it broke
            self.detach().close()
        else:
            super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.fail(status_code, f"{self.request.method} {self.request.path} cannot be answered")

    def fail(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.set_status(status)
        self.finish({"error": {"message": message, "type": kind, "param": param, "code": code}})


class MissingHandler(Handler):
    """Answers every other path."""

    def prepare(self) -> None:
        super().prepare()
        served = "POST /v1/chat/completions and GET /v1/models"
        self.fail(404, f"no {self.request.path} here; the demo endpoint serves {served}", code="unknown_url")


class ModelsHandler(Handler):
    """Answers `GET /v1/models`."""

    def head(self, name: str | None = None) -> None:
        self.get(name)  # without the body, which tornado leaves out

    def get(self, name: str | None = None) -> None:
        self.finish(model_list() if name is None else model_entry(name))


class CompletionsHandler(Handler):
    """Answers `POST /v1/chat/completions`, faults included."""

    def initialize(self, faults: Faults) -> None:
        self.faults = faults

    async def post(self) -> None:
        try:
            body = read_request(self.request.body)
            completion = Completion.of(body)
        except InvalidRequest as error:
            return self.fail(400, str(error), error.param)
        fault = self.faults.of(body)
        if fault in ("429", "fails", "502"):
            return self.send_fault(fault)
        if not body.get("stream"):
            return await self.send_whole(completion, fault)
        include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return await self.send_stream(completion, fault, include_usage)

    def send_fault(self, fault: Fault) -> None:
        if fault == "429":
            self.set_header("Retry-After", "1")
            self.fail(429, BUSY, code="rate_limit_exceeded")
        else:
            self.set_status(500)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(FAILS if fault == "fails" else PASSING)

    async def send_whole(self, completion: Completion, fault: Fault | None) -> None:
        if fault == "stalls":
            await self.gone.wait()
            return
        await asyncio.sleep(FIRST_TOKEN_S)
        text = _json(completion.whole())
        self.set_header("Content-Type", "application/json")
        if fault == "truncates":
            await self.hang_up_after(text[: len(text) // 2])
        elif not self.gone.is_set():
            await self.finish(text)

    async def hang_up_after(self, part: bytes) -> None:
        self.write(part)
        await self.flush()
        self.detach().close()

    async def send_stream(self, completion: Completion, fault: Fault | None, include_usage: bool) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        chunks = list(completion.deltas())
        count = {"truncates": 1 + len(chunks) // 2, "stalls": 6}.get(fault or "", len(chunks))
        await self.send_chunks(chunks[:count])
        if fault == "stalls":
            await self.gone.wait()
        if self.gone.is_set():
            return
        if fault is None:
            for chunk in completion.closing(include_usage):
                self.write(_event(chunk))
            self.write(b"data: [DONE]\n\n")
        await self.finish()

    async def send_chunks(self, chunks: Iterable[dict[str, Any]]) -> None:
        """Send a token at a time, on a schedule, so that late wake-ups do not add up."""
        loop = asyncio.get_running_loop()
        due = loop.time() + FIRST_TOKEN_S
        for chunk in chunks:
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self.gone.is_set():
                return
            self.write(_event(chunk))
            await self.flush()
            due += PER_TOKEN_S


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + _json(chunk) + b"\n\n"


def _json(data: dict[str, Any]) -> bytes:
    """Return JSON in UTF-8; half a character, which a prompt may hold, becomes a question mark."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
