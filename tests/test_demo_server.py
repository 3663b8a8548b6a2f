"""The demo server's faults, and where it runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from helix_nb import demo
from helix_nb.demo.faults import Faults

PATH = "/chat/completions"
STORY = "Tell me a story."


def asked(model: str, prompt: str = STORY, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


async def lines(client: httpx.AsyncClient, body: dict[str, Any], most: int = 10_000) -> list[str]:
    """The lines of a streamed answer that are not empty, up to so many; then the client leaves."""
    found: list[str] = []
    async with client.stream("POST", PATH, json={**body, "stream": True}) as response:
        async for line in response.aiter_lines():
            found += [line] if line else []
            if len(found) == most:
                break
    return found


def on_demo(work: Any) -> Any:
    """Run async work with a client of a demo server of its own."""

    async def main() -> Any:
        server = demo.start()
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=20, trust_env=False) as client:
                return await work(client)
        finally:
            await server.close()

    return asyncio.run(main())


def test_demo_truncates_ends_without_a_finish() -> None:
    """Half of the text arrives in a body that ends cleanly; no finish, no usage, no [DONE]."""

    async def work(client: httpx.AsyncClient) -> tuple[list[str], list[str]]:
        usage = {"stream_options": {"include_usage": True}}
        return await lines(client, asked("demo", **usage)), await lines(
            client, asked("demo-truncates", **usage)
        )

    whole, cut = on_demo(work)
    assert 3 < len(cut) < len(whole) * 0.6
    assert not any("usage" in line or "DONE" in line or '"finish_reason":"' in line for line in cut)


def test_demo_truncates_cuts_a_whole_answer_too() -> None:
    """Without streaming the connection breaks in mid-body."""
    with pytest.raises(httpx.RemoteProtocolError):
        on_demo(lambda client: client.post(PATH, json=asked("demo-truncates")))


def test_demo_429_refuses_each_prompt_once_and_plays_it_again() -> None:
    """Refused with Retry-After, answered, refused again; another prompt is refused on its own account."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        prompts = ["a", "b", "a", "b", "a"]
        return [await client.post(PATH, json=asked("demo-429", prompt)) for prompt in prompts]

    responses = on_demo(work)
    assert [response.status_code for response in responses] == [429, 429, 200, 200, 429]
    assert responses[0].headers["retry-after"] == "1"
    assert responses[0].json()["error"]["code"] == "rate_limit_exceeded"


def test_demo_fails_quotes_an_upstream_refusal_every_time() -> None:
    """A plain-text 500 that quotes a 400, however often it is asked."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post(PATH, json=asked("demo-fails")) for _ in range(3)]

    for response in on_demo(work):
        assert response.status_code == 500
        assert response.headers["content-type"].startswith("text/plain")
        assert "status code: 400" in response.text


def test_demo_stalls_says_a_little_and_lets_the_client_go() -> None:
    """Five pieces arrive, then nothing; a client that leaves frees the server."""

    async def work(client: httpx.AsyncClient) -> None:
        assert len(await lines(client, asked("demo-stalls"), most=6)) == 6
        with pytest.raises(httpx.ReadTimeout):
            async with asyncio.timeout(20):
                await client.post(PATH, json={**asked("demo-stalls"), "stream": True}, timeout=0.3)
        assert (await client.post(PATH, json=asked("demo"))).status_code == 200

    on_demo(work)


def test_demo_flaky_chooses_its_fault_by_the_prompt() -> None:
    """Over many prompts all three faults occur, most are answered, and every second try is."""
    faults = Faults()
    bodies = [asked("demo-flaky", f"row {n}") for n in range(200)]
    first = [faults.of(body) for body in bodies]
    assert {fault: first.count(fault) for fault in (None, "429", "502", "truncates")}[None] > 100
    assert {"429", "502", "truncates"} < set(first)
    assert [faults.of(body) for body in bodies if first[bodies.index(body)]] == [None] * (
        200 - first.count(None)
    )
    assert [Faults().of(body) for body in bodies] == first


def test_demo_flaky_passes_on_the_second_try() -> None:
    """A passing 500 quotes a 502, and the same request is answered next."""

    async def work(client: httpx.AsyncClient) -> list[int]:
        prompt = next(f"row {n}" for n in range(99) if Faults().of(asked("demo-flaky", f"row {n}")) == "502")
        responses = [await client.post(PATH, json=asked("demo-flaky", prompt)) for _ in range(2)]
        assert "status code: 502" in responses[0].text
        return [response.status_code for response in responses]

    assert on_demo(work) == [500, 200]


def test_one_server_for_each_loop() -> None:
    """The same loop gets the same URL; another loop gets a server of its own."""

    async def twice() -> tuple[str, str]:
        first, second = await asyncio.gather(demo.url(), demo.url())
        return first, second

    first, second = asyncio.run(twice())
    assert first == second
    assert first.startswith("http://127.0.0.1:")
    assert first.endswith("/v1")


FORKING = """
import os, urllib.request
from helix_nb import demo
from helix_nb.runtime.loop import run_sync

url = run_sync(demo.url())
lives, ends = os.pipe()
if os.fork():
    print("parent", url == run_sync(demo.url()))
else:
    os.close(ends)
    os.read(lives, 1)  # comes back when the parent has ended
    own = run_sync(demo.url())
    print("child", own != url, b"demo-stalls" in urllib.request.urlopen(own + "/models", timeout=20).read())
    try:
        urllib.request.urlopen(url + "/models", timeout=5)
    except OSError as error:
        print("gone", error.reason)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_leaves_the_server_to_its_parent() -> None:
    """A forked child has a server of its own; the parent's address ends with the parent."""
    run = [sys.executable, "-c", FORKING]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[:2] == ["parent True", "child True True"]
    assert "refused" in done.stdout.splitlines()[2]
