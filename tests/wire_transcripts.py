"""What servers really send, as bytes, and what has to become of it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

NO_USAGE = (None, None, None)
USAGE = {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32}


@dataclass(frozen=True)
class Wire:
    """One transcript: the answer's bytes, and the Reply, error and requests that must come of it."""

    name: str
    body: bytes
    text: str = ""
    status: str = "ok"
    reasoning: str = ""
    usage: tuple[int | None, int | None, int | None] = NO_USAGE
    finish_reason: str | None = None
    error: str | None = None  # the class of the error
    says: tuple[str, ...] = ()  # what its sentence holds
    http_status: int = 200  # what the log keeps
    http: int = 200  # what the server sends
    content_type: str | None = "text/event-stream"
    framing: str = "chunked"
    end: str = "keep"
    headers: tuple[tuple[str, str], ...] = ()
    requests: int = 1
    ask: dict[str, Any] = field(default_factory=dict)
    retryable: bool | None = None
    retry_after_s: float | None = None
    model: str | None = None
    response_id: str | None = None


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "oai_1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def say(text: Any) -> dict[str, Any]:
    return chunk({"content": text})


def sse(*frames: Any, end: str = "\n\n", lead: str = "data: ") -> bytes:
    return "".join(
        (lead + (frame if isinstance(frame, str) else json.dumps(frame)) + end) for frame in frames
    ).encode()


