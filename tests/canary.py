"""The canary: a key that must never be seen, and a server that tells it in every way it can."""

# ruff: noqa: E501 - one row of a table is one line
from __future__ import annotations

import base64
import json
import urllib.parse
from pathlib import Path

from wire_server import Answer, Got, WireServer

KEY = "hl-c4naryBq7ZsXw0Kd9TgRf2LmVy"
FORMS = (
    KEY,
    urllib.parse.quote(KEY, safe=""),
    base64.b64encode(KEY.encode()).decode().rstrip("="),
    json.dumps(KEY)[1:-1].replace("-", "\\u002d"),
    KEY[3:],
)


def leaks(text: str | bytes) -> list[str]:
    """Where the key can be read in something, as it is or in another spelling of it."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    found = [text.find(form) for form in FORMS]
    return [text[max(at - 150, 0) : at + 60] for at in found if at >= 0]


def event(**fields: object) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()


def delta(finish_reason: str | None = None, **fields: object) -> bytes:
    return event(choices=[{"index": 0, "delta": fields, "finish_reason": finish_reason}])


END = delta(finish_reason="stop")


def split(size: int) -> list[str]:
    return [KEY[at : at + size] for at in range(0, len(KEY), size)]


def call(*pieces: str, name: str = "lookup") -> bytes:
    """A tool call whose arguments come in pieces."""
    begin = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": ""}}
    parts = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    return b"".join(delta(tool_calls=[part]) for part in (begin, *parts)) + delta(finish_reason="tool_calls")


def refusal(status: int, text: str) -> Answer:
    body = json.dumps({"error": {"message": text, "type": "x", "code": text}}).encode()
    return Answer(body, status, "application/json", framing="length")


# What a server does with the key it was sent: by the model asked for.
SAYS: dict[str, Answer] = {
    "whole": Answer(delta(content=f"Your key is {KEY}.") + END),
    "split": Answer(b"".join(delta(content=piece) for piece in ["Your key is ", *split(3), "."]) + END),
    "letters": Answer(b"".join(delta(content=piece) for piece in split(1)) + END),
    "thinks": Answer(b"".join(delta(reasoning_content=piece) for piece in split(4)) + delta(content="done") + END),
    "think-tags": Answer(b"".join(delta(content=piece) for piece in ["<think>", *split(2), "</think>", "done"]) + END),
    "cut": Answer(b"".join(delta(content=piece) for piece in ["It is ", *split(5)])),
    "facts": Answer(event(id=KEY, model=KEY, choices=[{"index": 0, "delta": {"content": "x"}, "finish_reason": KEY}])),
    "calls": Answer(call('{"of": "', *split(3), '"}')),
    "call-name": Answer(call("{}", name=KEY)),
    "body": Answer(json.dumps({"id": KEY, "model": KEY, "choices": [{"index": 0, "finish_reason": "stop", "message":
            {"role": "assistant", "content": KEY, "reasoning_content": KEY}}]}).encode(), 200, "application/json", framing="length"),
    "401": refusal(401, f"Incorrect API key provided: {KEY}"),
    "400": refusal(400, f"bad header 'Authorization: Bearer {KEY}'"),
    "404": refusal(404, f"model {KEY} not found"),
    "429": refusal(429, f"rate limit for {KEY}"),
    "500": refusal(500, f"upstream status code: 403, key {KEY}"),
    "text": Answer(f"denied: {KEY}".encode(), 403, "text/plain", framing="length"),
    "page": Answer(f"<html><title>{KEY}</title>{KEY}</html>".encode(), 200, "text/html", framing="length"),
    "redirect": Answer(b"", 302, None, (("Location", f"http://127.0.0.1:9/?key={KEY}"),), framing="length"),
    "in-stream": Answer(event(error={"message": f"bad key {KEY}", "code": 401})),
    "late-error": Answer(delta(content="x") + event(error={"message": f"bad key {KEY}"})),
    "raw-line": Answer(delta(content="x") + f"agent error: error, key {KEY}\n".encode()),
    "garbage": Answer(f"data: {{{KEY}\n\n".encode()),
    "header": Answer(b"", 503, None, (("X-Echo", KEY), ("Retry-After", KEY)), framing="length"),
    "status-line": Answer(b"", 500, head=f"HTTP/1.1 500 {KEY}\r\nContent-Length: 0\r\n\r\n".encode(), framing="length"),
    "no-http": Answer(b"", head=f"{KEY}\r\n\r\n".encode(), end="close"),
}  # fmt: skip


def answers(got: Got) -> Answer:
    """What the server says to a request, by the model asked for."""
    if got.method == "GET":
        return refusal(500, f"no models for {KEY}")
    asked = got.json
    if asked["messages"][-1]["role"] == "tool":
        return Answer(delta(content="thanks") + END)
    return SAYS[asked["model"]]


def sent(server: WireServer) -> str:
    """Everything a server was sent, but for the header where the key belongs."""
    parts = []
    for got in server.got:
        headers = {name: value for name, value in got.headers.items() if name != "authorization"}
        parts.append(f"{got.target} {headers} {got.body!r}")
    return "\n".join(parts)


def beside(folder: Path) -> bytes:
    """The bytes of every file in a folder: the log, its WAL, whatever else was left there."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
