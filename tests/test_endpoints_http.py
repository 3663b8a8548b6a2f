"""Connections as the endpoint keeps them: reused, timed, cancelled, redirected; and lists of models."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pandas as pd
import pytest
from wire_server import Answer, Got, WireServer
from wire_transcripts import COUNT, PARIS, ROLE, STOP, body, say, sse

import helix_nb as hx
from helix_nb.chat.request import build_request, preview
from helix_nb.config.connection import Connection
from helix_nb.endpoints.base import ModelInfo
from helix_nb.endpoints.openai.errors import is_agent_key_error
from helix_nb.endpoints.registry import endpoint_for
from helix_nb.messages import Message, Request
from helix_nb.replies import Delta
from helix_nb.runtime.loop import run_sync, submit

KEY = "hl-canary-canary-canary-canary"
ASKED = Request((Message("user", "Where?"),), "m")


def connect(server: WireServer, **settings: Any) -> Connection:
    return hx.connect(server.url, name="wire", **{"retries": 0, **settings})


def tried(connection: Connection, request: Request = ASKED) -> list[Delta]:
    """The deltas of one try."""

    async def collect() -> list[Delta]:
        async with aclosing(endpoint_for(connection).stream(request)) as deltas:
            return [delta async for delta in deltas]

    return run_sync(collect())


def listed(connection: Connection) -> list[ModelInfo]:
    async def ask() -> list[ModelInfo]:
        return await endpoint_for(connection).models()

    return run_sync(ask())


def in_turn(*answers: Answer) -> Callable[[Got], Answer]:
    """A script that gives one answer after the other, and the last one again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_a_connection_is_kept_for_the_next_request() -> None:
    """Whole answers in a row, with or without [DONE], share one connection."""
    script = in_turn(Answer(PARIS), Answer(PARIS + sse("[DONE]")), Answer(body("Paris"), framing="length"))
    with WireServer(script) as server:
        connect(server)
        assert [str(hx.ask("Where?", model="m")) for _ in range(4)] == ["Paris"] * 4
        assert server.connections == 1


def test_a_kept_connection_that_the_server_dropped_is_replaced_unseen() -> None:
    """A hang-up between two requests costs neither an error nor an attempt."""
    with WireServer(Answer(PARIS, end="close")) as server:
        connect(server)
        replies = [hx.ask("Where?", model="m") for _ in range(3)]
        assert [(str(reply), reply.attempts) for reply in replies] == [("Paris", 1)] * 3
        assert (server.connections, len(server.got)) == (3, 3)


def test_a_kept_connection_that_breaks_on_use_is_replaced_once() -> None:
    """The second request of a connection is never answered: it is sent again on a new one, once."""
    served: set[int] = set()

    def script(got: Got) -> Answer:
        if server.connections in served:
            return Answer(head=b"", framing="none", end="reset")
        served.add(server.connections)
        return Answer(PARIS)

    with WireServer(script) as server:
        connect(server)
        assert [str(hx.ask("Where?", model="m")) for _ in range(2)] == ["Paris"] * 2
        assert (server.connections, len(server.got)) == (2, 3)
    with WireServer(Answer(head=b"", framing="none", end="reset")) as server:
        connect(server)
        with pytest.raises(hx.ConnectionFailed, match="hung up before answering") as caught:
            hx.ask("Where?", model="m")
        assert len(server.got) == 1 and caught.value.retryable


