"""Either library carries the same bytes to the same Reply: the wire table over httpx, and its closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from test_wire import _answer, _asked
from wire_server import Answer, WireServer
from wire_transcripts import TRANSCRIPTS, Wire

import helix_nb as hx
from helix_nb.endpoints.transports import transport_for
from helix_nb.runtime.loop import run_sync

CARRIERS = ("aiohttp", "httpx")


@pytest.mark.parametrize("wire", TRANSCRIPTS, ids=lambda wire: wire.name)
def test_httpx_carries_a_transcript_to_the_same_reply(wire: Wire) -> None:
    """Text, reasoning, status, usage, error and the number of requests are those of the wire table."""
    with WireServer(_answer(wire, 3)) as server:
        hx.connect(server.url, name="wire", retries=0, carrier="httpx")
        reply, error = _asked(wire)
        assert len(server.got) == wire.requests
    usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens)
    assert (reply.text, reply.reasoning, reply.status) == (wire.text, wire.reasoning, wire.status)
    assert (reply.finish_reason, usage) == (wire.finish_reason, wire.usage)
    assert (type(error).__name__ if error else None) == wire.error
    assert all(words in str(error) for words in wire.says)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_connection_is_used_again_and_replaced_when_the_server_closed_it(carrier: str) -> None:
    """Two answers share a connection; one the server closed meanwhile costs no second request."""
    body = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}'
    answers = [Answer(body, framing="length", content_type="application/json", end=end) for end in ENDS]
    with WireServer(lambda _: answers.pop(0)) as server:
        hx.connect(server.url, name="kept", retries=0, carrier=carrier)
        assert [hx.ask("?", model="m", stream=False).text for _ in ENDS] == ["yes"] * len(ENDS)
        assert (len(server.got), server.connections) == (len(ENDS), 2)


ENDS = ("keep", "keep", "close", "keep")


@dataclass(frozen=True)
class _InTwoParts(Answer):
    """The first piece, and after `go` the second one and the end of the connection."""

    go: threading.Event = field(default_factory=threading.Event)
    sent: threading.Event = field(default_factory=threading.Event)

    def pieces(self) -> Iterator[bytes]:
        chunk = b'data: {"choices": [{"delta": {"content": "half "}}]}\n\n'
        for number in range(2):
            yield b"%x\r\n%s\r\n" % (len(chunk), chunk)
            assert number or self.go.wait(10)
        self.sent.set()


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_slow_reader_leaves_the_rest_on_the_socket() -> None:
    """Between two reads the loop takes nothing off the socket; the next read gets it, and nothing is lost."""
    answer = _InTwoParts(end="keep")
    with WireServer(answer) as server:
        connection = hx.connect(server.url, name="slow", retries=0, carrier="aiohttp")
        url = f"{server.url}/chat/completions"

        async def read() -> tuple[bool, bytes]:
            carrier = transport_for(connection, url)
            response = await carrier.send("POST", url, {}, b"{}", first_byte_s=10)
            whole = await response.read(10)
            await _turns()
            listening = response._socket.is_reading()
            answer.go.set()
            while whole.count(b"half ") < 2:
                whole += await response.read(10)
            await response.aclose()
            await carrier.aclose()
            return listening, whole

        listening, whole = run_sync(read())
    assert not listening and whole.count(b"half ") == 2


@pytest.mark.parametrize("carrier", CARRIERS)
def test_what_arrived_before_a_break_is_kept(carrier: str) -> None:
    """Bytes that nobody had read when the connection broke are part of the answer all the same."""
    answer = _InTwoParts(end="drop")
    server = WireServer(answer)
    try:
        hx.connect(server.url, name="broken", retries=0, carrier=carrier)
        stream = hx.stream("?", model="m")
        pieces = iter(stream.__enter__())
        next(pieces)
        answer.go.set()
        assert answer.sent.wait(10)
    finally:
        server.close()  # returns when the server's side is closed
    run_sync(_turns())
    with pytest.raises(hx.TruncatedReply):
        list(pieces)
    assert stream.reply.text == "half half " and stream.reply.status == "truncated"


@pytest.mark.parametrize(
    ("carrier", "head"),
    [
        ("aiohttp", b"HTTP/1.1 200 OK\r\nConte"),  # to httpcore this is a hang-up like any other
        ("aiohttp", b"no HTTP at all\r\n\r\n"),
        ("httpx", b"no HTTP at all\r\n\r\n"),
    ],
)
def test_an_answer_that_began_is_never_asked_for_again(carrier: str, head: bytes) -> None:
    """A kept connection on which some bytes of an answer came is not replaced: it was worked for."""
    body = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}'
    answers = [Answer(body, framing="length"), Answer(head=head, framing="none", end="close")]
    with WireServer(lambda _: answers.pop(0)) as server:
        hx.connect(server.url, name="begun", retries=0, carrier=carrier)
        assert hx.ask("?", model="m", stream=False).text == "yes"
        with pytest.raises(hx.ConnectionFailed) as caught:
            hx.ask("?", model="m", stream=False)
        assert len(server.got) == 2 and "RawResponse" not in str(caught.value)


@dataclass(frozen=True)
class _AndAnother(Answer):
    """After the answer, and after `go`, one more that nobody asked for; the connection stays open."""

    go: threading.Event = field(default_factory=threading.Event)
    sent: threading.Event = field(default_factory=threading.Event)

    def pieces(self) -> Iterator[bytes]:
        yield self.body
        assert self.go.wait(10)
        yield self.raw_head() + self.body.replace(b"yes", b"no!")
        self.sent.set()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_answer_that_nobody_asked_for_is_never_the_next_one(carrier: str) -> None:
    """A kept connection on which more bytes came is dropped, not used for the next request."""
    body = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}'
    first = _AndAnother(body, framing="length")
    answers = [first, Answer(body, framing="length")]
    with WireServer(lambda _: answers.pop(0)) as server:
        hx.connect(server.url, name="eager", retries=0, carrier=carrier)
        assert hx.ask("?", model="m", stream=False).text == "yes"
        first.go.set()
        assert first.sent.wait(10)
        run_sync(_turns())
        assert hx.ask("?", model="m", stream=False).text == "yes"
        assert (len(server.got), server.connections) == (2, 2)


@dataclass(frozen=True)
class _Garbled(Answer):
    """A piece of the answer, and after `go` bytes that are no chunk."""

    go: threading.Event = field(default_factory=threading.Event)

    def pieces(self) -> Iterator[bytes]:
        yield b"%x\r\n%s\r\n" % (len(self.body), self.body)
        assert self.go.wait(10)
        yield b"no chunk\r\n"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_answer_whose_framing_breaks_is_cut_at_once(carrier: str) -> None:
    """What arrived before is kept, and nobody waits for the idle timeout on a connection that is closed."""
    answer = _Garbled(b'data: {"choices": [{"delta": {"content": "half "}}]}\n\n')
    with WireServer(answer) as server:
        hx.connect(server.url, name="garbled", retries=0, carrier=carrier, idle_timeout_s=8)
        with hx.stream("?", model="m") as s, pytest.raises(hx.TruncatedReply):
            for _ in s:
                answer.go.set()
    assert (s.reply.text, s.reply.status) == ("half ", "truncated")


@pytest.mark.parametrize("exempt", [True, False])
def test_a_host_that_needs_no_proxy_is_carried_directly(
    exempt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_PROXY, and a proxy that is for another scheme, leave a request with aiohttp."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", ".lab.example" if exempt else "other.example")
    connection = hx.connect("http://model.lab.example", name="lab", retries=0)

    async def kinds() -> list[str]:
        urls = (f"http{s}://model.lab.example/v1/chat/completions" for s in ("", "s"))
        return [type(transport_for(connection, url)).__name__ for url in urls]

    expected = ["AiohttpTransport" if exempt else "HttpxTransport", "AiohttpTransport"]
    assert run_sync(kinds()) == expected
    if not exempt:
        with pytest.raises(hx.ConnectionFailed, match="through the proxy that the environment names"):
            hx.ask("?", model="m")


def test_a_carrier_that_does_not_exist_is_refused() -> None:
    """connect(carrier=...) names the two there are."""
    with pytest.raises(hx.ConfigError, match="aiohttp"):
        hx.connect("http://127.0.0.1:1", carrier="curl")