def body(text: Any, finish: str | None = "stop", **more: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps(
        {"id": "oai_1", "object": "chat.completion", "model": "m", "choices": [choice], **more}
    ).encode()


ROLE = chunk({"role": "assistant"})
STOP = chunk(finish="stop")
COUNT = chunk(usage=USAGE) | {"choices": []}
PARIS = sse(ROLE, say("Par"), say("is"), STOP, COUNT)
DONE = "[DONE]"
GZIP = (("Content-Encoding", "gzip"),)
AGENT_429 = "agent error: error, status code: 429, status: 429 Too Many Requests, message: slow down"


def plain(name: str, body: bytes, **more: Any) -> Wire:
    """An answer that comes to "Paris" and stops."""
    return Wire(name, body, text="Paris", finish_reason="stop", **more)


def cut(name: str, body: bytes, text: str = "Par", **more: Any) -> Wire:
    return Wire(name, body, text=text, status="truncated", error="TruncatedReply", **more)


def failed(name: str, body: str, error: str, status: int, http: int = 500, *says: str, **more: Any) -> Wire:
    """An error before any answer."""
    more.setdefault("content_type", "text/plain; charset=utf-8")
    return Wire(
        name,
        body.encode(),
        status="error",
        error=error,
        http_status=status,
        http=http,
        says=says,
        framing="length",
        **more,
    )


def broken(
    name: str, body: bytes, *says: str, text: str = "Par", error: str = "StreamFailed", **more: Any
) -> Wire:
    """An error inside a 200 answer."""
    return Wire(name, body, text=text, status="error", error=error, says=says, **more)


def openai_error(message: str, code: Any = None, **more: Any) -> str:
    return json.dumps({"error": {"message": message, "code": code, **more}})


STREAMS = [
    plain(
        "helix: role, content, finish, usage with choices [], no [DONE]",
        PARIS,
        usage=(24, 8, 32),
        model="m",
        response_id="oai_1",
    ),
    plain("openai: the same with [DONE]", PARIS + sse(DONE), usage=(24, 8, 32)),
    Wire("[DONE] without a finish_reason", sse(say("Paris"), DONE), text="Paris"),
    plain("anything after [DONE] is ignored", sse(say("Paris"), STOP, DONE, say("!"), {"error": "late"})),
    plain("no space after data:", sse(say("Paris"), STOP, lead="data:")),
    plain("CRLF", sse(say("Par"), say("is"), STOP, end="\r\n\r\n")),
    plain("lone CR", sse(say("Par"), say("is"), STOP, end="\r\r")),
    plain(
        "mixed line ends",
        sse(say("Par"), end="\r\n\n") + sse(say("is"), end="\n\r") + sse(STOP, end="\r\r\n"),
    ),
    plain("a BOM at the start", b"\xef\xbb\xbf" + sse(say("Paris"), STOP)),
    plain("no blank line before the close", sse(say("Paris")) + sse(STOP, end="")),
    plain("no blank lines at all", sse(say("Par"), say("is"), STOP, end="\n")),
    plain(
        "comments as keep-alives",
        b": OPENROUTER PROCESSING\n\n" + sse(say("Par")) + b": keepalive 512/2048\n" + sse(say("is"), STOP),
    ),
    plain("id, retry and event fields", b"retry: 10\nid: 7\nevent: message\n" + sse(say("Paris"), STOP)),
    plain(
        "an event over two data lines",
        b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "Paris"}}]}\n\n' + sse(STOP),
    ),
    plain("empty data and data without a colon", b"data:\n\ndata\n\n" + sse(say("Paris"), STOP, "null")),
    plain("unknown events are no error", sse({"type": "ping"}, say("Paris"), STOP)),
    plain("HTTP/1.0, delimited by the close", PARIS, framing="close", usage=(24, 8, 32)),
    plain("no content type", PARIS, content_type=None, usage=(24, 8, 32)),
    plain("content type text/plain", PARIS, content_type="text/plain", usage=(24, 8, 32)),
    plain("the connection breaks after the finish", sse(say("Paris"), STOP), end="drop"),
    Wire(
        "UTF-8 split anywhere",
        sse(json.dumps(say("Zürich, 東京 🗼"), ensure_ascii=False), STOP),
        text="Zürich, 東京 🗼",
        finish_reason="stop",
    ),
    Wire(
        "raw U+2028 and U+0085 in a string",
        sse(json.dumps(say("a\u2028b\u0085c"), ensure_ascii=False), STOP),
        text="a\u2028b\u0085c",
        finish_reason="stop",
    ),
    Wire(
        "a raw \\x0b, form feed, tab and NUL in a string",
        sse(json.dumps(say("a?b")).replace("?", "\x0b\x0c\t\x00"), STOP),
        text="a\x0b\x0c\t\x00b",
        finish_reason="stop",
    ),
    Wire(
        "invalid UTF-8 becomes U+FFFD",
        b'data: {"choices":[{"delta":{"content":"a\xff"}}]}\n\n' + sse(STOP),
        text="a\ufffd",
        finish_reason="stop",
    ),
    plain(
        "null and empty contents",
        sse(say(None), say(""), chunk() | {"choices": [{"index": 0, "delta": None}]}, say("Paris"), STOP),
    ),
    plain(
        "choices [] first, null, and [{}]",
        sse({"choices": []}, {"choices": None}, {"choices": [{}]}, say("Paris"), STOP),
    ),
    plain(
        "several choices: index 0 only",
        sse(
            {"choices": [{"index": 1, "delta": {"content": "Rome"}, "finish_reason": "length"}]},
            {
                "choices": [
                    {"index": 1, "delta": {"content": "!"}},
                    {"index": 0, "delta": {"content": "Paris"}},
                ]
            },
            STOP,
        ),
    ),
    plain("error: null is no error", sse(say("Paris") | {"error": None}, STOP | {"error": None})),
    plain(
        "content as parts", sse(say([{"type": "text", "text": "Par"}, {"type": "text", "text": "is"}]), STOP)
    ),
    Wire(
        "a refusal is the answer",
        sse(chunk({"refusal": "I will not."}), STOP),
        text="I will not.",
        finish_reason="stop",
    ),
    Wire(
        "cut at max_tokens is ok, and says length",
        sse(say("Par"), chunk(finish="length")),
        text="Par",
        finish_reason="length",
    ),
    Wire("an empty answer that finished", sse(ROLE, STOP), finish_reason="stop"),
    plain(
        "JSON although a stream was asked for",
        body("Paris", usage=USAGE),
        content_type="application/json",
        usage=(24, 8, 32),
    ),
    plain(
        "the same JSON, indented over lines",
        json.dumps(json.loads(body("Paris")), indent=2).encode(),
        content_type="application/json",
    ),
    plain("the same JSON under the name of an event stream", body("Paris")),
    plain(
        "not streamed",
        body("Paris", usage=USAGE),
        content_type="application/json",
        framing="length",
        ask={"stream": False},
        usage=(24, 8, 32),
    ),
    Wire(
        "not streamed, finish_reason null: complete (agents)",
        body("Paris", None),
        text="Paris",
        content_type="application/json",
        ask={"stream": False},
    ),
    plain("a stream although none was asked for", PARIS, ask={"stream": False}, usage=(24, 8, 32)),
]