def test_nobody_listens() -> None:
    """A refused connection says where, and that the server may not be running."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    hx.connect(f"http://127.0.0.1:{port}", name="wire", retries=0)
    with pytest.raises(hx.ConnectionFailed, match=rf"wire \(http://127.0.0.1:{port}/v1\) cannot be reached"):
        hx.ask("Where?", model="m")
    hx.connect("http://no-such-host.invalid", name="wire", retries=0)
    with pytest.raises(hx.ConnectionFailed, match="cannot be reached"):
        hx.ask("Where?", model="m")


HANGS = {
    "no headers": (Answer(head=b"", framing="none", end="hang"), "first_byte_timeout_s", ""),
    "headers only": (Answer(b"", end="hang"), "first_byte_timeout_s", ""),
    "after text": (Answer(sse(ROLE, say("Par")), end="hang"), "idle_timeout_s", "Par"),
    "after a comment": (Answer(b": ping\n\n", end="hang"), "idle_timeout_s", ""),
}


@pytest.mark.parametrize("name", HANGS)
def test_silence_ends_with_the_name_of_the_timeout(name: str) -> None:
    """First byte or idle: the sentence names setting and seconds, text is kept, the socket closed."""
    answer, setting, text = HANGS[name]
    settings = {"first_byte_timeout_s": 30, "idle_timeout_s": 30} | {setting: 0.2}
    with WireServer(answer) as server:
        connect(server, **settings)
        with pytest.raises(hx.TimedOut, match=rf"0\.2 seconds \({setting}\)") as caught:
            hx.ask("Where?", model="m")
        assert (caught.value.reply.text, caught.value.retryable) == (text, False)
        assert server.hung_up.wait(5)


def test_an_error_whose_body_never_ends_is_still_that_error() -> None:
    """The status and what came of the body are enough."""
    with WireServer(Answer(b"slow do", 429, "text/plain", hang_at=7)) as server:
        connect(server, idle_timeout_s=0.2)
        with pytest.raises(hx.RateLimited, match="It said: slow do"):
            hx.ask("Where?", model="m")


def test_comments_and_slow_bytes_keep_a_stream_alive() -> None:
    """Idle time counts between bytes: a slow stream longer than both timeouts is read to its end."""
    with WireServer(Answer(b": ping\n\n" * 6 + PARIS, piece_bytes=24, pause_s=0.05)) as server:
        connect(server, first_byte_timeout_s=0.8, idle_timeout_s=0.8)
        assert str(hx.ask("Where?", model="m")) == "Paris"


def test_the_idle_timeout_may_be_longer_than_the_one_for_the_first_byte() -> None:
    """A pause in mid-answer is measured by the idle timeout alone."""
    with WireServer(Answer(sse(say("Paris"), STOP), piece_bytes=200, pause_s=1.1)) as server:
        connect(server, first_byte_timeout_s=1, idle_timeout_s=5)
        assert str(hx.ask("Where?", model="m")) == "Paris"
    with WireServer(Answer(sse(say("Paris"), STOP), piece_bytes=60, pause_s=0.6)) as server:
        connect(server, first_byte_timeout_s=5, idle_timeout_s=0.2)
        with pytest.raises(hx.TimedOut, match="idle_timeout_s"):
            hx.ask("Where?", model="m")


def test_silence_after_the_finish_is_an_end() -> None:
    """A server that never closes the stream of a finished answer delays it, and does not spoil it."""
    with WireServer(Answer(sse(say("Paris"), STOP), end="hang")) as server:
        connect(server, idle_timeout_s=0.2)
        assert hx.ask("Where?", model="m").status == "ok"
    with WireServer(Answer(sse(say("Paris"), "[DONE]"), end="hang")) as server:
        connect(server)
        assert hx.ask("Where?", model="m").status == "ok"
        assert server.hung_up.wait(5)


def test_keep_alives_after_the_finish_do_not_hold_the_answer_back() -> None:
    """A finished answer waits for its token counts, and not for ever on a server that goes on commenting."""
    pings = b": keepalive\n\n" * 100
    with WireServer(Answer(sse(say("Paris"), STOP) + pings, piece_bytes=13, pause_s=0.05)) as server:
        connect(server, idle_timeout_s=0.4)
        assert hx.ask("Where?", model="m", timeout=10).status == "ok"
    late = sse(say("Paris"), STOP) + pings[:65] + sse(COUNT)
    with WireServer(Answer(late, piece_bytes=65, pause_s=0.02)) as server:
        connect(server, idle_timeout_s=2)
        assert hx.ask("Where?", model="m").usage.total_tokens == 32


def test_leaving_early_closes_the_socket_at_once() -> None:
    """Closing the iterator after the first piece hangs up; the next request gets a new connection."""
    with WireServer(in_turn(Answer(sse(say("Par")), end="hang"), Answer(PARIS))) as server:
        connection = connect(server)

        async def first_piece() -> str:
            async with aclosing(endpoint_for(connection).stream(ASKED)) as deltas:
                return await _first(deltas)

        assert run_sync(first_piece()) == "Par"
        assert server.hung_up.wait(5)
        assert "".join(delta.text for delta in tried(connection)) == "Paris"


async def _first(deltas: Any) -> str:
    async for delta in deltas:
        if delta.text:
            return str(delta.text)
    raise AssertionError("no text came")


def test_cancelling_while_waiting_for_headers_closes_the_socket() -> None:
    """A task cancelled before any byte of an answer hangs up too."""
    arrived = threading.Event()

    def script(_: Got) -> Answer:
        arrived.set()
        return Answer(head=b"", framing="none", end="hang")

    with WireServer(script) as server:
        connection = connect(server)

        async def ask() -> None:
            async for _ in endpoint_for(connection).stream(ASKED):
                pass

        asking = submit(ask())
        assert arrived.wait(5)
        asking.cancel()
        assert server.hung_up.wait(5)


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"]
)
def test_what_is_no_http_is_a_failed_connection(raw: bytes) -> None:
    """Another protocol on that port, or headers without end, are one sentence."""
    with WireServer(Answer(head=raw, framing="none", end="close")) as server:
        connect(server)
        with pytest.raises(hx.ConnectionFailed, match="does not answer in HTTP that can be read") as failed:
            hx.ask("Where?", model="m")
    assert "\n" not in str(failed.value) and len(str(failed.value)) < 300


def test_many_at_once_share_connections_one_after_the_other() -> None:
    """Forty at once open forty connections at most, the next forty open none."""

    async def together(connection: Connection) -> list[str]:
        async def text() -> str:
            return "".join([delta.text async for delta in endpoint_for(connection).stream(ASKED)])

        return await asyncio.gather(*[text() for _ in range(40)])

    with WireServer(Answer(PARIS)) as server:
        connection = connect(server)
        assert run_sync(together(connection)) == ["Paris"] * 40
        opened = server.connections
        assert opened <= 40
        assert run_sync(together(connection)) == ["Paris"] * 40
        assert server.connections == opened


def test_a_redirect_within_the_server_is_followed_with_the_key() -> None:
    """Same scheme, host and port: the POST goes on with its body and its key."""
    away = Answer(status=308, headers=(("Location", "/other/v1/chat/completions?x=1"),), framing="length")
    with WireServer(in_turn(away, Answer(PARIS))) as server:
        connect(server, key=KEY)
        assert str(hx.ask("Where?", model="m")) == "Paris"
        assert server.got[1].target == "/other/v1/chat/completions?x=1"
        assert server.got[1].body == server.got[0].body
        assert server.got[1].headers["authorization"] == f"Bearer {KEY}"


def test_the_key_never_follows_a_redirect_to_another_place() -> None:
    """Another port is another place: nothing is sent there; and circles end."""
    with WireServer(Answer(PARIS)) as other:
        elsewhere = Answer(
            status=307, headers=(("Location", f"{other.url}/v1/chat/completions"),), framing="length"
        )
        with WireServer(elsewhere) as server:
            connect(server, key=KEY)
            with pytest.raises(hx.ConfigError, match="never follows a redirect") as caught:
                hx.ask("Where?", model="m")
        assert other.got == [] and caught.value.status_code == 307
    with WireServer(
        Answer(status=307, headers=(("Location", "/v1/chat/completions"),), framing="length")
    ) as server:
        connect(server)
        with pytest.raises(hx.ConfigError, match="circles"):
            hx.ask("Where?", model="m")


def test_a_redirect_that_echoes_the_key_shows_no_part_of_it() -> None:
    """The address is shortened only when the key is out of it."""
    where = (("Location", f"https://login.example/{'x' * 168}/{KEY}"),)
    with WireServer(Answer(status=302, headers=where, framing="length")) as server:
        connect(server, key=KEY)
        with pytest.raises(hx.ConfigError, match=r"login\.example") as caught:
            hx.ask("Where?", model="m")
    assert KEY[:6] not in str(caught.value)


def test_what_a_request_carries() -> None:
    """Key, own headers, app_id and JSON go out; the same key echoed by an error is not shown."""
    with WireServer(
        lambda got: Answer(got.headers["authorization"].encode(), 400, framing="length")
    ) as server:
        connect(server, key=KEY, app_id="app 1&x", headers={"X-Team": "lab"})
        with pytest.raises(hx.BadRequest) as caught:
            hx.ask("Zürich?", model="m")
        got = server.got[0]
        assert (got.method, got.target) == ("POST", "/v1/chat/completions?app_id=app%201%26x")
        assert got.headers["x-team"] == "lab" and got.headers["content-type"] == "application/json"
        assert got.headers["accept-encoding"] == "identity"
        assert "Zürich?".encode() in got.body
        assert KEY not in str(caught.value) and "[key]" in str(caught.value)


@pytest.mark.parametrize("settings", [{"headers": {"X-Name": "Zoë"}}, {"key": "hl-two\nlines-of-a-key"}])
def test_headers_that_http_cannot_carry_are_refused(settings: dict[str, Any]) -> None:
    """The sentence says that a header cannot go, holds none of it, and nothing was sent."""
    with WireServer(Answer(PARIS)) as server:
        connect(server, **settings)
        with pytest.raises(hx.ConfigError, match="cannot be sent: a header") as caught:
            hx.ask("Where?", model="m")
        assert "two" not in str(caught.value) and server.got == []


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (b'{"detail": "stream_options: extra fields not permitted"}', 422),
        (b'{"detail": [{"loc": ["body", "include_usage"], "msg": "Extra inputs are not permitted"}]}', 422),
        (b"error, status code: 400, message: Unknown parameter: 'stream_options'.", 500),
    ],
)
def test_stream_options_refused_are_left_out_from_then_on(refusal: bytes, status: int) -> None:
    """One more request without them, in the same attempt; the next question does not try again."""

    def script(got: Got) -> Answer:
        if "stream_options" in got.json:
            return Answer(refusal, status, framing="length")
        return Answer(PARIS)

    with WireServer(script) as server:
        connect(server)
        assert hx.ask("Where?", model="m").attempts == 1
        assert hx.ask("Where?", model="m").status == "ok"
        assert ["stream_options" in got.json for got in server.got] == [True, False, False]


def test_a_missing_model_is_the_first_one_listed() -> None:
    """It is found out once, remembered, and said; Helix chooses its own."""

    def script(got: Got) -> Answer:
        models = b'{"data": [{"id": "qwen3:8b"}, {"id": "llama3"}]}'
        return Answer(models, framing="length") if got.method == "GET" else Answer(PARIS)

    with WireServer(script) as server:
        connect(server)
        reply = hx.ask("Where?")
        assert reply.notes == ("No model given: using qwen3:8b, the first of 2.",)
        assert hx.ask("Where?").notes == ()
        assert [got.json["model"] for got in server.asked()] == ["qwen3:8b"] * 2
        assert len(server.got) == 3
        connect(server, profile="helix")
        hx.ask("Where?")
        assert "model" not in server.got[-1].json
    with WireServer(Answer(b'{"data": null}', framing="length")) as server:
        connect(server)
        with pytest.raises(hx.ConfigError, match="name one with model="):
            hx.ask("Where?")


def test_behind_an_agents_key_no_model_is_looked_for_twice() -> None:
    """Single questions and batches go out without a model; that none are listed is found out once."""
    refusal = b"path not allowed for app API keys, only /v1/chat/completions"

    def script(got: Got) -> Answer:
        return Answer(refusal, 403, framing="length") if got.method == "GET" else Answer(PARIS)

    with WireServer(script) as server:
        connect(server, key="hl-canary-of-an-agent")
        answers = pd.DataFrame({"who": ["a", "b"]}).helix.ask("Where is {{who}}?", progress=False)
        assert answers["answer_status"].tolist() == ["ok", "ok"]
        assert hx.ask("Where?").status == "ok"
        assert ["model" in got.json for got in server.asked()] == [False] * 3
        assert len(server.got) == 4


@pytest.mark.parametrize(
    ("listing", "models"),
    [
        (
            {"data": [{"id": "qwen3:8b", "context_length": 8192, "enabled": False}]},
            [ModelInfo("qwen3:8b", context_length=8192, note="switched off")],
        ),
        ({"data": None}, []),
        (
            {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 4096}]},
            [ModelInfo("m", context_length=4096)],
        ),
        (
            {"models": [{"name": "m"}], "data": [{"id": "m.gguf", "meta": {"n_ctx_train": 2048, "size": 5}}]},
            [ModelInfo("m.gguf", 5, None, 2048)],
        ),
        (
            {"models": [{"name": "llama3:latest", "size": 9, "details": {"quantization_level": "Q4_0"}}]},
            [ModelInfo("llama3:latest", 9, "Q4_0")],
        ),
        (["a", "b", "a", 3, {"no": "id"}], [ModelInfo("a"), ModelInfo("b")]),
    ],
)
def test_lists_of_models(listing: Any, models: list[ModelInfo]) -> None:
    """Helix, vLLM, llama.cpp, Ollama: ids, sizes and context lengths as far as they say."""
    with WireServer(Answer(json.dumps(listing).encode(), content_type="application/json")) as server:
        assert listed(connect(server)) == models
        assert (server.got[0].method, server.got[0].target) == ("GET", "/v1/models")


def test_lists_that_are_none() -> None:
    """An agent key is called valid (and gets its prompt whole), a web page a web page, the rest is quoted."""
    refused = Answer(b"path not allowed for app API keys", 403, "text/plain", framing="length")
    with WireServer(lambda got: refused if got.method == "GET" else Answer(PARIS)) as server:
        connection = connect(server, profile="helix", key=KEY)
        with pytest.raises(hx.NotAllowed, match="valid agent key") as caught:
            listed(connection)
        assert is_agent_key_error(caught.value)
        hx.ask("Where?", system="Be brief.")
        assert [message["role"] for message in server.asked()[0].json["messages"]] == ["system", "user"]
    page, words = Answer(b"<html>", content_type="text/html"), Answer(b"nothing here")
    with WireServer(page) as server, pytest.raises(hx.ConfigError, match="web page"):
        listed(connect(server))
    with WireServer(words) as server, pytest.raises(hx.StreamFailed, match="nothing here"):
        listed(connect(server))


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(b"", head=b"", end="hang", hang_at=0), hx.TimedOut, "first_byte_timeout_s"),
        (Answer(b'{"data":[{"id":"m"}]}', hang_at=0), hx.TimedOut, "first_byte_timeout_s"),
        (Answer(b'{"data":[{"id":"m"}]}', hang_at=9), hx.TimedOut, "first_byte_timeout_s"),
        (Answer(b'{"data":[{"id":"m"}]}', hang_at=9, end="drop"), hx.ConnectionFailed, "hung up"),
    ],
)
def test_a_list_that_never_comes_whole(answer: Answer, error: type[hx.HelixError], words: str) -> None:
    """Silence before or within a list is a time that ran out, and a hang-up is called one."""
    with WireServer(answer) as server, pytest.raises(error, match=words):
        connect(server, first_byte_timeout_s=0.3)
        hx.models()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_uses_connections_of_its_own() -> None:
    """The parent's kept connection is not shared: both get their own answer."""
    with WireServer(Answer(PARIS)) as server:
        connect(server)
        assert str(hx.ask("Where?", model="m")) == "Paris"
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, str(hx.ask("Where?", model="m")).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            assert pipe.read() == b"Paris"
        assert os.waitpid(child, 0)[1] == 0
        assert str(hx.ask("Where?", model="m")) == "Paris"
        assert server.connections == 2


