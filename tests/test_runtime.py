"""The background loop: sync calls anywhere, interrupts that clean up, processes that end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from helix_nb.runtime.loop import run_here, run_sync


def script(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script of its own process, as a user would."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)


async def echo(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_a_blocking_call_works_inside_a_running_loop() -> None:
    """A notebook cell runs while its own loop runs; the sync face does not care."""

    async def cell() -> int:
        return run_sync(echo(7))

    assert asyncio.run(cell()) == 7


def test_awaiting_from_another_loop_returns_the_value() -> None:
    """The awaited face runs on the background loop and answers on the caller's."""
    assert asyncio.run(run_here(echo(8))) == 8


def test_an_interrupt_lets_the_coroutine_clean_up_first() -> None:
    """Ctrl-C during a blocking call runs its `finally` before KeyboardInterrupt goes on."""
    started, cleaned = threading.Event(), []

    async def long() -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    def interrupt() -> None:
        started.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_sync(long())
    assert cleaned == [True]


def test_a_cancelled_await_cancels_the_work() -> None:
    """Cancelling the caller's task stops what runs on the background loop."""
    started, stopped = threading.Event(), threading.Event()

    async def long() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    async def caller() -> None:
        task = asyncio.create_task(run_here(long()))
        while not started.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(caller())
    assert stopped.is_set()


def test_a_blocking_call_on_the_loop_itself_is_refused() -> None:
    """Blocking the loop on itself would hang for ever, so it raises."""

    async def wrong() -> None:
        run_sync(echo(1))

    with pytest.raises(RuntimeError, match="background loop"):
        run_sync(wrong())


def test_a_script_ends_by_itself() -> None:
    """The daemon loop never keeps an interpreter from leaving."""
    started = time.monotonic()
    done = script("""
        import asyncio
        from helix_nb.runtime import loop
        loop.submit(asyncio.sleep(60))
        print(loop.run_sync(asyncio.sleep(0, "answer")))
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "answer\n", "")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("until", ["made", "sent", "connecting", "arriving"])
def test_a_script_may_end_at_any_moment_of_an_ask(until: str) -> None:
    """Whatever is under way when a script ends is ended with it, quietly, also under -W error."""
    done = script(
        """
        import os, sys, threading
        from helix_nb.chat import ask
        connects = threading.Event()
        def see(event, args):
            if event == "import" and args[0] in ("aiohttp", "httpx"):
                connects.set()
        sys.addaudithook(see)
        until = os.environ["UNTIL"]
        running = ask.prepare("Where?", model="demo-stalls")
        if until != "made":
            running.begin()
        if until == "connecting":
            connects.wait(30)
        while until == "arriving" and not running.has_pieces:
            running.wait_for_change(0.1)
        """,
        UNTIL=until,
        PYTHONWARNINGS="error",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("carrier", ["aiohttp", "httpx"])
def test_a_script_does_not_wait_for_a_name_that_is_looked_up(carrier: str) -> None:
    """Whoever answers no question about a host ends the connect timeout, and keeps no script from leaving."""
    started = time.monotonic()
    done = script(
        """
        import os, socket, time
        known = socket.getaddrinfo
        def hangs(host, *rest, **more):
            if "lost" in str(host):
                time.sleep(30)
            return known(host, *rest, **more)
        socket.getaddrinfo = hangs
        import helix_nb as hx
        hx.connect("http://lost.example", carrier=os.environ["CARRIER"], connect_timeout_s=0.3, retries=0)
        try:
            hx.ask("Where?", model="m")
        except hx.TimedOut as error:
            print("connect_timeout_s" in str(error))
        """,
        CARRIER=carrier,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert time.monotonic() - started < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_gets_a_loop_of_its_own() -> None:
    """After a fork both processes can ask, and both exit by themselves."""
    done = script("""
        import asyncio, os, sys
        from helix_nb.runtime import loop
        assert loop.run_sync(asyncio.sleep(0, 1)) == 1
        child = os.fork()
        value = loop.run_sync(asyncio.sleep(0, 2 if child else 3))
        print(value, flush=True)
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == ["2", "3"]