STREAMS += [
    plain("gzip, though nobody asked for it", gzip.compress(PARIS), headers=GZIP, usage=(24, 8, 32)),
    plain("a megabyte in one line", sse({"padding": "x" * 1_000_000}, say("Paris"), STOP)),
    plain(
        "a hundred choices and deep nesting",
        sse({"choices": [{"index": i} for i in range(100)]}, {"deep": [[[[[]]]]]}, say("Paris"), STOP),
    ),
]

USAGES = [
    plain("usage null on each chunk", sse(say("Paris") | {"usage": None}, STOP | {"usage": None})),
    plain(
        "counts that no model has are unknown, and their row is kept",
        sse(say("Paris"), STOP, chunk(usage={"prompt_tokens": 2**63 - 1, "completion_tokens": 2**63 - 1})),
    ),
    plain(
        "usage all zero is unknown",
        sse(say("Paris"), STOP, chunk(usage=dict.fromkeys(USAGE, 0)) | {"choices": []}),
    ),
    plain(
        "zeros after real numbers do not count",
        sse(say("Paris"), STOP | {"usage": USAGE}, COUNT | {"usage": dict.fromkeys(USAGE, 0)}),
        usage=(24, 8, 32),
    ),
    plain(
        "usage growing on each chunk: the last, no sum",
        sse(
            say("Par") | {"usage": {"prompt_tokens": 24, "completion_tokens": 1, "total_tokens": 25}},
            say("is") | {"usage": USAGE},
            STOP | {"usage": USAGE},
        ),
        usage=(24, 8, 32),
    ),
    plain(
        "input_tokens and output_tokens",
        sse(say("Paris"), STOP | {"usage": {"input_tokens": 24, "output_tokens": 8}}),
        usage=(24, 8, 32),
    ),
    plain(
        "only some counts", sse(say("Paris"), STOP | {"usage": {"prompt_tokens": 24}}), usage=(24, None, None)
    ),
    plain(
        "counts that are no counts",
        sse(
            say("Paris"),
            STOP | {"usage": {"prompt_tokens": "24", "completion_tokens": -8, "total_tokens": True}},
        ),
    ),
    plain("usage that is no object", sse(say("Paris"), STOP | {"usage": "much"})),
    plain(
        "not streamed, zeros (agents): unknown",
        body("Paris", usage=dict.fromkeys(USAGE, 0)),
        content_type="application/json",
        ask={"stream": False},
    ),
]

THOUGHTS = [
    plain(
        "reasoning_content",
        sse(chunk({"reasoning_content": "hm"}), chunk({"reasoning_content": "m"}), say("Paris"), STOP),
        reasoning="hmm",
    ),
    plain("reasoning", sse(chunk({"reasoning": "hm", "content": ""}), say("Paris"), STOP), reasoning="hm"),
    plain(
        "both names, the same thought once",
        sse(chunk({"reasoning": "hm", "reasoning_content": "hm"}), say("Paris"), STOP),
        reasoning="hm",
    ),
    plain(
        "inline think, split over chunks",
        sse(say("<th"), say("ink>h"), say("m</t"), say("hink>\n\nPar"), say("is"), STOP),
        reasoning="hm",
    ),
    plain(
        "inline think, escaped",
        b'data: {"choices":[{"delta":{"content":"\\u003cthink\\u003ehm\\u003c/think\\u003eParis"}}]}\n\n'
        + sse(STOP),
        reasoning="hm",
    ),
    Wire(
        "think without its end",
        sse(say("<think>hm"), say(" and so on"), STOP),
        reasoning="hm and so on",
        finish_reason="stop",
    ),
    plain("think doubled", sse(say("<think><think>hm</think></think>Paris"), STOP), reasoning="hm"),
    plain("two thoughts", sse(say("<think>a</think>\n<think>b</think>Paris"), STOP), reasoning="a\nb"),
    plain("only the closing half", sse(say("</think>"), say("\nParis"), STOP)),
    plain("an empty thought", sse(say("<think>\n\n</think>\n\nParis"), STOP)),
    Wire(
        "tags after the answer has begun are text",
        sse(say("Use <think> and "), say("</think>."), STOP),
        text="Use <think> and </think>.",
        finish_reason="stop",
    ),
    Wire(
        "what only looks like a tag",
        sse(say("  <thin"), say("g> of Paris"), STOP),
        text="  <thing> of Paris",
        finish_reason="stop",
    ),
    Wire("half a tag is all there is", sse(say("<thi"), STOP), text="<thi", finish_reason="stop"),
    plain(
        "not streamed, inline think",
        body("<think>hm</think>Paris"),
        content_type="application/json",
        ask={"stream": False},
        reasoning="hm",
    ),
]

