"""Stopping: the socket closes at once, the partial text and the row stay, the next ask works."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from wire_server import Answer, Got, WireServer

import helix_nb as hx

PARTIAL = "Half a sent"
# Generous for a busy machine; what is promised is 0.3 s, and benchmarks measure it.
SOON_S = 3.0


def frame(**choice: object) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode()


@pytest.fixture
def stalling() -> Iterator[WireServer]:
    """A server that says half a sentence and then nothing; "whole" prompts it answers."""
    half = frame(delta={"content": PARTIAL})
    whole = frame(delta={"content": "Whole."}) + frame(delta={}, finish_reason="stop")
    call = {"index": 0, "id": "c", "function": {"name": "tool", "arguments": ""}}

    def script(got: Got) -> Answer:
        if got.method == "GET":
            return Answer(end="hang", hang_at=0)
        if "whole" in got.json["messages"][-1]["content"]:
            return Answer(whole)
        if "tools" in got.json:
            return Answer(frame(delta={"tool_calls": [call]}, finish_reason="tool_calls"))
        return Answer(half, end="hang", hang_at=len(half))

    with WireServer(script) as server:
        hx.connect(server.url, name="stalling")
        hx.use("m")
        yield server


def interrupt_when_partial_arrived(running: Callable[[], str]) -> None:
    def press() -> None:
        deadline = time.monotonic() + 10
        while running() != PARTIAL and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()


def check_stopped(server: WireServer) -> None:
    assert server.hung_up.wait(SOON_S), "the socket stayed open"
    recorded = hx.log().iloc[-1]
    assert (recorded["status"], recorded["response"]) == ("interrupted", PARTIAL)
    assert recorded[["prompt_tokens", "completion_tokens", "total_tokens"]].isna().all()
    assert str(hx.ask("whole")) == "Whole."


def test_ctrl_c_during_ask(stalling: WireServer) -> None:
    """A blocking ask lets go at once and raises KeyboardInterrupt."""
    from helix_nb.chat import ask

    running = ask.prepare("half")
    interrupt_when_partial_arrived(lambda: running.reply.text)
    with pytest.raises(KeyboardInterrupt):
        running.result()
    assert hx.last is not None and hx.last.status == "interrupted"
    check_stopped(stalling)


def test_ctrl_c_while_iterating_a_stream(stalling: WireServer) -> None:
    """The loop over the pieces is interruptible too."""
    with pytest.raises(KeyboardInterrupt), hx.stream("half") as s:
        interrupt_when_partial_arrived(lambda: s.reply.text)
        for _ in s:
            pass
    assert s.reply.status == "interrupted"
    check_stopped(stalling)


@pytest.mark.parametrize("face", ["ask", "stream", "tool", "models"])
def test_ctrl_c_during_a_blocking_call_in_a_running_loop(stalling: WireServer, face: str) -> None:
    """asyncio.run notes Ctrl-C for its loop only, which stands still: the call lets go all the same."""
    blocked = threading.Event()

    def tool() -> None:
        """Wait."""
        blocked.set()
        time.sleep(20)

    async def main() -> None:
        if face == "stream":
            with hx.stream("half") as s:
                for _ in s:
                    blocked.set()
        elif face == "tool":
            hx.ask("call a tool", tools=[tool])
        elif face == "models":
            hx.models()
        else:
            hx.ask("half")

    arrived = blocked.is_set if face in ("stream", "tool") else lambda: bool(stalling.got)
    threading.Thread(target=_press_when(arrived), daemon=True).start()
    begun, handler = time.monotonic(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert time.monotonic() - begun < 10 and signal.getsignal(signal.SIGINT) is handler
    if face != "tool":
        assert stalling.hung_up.wait(SOON_S)


def test_leaving_a_stream_early(stalling: WireServer) -> None:
    """Breaking out of the block closes the socket."""
    with hx.stream("half") as s:
        assert next(iter(s)) == PARTIAL
    assert s.reply.status == "interrupted"
    check_stopped(stalling)


def test_an_exception_inside_the_block(stalling: WireServer) -> None:
    """Whatever ends the block closes the socket, and the exception goes on."""
    with pytest.raises(ZeroDivisionError), hx.stream("half") as s:
        next(iter(s))
        raise ZeroDivisionError
    check_stopped(stalling)


def test_a_cancelled_await(stalling: WireServer) -> None:
    """Cancelling the task that awaits an answer closes the socket."""

    async def main() -> None:
        task = asyncio.create_task(hx.aask("half"))
        while hx.log(text=True)["id"].empty or not stalling.asked():
            await asyncio.sleep(0.01)
        async with hx.astream("half") as s:
            async for _ in s:
                break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert stalling.hung_up.wait(SOON_S)
    assert set(hx.log()["status"]) == {"interrupted"}


def test_ctrl_c_leaves_a_loop_that_is_just_run(stalling: WireServer) -> None:
    """Where nobody cancels the coroutine, as in a terminal's IPython, Ctrl-C stops what it awaits."""
    from helix_nb.chat import ask

    running = ask.prepare("half")
    interrupt_when_partial_arrived(lambda: running.reply.text)
    loop = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(running.aresult())
    check_stopped(stalling)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    loop.run_until_complete(asyncio.sleep(0.1))  # the coroutine that was left finds its answer stopped
    loop.close()


def test_ctrl_c_before_any_answer() -> None:
    """A server that accepts and never answers is let go as quickly."""
    with WireServer(Answer(b"", end="hang", hang_at=0, head=b"HTT")) as silent:
        hx.connect(silent.url, name="silent")
        threading.Thread(target=_press_when(lambda: bool(silent.asked())), daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            hx.ask("half", model="m")
        assert silent.hung_up.wait(SOON_S)
    assert hx.log()["status"].iloc[-1] == "interrupted"


def _press_when(ready: Callable[[], bool]) -> Callable[[], None]:
    def press() -> None:
        deadline = time.monotonic() + 10
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    return press


def test_ctrl_c_while_waiting_for_a_retry() -> None:
    """Waiting for Retry-After is interruptible; the row says interrupted and counts the attempt."""
    answer = Answer(b"slow down", status=429, content_type="text/plain", headers=(("Retry-After", "60"),))
    with WireServer(answer) as busy:
        hx.connect(busy.url, name="busy")
        threading.Thread(target=_press_when(lambda: bool(busy.asked())), daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            hx.ask("hello", model="m")
    recorded = hx.log().iloc[-1]
    assert (recorded["status"], recorded["attempts"], len(busy.asked())) == ("interrupted", 1, 1)
