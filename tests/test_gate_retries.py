"""What is tried again, when, and what never is: real servers that fail first and answer later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from wire_server import Answer, Got, WireServer
from wire_transcripts import AGENT_429, PARIS, ROLE, chunk, say, sse

import helix_nb as hx
from helix_nb.chat.ask import prepare
from helix_nb.messages import RetryPolicy

SLACK_S = 0.01  # clocks of two threads
BACKOFF_S = RetryPolicy().backoff_s


def connect(server: WireServer, **settings: Any) -> None:
    hx.connect(server.url, name="wire", **settings)


def first(*failures: Answer) -> Callable[[Got], Answer]:
    """A script that fails like that, once each, and answers from then on."""
    left = list(failures)
    return lambda _: left.pop(0) if left else Answer(PARIS)


def refusal(status: int, text: str = "", **headers: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(text.encode(), status, "text/plain", named, framing="length")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after_ms": "300"}, 0.3),
        ({"Retry_After": "0.3"}, 0.3),
        ({"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry_After": "Sun, 22 Nov 2026 10:00:01 GMT"}, 1.0),
    ],
)
def test_retry_after_is_honoured_in_every_spelling(headers: dict[str, str], wait_s: float) -> None:
    """The second request comes, and not before the time the server named; the log keeps one row."""
    with WireServer(first(refusal(429, **headers))) as server:
        connect(server)
        reply = hx.ask("Where?", model="m")
        assert (str(reply), reply.attempts, len(server.got)) == ("Paris", 2, 2)
        assert server.got[1].at - server.got[0].at >= wait_s - SLACK_S
    row = hx.log().iloc[0]
    assert len(hx.log()) == 1
    assert (row["status"], row["attempts"], row["http_status"], row["response"]) == ("ok", 2, 200, "Paris")


def test_an_error_that_no_waiting_helps_pauses_nobody() -> None:
    """Once the account is filled up again the next question is sent at once, whatever Retry-After said."""
    with WireServer(first(refusal(429, "insufficient_quota", Retry_After="3600"))) as server:
        connect(server)
        with pytest.raises(hx.QuotaExceeded) as caught:
            hx.ask("Where?", model="m")
        assert caught.value.retry_after_s == 3600
        assert str(hx.ask("Where?", model="m")) == "Paris"


def test_a_retry_after_of_nothing_is_a_backoff() -> None:
    """0 seconds, or a date that is past, does not mean at once and at once again."""
    past = {"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with WireServer(first(refusal(429, Retry_After="0"), refusal(429, **past))) as server:
        connect(server)
        assert hx.ask("Where?", model="m").attempts == 3
        waits = [b.at - a.at for a, b in pairwise(server.got)]
    assert waits[0] >= BACKOFF_S / 2 - SLACK_S and waits[1] >= BACKOFF_S - SLACK_S


def test_one_refusal_pauses_everyone() -> None:
    """Questions asked after a Retry-After wait for it too, without a refusal of their own."""
    with WireServer(first(refusal(429, Retry_After="0.6"))) as server, ThreadPoolExecutor(2) as pool:
        connect(server, retries=0)
        with pytest.raises(hx.RateLimited):
            hx.ask("Where?", model="m")
        others = [pool.submit(hx.ask, "And where?", model="m") for _ in range(2)]
        assert [str(other.result()) for other in others] == ["Paris"] * 2
        assert len(server.got) == 3
        assert all(got.at - server.got[0].at >= 0.6 - SLACK_S for got in server.got[1:])


def test_a_wait_nobody_would_sit_through_is_reported() -> None:
    """An hour of Retry-After fails at once, and so does the next question, without being sent."""
    with WireServer(first(refusal(429, Retry_After="3600"))) as server:
        connect(server)
        with pytest.raises(hx.RateLimited) as caught:
            hx.ask("Where?", model="m")
        assert caught.value.retry_after_s == 3600
        with pytest.raises(hx.RateLimited, match="asked everyone to wait") as again:
            hx.ask("Where?", model="m")
        assert 3500 < again.value.retry_after_s <= 3600
        assert len(server.got) == 1


def test_a_wait_is_for_one_key() -> None:
    """The server told one key to wait; the next question, with another key, is sent at once."""
    with WireServer(first(refusal(429, Retry_After="3600"))) as server:
        connect(server, key="sk-the-first-of-two")
        with pytest.raises(hx.RateLimited):
            hx.ask("Where?", model="m")
        connect(server, key="sk-the-second-of-two")
        assert str(hx.ask("Where?", model="m")) == "Paris"
        connect(server, key="sk-the-first-of-two")
        with pytest.raises(hx.RateLimited, match="asked everyone to wait"):
            hx.ask("Where?", model="m")
        assert len(server.got) == 2


PASSING = {
    "500 quoting an upstream 429": refusal(500, AGENT_429),
    "503": refusal(503, "Authentication service temporarily unavailable"),
    "529": refusal(529, '{"error": {"type": "overloaded_error", "message": "Overloaded"}}'),
    "a reset before any byte": Answer(head=b"", framing="none", end="reset"),
    "an error in the stream before any text": Answer(sse(ROLE, {"error": {"message": "busy", "code": 503}})),
    "a raw agent error before any text": Answer(AGENT_429.encode() + b"\n"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again(name: str) -> None:
    """Nothing of the answer had arrived, so the second try is the answer."""
    with WireServer(first(PASSING[name])) as server:
        connect(server)
        reply = hx.ask("Where?", model="m")
        assert (str(reply), reply.status, reply.attempts) == ("Paris", "ok", 2)
        assert len(server.got) == 2
        assert server.got[0].body == server.got[1].body


LASTING = {
    "BadRequest": refusal(400, "json: cannot unmarshal"),
    "AuthError": refusal(401, "unauthorized"),
    "QuotaExceeded": refusal(500, "insufficient balance"),
    "UnknownModel": refusal(500, 'model "m" is not available (currently configured: a)'),
    "NotAllowed": refusal(403, "Not authorized to access app: app_1"),
    "ConfigError": Answer(b"<html>", content_type="text/html"),
}


@pytest.mark.parametrize("name", LASTING)
def test_what_will_not_pass_is_not_tried_again(name: str) -> None:
    """One request, one row, the error's own class."""
    with WireServer(first(LASTING[name])) as server:
        connect(server)
        with pytest.raises(hx.HelixError) as caught:
            hx.ask("Where?", model="m")
        assert (type(caught.value).__name__, caught.value.retryable) == (name, False)
        assert (len(server.got), caught.value.reply.attempts) == (1, 1)