CUTS = [
    cut("a clean end without a finish", sse(ROLE, say("Par"))),
    cut("the connection breaks in mid-answer", sse(ROLE, say("Par")), end="drop"),
    cut(
        "the connection breaks in mid-frame",
        sse(say("Par")) + b'data: {"choices":[{"delta":{"con',
        framing="close",
    ),
    cut("the connection breaks in a field's name", sse(say("Par")) + b"da", framing="close"),
    cut("gzip that ends in the middle", gzip.compress(sse(say("Par"), STOP))[:-20], headers=GZIP),
    cut("nothing but headers", b"", ""),
    cut("nothing but comments", b": ping\n\n: ping\n\n", ""),
    cut("204", b"", "", http=204, http_status=204, framing="none", content_type=None),
    cut(
        "a JSON body that is cut",
        body("Paris")[:-30],
        "",
        content_type="application/json",
        framing="close",
        ask={"stream": False},
    ),
]

INSIDE = [
    broken(
        "raw agent error after text",
        sse(say("Par")) + AGENT_429.encode() + b"\n",
        "slow down",
        http_status=429,
    ),
    broken(
        "raw agent error after text, without blank lines",
        sse(say("Par"), say("is"), end="\n") + AGENT_429.encode() + b"\n",
        "slow down",
        text="Paris",
        http_status=429,
        retryable=False,
    ),
    broken(
        "raw agent error after text, without any line end",
        sse(say("Par"), end="\n") + AGENT_429.encode(),
        "slow down",
        http_status=429,
    ),
    broken(
        "raw agent error before text",
        AGENT_429.encode() + b"\n",
        "slow down",
        text="",
        error="RateLimited",
        http_status=429,
        retryable=True,
    ),
    broken(
        "raw agent error, no line end, held thought",
        sse(say("Par"), say("is <")) + b"agent error: no runner",
        "no runner",
        text="Paris <",
    ),
    broken(
        "error object after text",
        sse(say("Par"), {"error": {"message": "out of memory", "code": 500}}),
        "out of memory",
        http_status=500,
    ),
    broken(
        "error object before text",
        sse({"error": {"message": "overloaded", "code": 503}}),
        "overloaded",
        text="",
        error="ServerError",
        http_status=503,
        retryable=True,
    ),
    broken("error as text before text: its meaning is unknown", sse({"error": "boom"}), "boom", text=""),
    broken(
        "event: error",
        sse(say("Par")) + b'event: error\ndata: {"message": "GPU fell off"}\n\n',
        "GPU fell off",
    ),
    broken(
        "event: error with words", sse(say("Par")) + b"event: error\ndata: GPU fell off\n\n", "GPU fell off"
    ),
    broken(
        "error: as a field",
        sse(say("Par")) + b'error: {"code": 500, "message": "slot unavailable"}\n\n',
        "slot unavailable",
        http_status=500,
    ),
    broken(
        '{"object": "error"}',
        sse({"object": "error", "message": "The model `m` does not exist.", "code": 404}),
        "'m'",
        "hx.models()",
        text="",
        error="UnknownModel",
        http_status=404,
        retryable=False,
    ),
    broken(
        "finish_reason error",
        sse(say("Par"), chunk(finish="error")),
        "finish_reason: error",
        finish_reason="error",
    ),
    broken(
        "finish_reason error with its reason",
        sse(say("Par"), chunk(finish="error") | {"error": {"message": "Provider disconnected", "code": 502}}),
        "Provider disconnected",
        http_status=502,
    ),
    broken(
        "a bare JSON error in a stream",
        json.dumps({"error": {"message": "quota", "type": "insufficient_quota"}}, indent=1).encode(),
        "quota",
        text="",
        error="QuotaExceeded",
    ),
    broken(
        "a JSON error with status 200",
        openai_error("Rate limit reached", "rate_limit_exceeded").encode(),
        "Rate limit",
        text="",
        error="RateLimited",
        content_type="application/json",
        ask={"stream": False},
    ),
    broken("a frame that is not JSON", sse(say("Par"), "{oops}"), "{oops}", "not part of an answer"),
    broken("a frame that is JSON but no object", sse(say("Par"), "[1, 2]"), "[1, 2]"),
    broken(
        "HTML in mid-stream",
        sse(say("Par")) + b"<html><title>502 Bad Gateway</title></html>\n",
        "502 Bad Gateway",
    ),
    broken(
        "JSON that is no completion",
        b'{"ok": true}',
        '{"ok": true}',
        text="",
        content_type="application/json",
        ask={"stream": False},
    ),
    broken(
        "a web page",
        b"<!doctype html><title>Helix</title>",
        "web page",
        "/v1",
        text="",
        error="ConfigError",
        content_type="text/html; charset=utf-8",
    ),
    broken(
        "a web page without its content type",
        b"<!DOCTYPE html>\n<title>Helix</title>",
        "web page",
        text="",
        error="ConfigError",
        content_type=None,
    ),
    broken(
        "gzip that is none",
        b"not gzip at all",
        "decompressed",
        text="",
        headers=(("Content-Encoding", "gzip"),),
    ),
]

