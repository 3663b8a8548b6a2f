"""The public contract where it is easily broken: what nobody closed, what no server would take, odd input."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from slow_server import SlowServer
from wire_server import Answer, WireServer
from wire_transcripts import ROLE, STOP, say, sse

import helix_nb as hx
from helix_nb import redaction
from helix_nb.runtime.loop import background_loop, stop_loop


@pytest.fixture
def endless() -> Iterator[WireServer]:
    """An endpoint whose answers begin and never end."""
    with WireServer(Answer(sse(ROLE, say("Par"), say("is")), end="hang")) as server:
        hx.connect(server.url, name="endless")
        yield server


def test_a_stream_that_nobody_holds_is_stopped(endless: WireServer) -> None:
    """Forgetting an entered stream closes its socket and its row says interrupted."""
    stream = hx.stream("hi", model="m").__enter__()
    ended = threading.Event()
    stream._pending.on_change(ended.set)  # type: ignore[union-attr]
    assert stream.reply.status == "pending"
    del stream
    gc.collect()
    assert endless.hung_up.wait(5) and ended.wait(5)
    assert hx.log()["status"].tolist() == ["interrupted"]


def test_a_loop_left_early_without_with_is_stopped(endless: WireServer) -> None:
    """`for piece in hx.stream(...)` with a break leaves the exchange as `with` does."""
    for piece in hx.stream("hi", model="m"):
        assert piece == "Par"
        break
    gc.collect()
    assert endless.hung_up.wait(5)
    assert hx.log()["status"].tolist() == ["interrupted"]


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://[::1"},
        {"url": "http://exa mple"},
        {"key": 3},
        {"key_env": 3},
        {"name": 3},
        {"app_id": 3},
        {"model": 3},
        {"headers": 3},
        {"headers": {"X-Team": 3}},
    ],
)
def test_connect_refuses_what_is_no_text(settings: dict[str, Any]) -> None:
    """A setting of a wrong type is a sentence about that setting, and registers nothing."""
    with pytest.raises(hx.ConfigError, match=rf"{next(iter(settings))}=|not a URL"):
        hx.connect(**{"url": "http://127.0.0.1:9", "name": "odd"} | settings)
    assert hx.use().endpoint == "demo"


def test_a_default_model_is_a_name() -> None:
    """hx.use refuses a model that no request could name."""
    with pytest.raises(hx.ConfigError, match="model="):
        hx.use(3)  # type: ignore[arg-type]
    assert str(hx.ask("What is the capital of France?")) == "The capital of France is Paris."


@pytest.mark.parametrize(
    "filters",
    [
        {"since": pd.NaT},
        {"since": "99999999999999d"},
        {"since": timedelta.max},
        {"last": 10**30},
        {"tags": 3},
        {"search": 3},
        {"status": 3},
        {"model": 3},
    ],
)
def test_the_log_refuses_filters_that_mean_nothing(filters: dict[str, Any]) -> None:
    """A filter of a wrong type or size is a sentence about that filter."""
    with pytest.raises(hx.ConfigError, match=next(iter(filters))):
        hx.log(**filters)


def test_since_takes_the_moments_pandas_makes() -> None:
    """A Timestamp counts as any datetime: without a zone it is local time."""
    hx.ask("hello")
    started = hx.log()["started_at"].iloc[0]
    local = pd.Timestamp(datetime.fromtimestamp(started.timestamp()))
    assert [len(hx.log(since=moment)) for moment in (started, local, local + pd.Timedelta("1s"))] == [1, 1, 0]


@pytest.mark.parametrize("question", [hx.usage, hx.latency, hx.compare])
def test_questions_want_a_frame(question: Callable[[Any], object]) -> None:
    """What is no DataFrame is told so."""
    with pytest.raises(hx.ConfigError, match="int"):
        question(3)


LARGE = "x" * 400_000


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: hx.use(endpoint=LARGE),
        lambda: hx.ask("q", max_tokens=LARGE),
        lambda: hx.ask("q", stop=list(range(100_000))),
        lambda: hx.ask("q", images=[LARGE]),
    ],
)
def test_a_sentence_stays_one_however_large_what_it_quotes(wrong: Callable[[], object]) -> None:
    """An error keeps its beginning and its end, and says that it was shortened."""
    with pytest.raises(hx.ConfigError) as failed:
        wrong()
    said = str(failed.value)
    assert len(said) <= 1000
    assert "characters, shortened" in said
    assert str(pickle.loads(pickle.dumps(failed.value))) == said


def test_a_key_is_hidden_before_a_sentence_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a key stands in a long sentence, no half of it is left over."""
    key = "abcdefgh" * 30
    monkeypatch.setattr(redaction, "_values", {key: None})
    for at in range(0, 1200, 40):
        assert "abcd" not in str(hx.HelixError("." * at + key + "." * 1100))
    whole = "." * 990 + key
    assert str(hx.HelixError(whole)) == "." * 990 + "[key]"