BEGUN = {
    "text, then an error": (
        sse(say("Par"), {"error": {"message": "busy", "code": 503}}),
        "keep",
        "StreamFailed",
    ),
    "text, then a break": (sse(say("Par")), "drop", "TruncatedReply"),
    "text, then a raw 429": (sse(say("Par")) + AGENT_429.encode() + b"\n", "keep", "StreamFailed"),
    "a thought, then an error": (
        sse(chunk({"reasoning_content": "hm"}), {"error": {"message": "busy", "code": 503}}),
        "keep",
        "StreamFailed",
    ),
}


@pytest.mark.parametrize("name", BEGUN)
def test_an_answer_that_has_begun_is_never_asked_for_again(name: str) -> None:
    """A second try would double text and cost: one request, what arrived is kept."""
    content, end, error = BEGUN[name]
    with WireServer(first(Answer(content, end=end))) as server:
        connect(server)
        with pytest.raises(hx.HelixError) as caught:
            hx.ask("Where?", model="m")
        assert type(caught.value).__name__ == error
        assert caught.value.reply.text + caught.value.reply.reasoning in ("Par", "hm")
        assert len(server.got) == 1


def test_a_silent_server_is_not_asked_twice() -> None:
    """It may be working on the answer: no first byte is an error, no second request."""
    with WireServer(first(Answer(head=b"", framing="none", end="hang"))) as server:
        connect(server, first_byte_timeout_s=0.2)
        with pytest.raises(hx.TimedOut):
            hx.ask("Where?", model="m")
        assert len(server.got) == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_retries_are_counted(retries: int) -> None:
    """`retries` is how many more requests there may be; the last error is the one raised and recorded."""
    with WireServer(lambda _: refusal(500, "timeout waiting for runner response")) as server:
        connect(server, retries=retries)
        with pytest.raises(hx.ServerError) as caught:
            hx.ask("Where?", model="m")
        assert (len(server.got), caught.value.reply.attempts) == (retries + 1, retries + 1)
    assert hx.log()[["status", "error_type", "attempts"]].values.tolist() == [
        ["error", "ServerError", retries + 1]
    ]


def test_a_wait_between_tries_can_be_left() -> None:
    """Stopping during a Retry-After, or running out of `timeout`, ends it: nothing more is sent."""
    refused = threading.Event()

    def script(_: Got) -> Answer:
        refused.set()
        return refusal(429, Retry_After="60")

    with WireServer(script) as server:
        connect(server)
        with pytest.raises(hx.TimedOut, match="timeout="):
            hx.ask("Where?", model="m", timeout=0.3)
    refused.clear()
    with WireServer(script) as other:
        connect(other)
        running = prepare("Where?", model="m").begin()
        assert refused.wait(5)
        assert running.cancel().status == "interrupted"
        assert (len(server.got), len(other.got)) == (1, 1)
    assert sorted(hx.log()["status"]) == ["error", "interrupted"]