REFUSED = [
    failed(
        "401 wrong key", "error getting API key: not found", "AuthError", 401, 401, "key", retryable=False
    ),
    failed("401 unauthorized", "unauthorized\n", "AuthError", 401, 401, "none was sent"),
    failed("403 agent not yours", "Not authorized to access app: app_1", "NotAllowed", 403, 403, "app_1"),
    failed(
        "403 agent key on another path",
        "path not allowed for app API keys, use /v1/chat/completions",
        "NotAllowed",
        403,
        403,
        "valid agent key",
    ),
    failed(
        "400 unmarshal",
        "json: cannot unmarshal string into Go struct field",
        "BadRequest",
        400,
        400,
        "cannot unmarshal",
        retryable=False,
    ),
    failed("500 quoting 429", AGENT_429, "RateLimited", 429, 500, "slow down", retryable=True),
    failed(
        "500 quoting 401",
        "error, status code: 401, status: 401 Unauthorized, message: bad",
        "AuthError",
        401,
        500,
        "provider behind",
        retryable=False,
    ),
    failed(
        "500 quoting 404",
        "error, status code: 404, status: 404 Not Found, message: no route",
        "BadRequest",
        404,
        retryable=False,
    ),
    failed(
        "500 quoting 400",
        "error, status code: 400, message: bad schema",
        "BadRequest",
        400,
        500,
        "bad schema",
        retryable=False,
    ),
    failed(
        "500 quoting 502 with a page",
        "error, status code: 502, status: 502 Bad Gateway, body: <html><h1>x</h1></html>",
        "ServerError",
        502,
        retryable=True,
    ),
    failed("500 balance", "insufficient balance", "QuotaExceeded", 500, 500, "balance", retryable=False),
    failed(
        "500 token limit",
        "monthly token limit exceeded for this account",
        "QuotaExceeded",
        500,
        retryable=False,
    ),
    failed(
        "500 subscription",
        "org_1 does not have an active subscription",
        "QuotaExceeded",
        500,
        retryable=False,
    ),
    failed(
        "500 unknown model with a list",
        'model "qwen9" is not available (currently configured: qwen3:8b, llama3:instruct)',
        "UnknownModel",
        500,
        500,
        "qwen3:8b, llama3:instruct",
        "'qwen9'",
        retryable=False,
        ask={"model": "qwen9"},
    ),
    failed(
        "500 model not in the provider",
        "model x is not configured in the default provider openai",
        "UnknownModel",
        500,
        retryable=False,
    ),
    failed(
        "500 runner timeout",
        "timeout waiting for runner response",
        "ServerError",
        500,
        500,
        "runner",
        retryable=True,
    ),
    failed("500 runner upstream", "runner error: upstream 503", "ServerError", 503, retryable=True),
    failed(
        "503 authentication service",
        "Authentication service temporarily unavailable",
        "ServerError",
        503,
        503,
        "temporarily",
        retryable=True,
    ),
    failed(
        "openai: 404 unknown model",
        openai_error("The model `x` does not exist", "model_not_found"),
        "UnknownModel",
        404,
        404,
        retryable=False,
    ),
    failed(
        "ollama: 404 unknown model",
        openai_error('model "x" not found, try pulling it first'),
        "UnknownModel",
        404,
        404,
    ),
    failed(
        "openai: 429 quota",
        openai_error(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
        "QuotaExceeded",
        429,
        429,
        retryable=False,
    ),
    failed(
        "openai: context length",
        openai_error("This model's maximum context length is 10 tokens", "context_length_exceeded"),
        "BadRequest",
        400,
        400,
        "maximum context length",
    ),
    failed("402", "Payment Required", "QuotaExceeded", 402, 402, retryable=False),
    failed(
        "429, Retry-After in seconds",
        "",
        "RateLimited",
        429,
        429,
        retry_after_s=2.5,
        headers=(("Retry-After", "2.5"),),
    ),
    failed(
        "429, retry-after-ms",
        "",
        "RateLimited",
        429,
        429,
        retry_after_s=1.5,
        headers=(("retry-after-ms", "1500"), ("Retry-After", "9")),
    ),
    failed(
        "429, Retry-After as a date",
        "",
        "RateLimited",
        429,
        429,
        retry_after_s=30.0,
        headers=(("Date", "Sun, 22 Nov 2026 10:00:00 GMT"), ("Retry-After", "Sun, 22 Nov 2026 10:00:30 GMT")),
    ),
    failed(
        "429, Retry-After nobody can read", "", "RateLimited", 429, 429, headers=(("Retry-After", "soon"),)
    ),
    failed(
        "529 overloaded",
        '{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}',
        "ServerError",
        529,
        529,
        "Overloaded",
        retryable=True,
    ),
    failed('{"error": "text"}', '{"error": "no GPU left"}', "ServerError", 500, 500, "It said: no GPU left"),
    failed('{"detail": "text"}', '{"detail": "Not here"}', "BadRequest", 404, 404, "It said: Not here"),
    failed(
        '{"detail": [...]}',
        '{"detail": [{"loc": ["body", "n"], "msg": "must be positive"}]}',
        "BadRequest",
        422,
        422,
        "must be positive",
    ),
    failed(
        '{"message": "text"}',
        '{"message": "Forbidden zone"}',
        "NotAllowed",
        403,
        403,
        "It said: Forbidden zone",
    ),
    failed(
        '{"error": true, "message": "text"}',
        '{"error": true, "message": "no GPU left"}',
        "ServerError",
        500,
        500,
        "It said: no GPU left",
    ),
    failed(
        '{"error": "title", "message": "text"}',
        '{"statusCode": 400, "error": "Bad Request", "message": "n must be positive"}',
        "BadRequest",
        400,
        400,
        "It said: Bad Request: n must be positive",
    ),
    failed(
        '{"error": {"code": n}, "message": "text"}',
        '{"error": {"code": 7}, "message": "no GPU left"}',
        "ServerError",
        500,
        500,
        "It said: no GPU left",
    ),
    failed("an empty body", "", "ServerError", 500, 500, "status 500", retryable=True),
    failed(
        "a page of HTML",
        "<html><head><title>504 Gateway &amp; Time-out</title></head><body>" + "x" * 500,
        "ServerError",
        504,
        504,
        "504 Gateway & Time-out",
        content_type="text/html",
    ),
    failed(
        "an event stream with an error status",
        'data: {"error": {"message": "bad n"}}\n\ndata: [DONE]\n\n',
        "BadRequest",
        400,
        400,
        "It said: bad n",
        content_type="text/event-stream",
    ),
    failed(
        "control characters and escapes",
        "\x1b[31mred\x1b[0m\x07 alarm",
        "ServerError",
        500,
        500,
        "It said: red alarm",
    ),
    failed("a very long body", "no. " * 1_000_000, "BadRequest", 400, 400, "…"),
    failed(
        "a redirect to another host",
        "",
        "ConfigError",
        307,
        307,
        "https://evil.example/v1",
        headers=(("Location", "https://evil.example/v1?x=1"),),
    ),
    failed("a redirect to nowhere", "", "ConfigError", 302, 302, "nowhere"),
]

TRANSCRIPTS = STREAMS + USAGES + THOUGHTS + CUTS + INSIDE + REFUSED