def test_an_agent_key_needs_no_model() -> None:
    """Where only an agent's key is refused the list of models, the agent is asked without naming one."""
    refused = Answer(b"path not allowed for app API keys", 403, "text/plain", framing="length")
    with WireServer(lambda got: refused if got.method == "GET" else Answer(PARIS)) as server:
        connect(server, key=KEY)
        assert str(hx.ask("Where?")) == "Paris"
        assert "model" not in server.asked()[0].json


def test_an_unknown_model_is_answered_with_the_list_that_is_known() -> None:
    """Once a list was asked for, the error names what is served and what was probably meant."""
    listing = Answer(b'{"data": [{"id": "qwen3:8b"}, {"id": "llama3"}]}', content_type="application/json")
    unknown = Answer(b'{"error": {"code": "model_not_found"}}', 404, framing="length")
    with WireServer(lambda got: listing if got.method == "GET" else unknown) as server:
        connection = connect(server)
        with pytest.raises(hx.UnknownModel, match=r"hx.models\(\) lists what it does"):
            hx.ask("Where?", model="qwen3")
        listed(connection)
        with pytest.raises(hx.UnknownModel, match=r"Did you mean 'qwen3:8b'\? It serves: qwen3:8b, llama3"):
            hx.ask("Where?", model="qwen3")
        assert [got.method for got in server.got] == ["POST", "GET", "POST"]


def test_a_dry_run_shows_where_an_agent_is_asked() -> None:
    """The address of a dry run is the one that is sent to, `app_id` included."""
    with WireServer(Answer(PARIS)) as server:
        connect(server, app_id="app 9")
        url = preview(build_request("Where?", model="m"))["url"]
        hx.ask("Where?", model="m")
        assert url.endswith(server.got[0].target) and url.endswith("?app_id=app%209")