def test_a_sentence_holds_nothing_that_a_terminal_obeys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape sequences, bidi overrides and half characters are taken out of errors, a key inside them too."""
    monkeypatch.setattr(redaction, "_values", {"hl-abcdefgh": None})
    raw = "a \x1b[31mred\x1b]8;;http://x\x07 \u202etxt.exe \x9b2J\ud800: hl-ab\x1b[0mcdefgh"
    said = str(hx.HelixError(raw))
    assert said == "a red txt.exe \ufffd: [key]"


@pytest.mark.parametrize("piece_bytes", [None, 1])
def test_half_characters_are_joined_or_replaced(piece_bytes: int | None) -> None:
    """A character that a server cut in two is whole again; a half one is U+FFFD, which every file takes."""
    body = sse(say("a \ud83d"), say("\ude00 b \ud83d"), say("c \ude00"), say("d\ud83d"), STOP)
    with WireServer(Answer(body, piece_bytes=piece_bytes)) as server:
        hx.connect(server.url, name="halves")
        with hx.stream("hi", model="m") as stream:
            pieces = "".join(stream)
    assert pieces == str(stream.reply) == "a \U0001f600 b \ufffdc \ufffdd\ufffd"
    assert hx.log()["response"].tolist() == [pieces]


def test_half_characters_in_an_error_are_replaced() -> None:
    """What a server says in its error can be printed, whatever it is."""
    refusal = Answer(
        b'{"error": {"message": "no \\ud83d here"}}', 400, content_type="application/json", framing="length"
    )
    with WireServer(refusal) as server:
        hx.connect(server.url, name="halves")
        with pytest.raises(hx.BadRequest, match="no \ufffd here"):
            hx.ask("hi", model="m")
    assert "no \ufffd here" in hx.log()["error"].iloc[0]


def test_the_background_loop_is_closed_when_it_stops() -> None:
    """Nothing is left open at exit, so a script under -W error is quiet; later calls still work."""
    hx.ask("hello")
    loop = background_loop()
    stop_loop()
    assert loop.is_closed()
    assert hx.ask("What is the capital of France?").status == "ok"


@pytest.mark.parametrize("url", ["not a url", "http://[::1", "http://127.0.0.1:99999"])
def test_a_wrong_helix_url_is_called_by_its_name(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says which setting is wrong, and where it came from; the demo never steps in."""
    monkeypatch.setenv("HELIX_URL", url)
    for endpoint in (None, "helix"):
        with pytest.raises(hx.ConfigError, match="HELIX_URL, from the environment"):
            hx.ask("hello", endpoint=endpoint)


def test_no_cancel_is_lost_while_pieces_arrive() -> None:
    """Cancelled awaits end at once, wherever between two pieces the cancel meets them."""

    async def cancelled() -> int:
        tasks = [asyncio.create_task(hx.aask("hi", model="m")) for _ in range(30)]
        await asyncio.sleep(0.3)
        for task in tasks:
            await asyncio.sleep(0.002)
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(isinstance(each, asyncio.CancelledError) for each in ended)

    with SlowServer(["x "] * 400, 0.02) as server:
        hx.connect(server.url, name="slow")
        assert asyncio.run(cancelled()) == 30
    assert set(hx.log()["status"]) == {"interrupted"}
