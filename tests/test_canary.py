"""A key that must never be seen: looked for in everything that is kept, shown or sent."""

# ruff: noqa: E501 - one row of a table is one line
from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from canary import KEY, SAYS, answers, beside, leaks, sent
from wire_server import WireServer

import helix_nb as hx
from helix_nb import redaction


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WireServer]:
    """A server that tells the key it was given in every way it can; the current endpoint."""
    monkeypatch.setenv("CANARY_KEY", KEY)

    with WireServer(answers) as started:
        hx.connect(started.url, key_env="CANARY_KEY", name="canary", retries=0)
        yield started


def logged(folder: Path) -> bytes:
    """The bytes of the log, its WAL and whatever else lies beside it."""
    hx.log()
    return beside(folder)


def told(act: Callable[[], object]) -> str:
    """Whatever an action shows: its result, its exception with the values in each frame, its warnings."""
    shown = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = act()
            shown += [repr(result), str(result), f"{result:}", str(getattr(result, "__dict__", ""))]
        except hx.HelixError as error:
            verbose = traceback.TracebackException.from_exception(error, capture_locals=True)
            shown += [str(error), repr(error), repr(error.args), repr(vars(error)), *verbose.format()]
            shown += [str(error.reply), repr(error.reply)]
            result = error.reply
        if isinstance(result, hx.Reply):
            shown += [str({name: getattr(result, name) for name in result.__dataclass_fields__})]
            shown += [json.dumps(result._repr_mimebundle_())]
    return "\n".join([*shown, *(str(warning.message) for warning in caught)])


@pytest.mark.parametrize("model", SAYS)
def test_a_server_that_tells_the_key_is_not_repeated(server, tmp_path, model):
    """Echoed in text, thinking, facts, tool calls or errors, whole or in pieces, the key is masked."""
    shown = told(lambda: hx.ask("What is my key?", model=model))
    assert server.asked(), "nothing was sent"
    assert server.asked()[0].headers["authorization"] == f"Bearer {KEY}"
    shown += told(lambda: "".join(hx.stream("And now?", model=model).__enter__()))
    shown += told(lambda: asyncio.run(hx.aask("And now?", model=model)))
    shown += told(lambda: hx.ask("And now?", model=model, stream=False))
    shown += repr(hx.last) + hx.log().to_csv()
    assert leaks(shown) == []
    assert leaks(logged(tmp_path)) == []
    assert leaks(sent(server)) == []


def test_the_mask_stands_where_the_key_was(server):
    """What is masked reads on: the rest of the answer is whole."""
    assert str(hx.ask("?", model="split")) == "Your key is [key]."
    assert hx.ask("?", model="think-tags").reasoning == "[key]"


def test_a_key_pasted_into_a_prompt_is_not_sent(server, tmp_path):
    """In prompts, systems, messages, parameters, schemas and tools the key leaves as its mask."""
    import pandas as pd

    chat = hx.Chat(model="whole", system=f"The key is {KEY}.")
    told(lambda: hx.ask(f"Is {KEY} a key?", model="whole", system=KEY, stop=[KEY], metadata={KEY: KEY}))
    told(lambda: hx.ask([{"role": "user", "content": KEY, "name": KEY}], model="whole"))
    told(
        lambda: hx.ask(
            f"a {KEY} b", model="split", schema={"type": "object", "description": KEY, "properties": {}}
        )
    )
    told(lambda: hx.ask("a", model="split", images=[f"https://example.org/a.png?key={KEY}"]))
    shown = (
        told(lambda: chat.ask(f"{KEY}?")) + told(lambda: chat.ask("again")) + repr(chat) + str(chat.messages)
    )
    frame = pd.DataFrame({"secret": [KEY, "b"]})
    shown += told(
        lambda: (
            frame.helix.ask("What is {{secret}}?", model="whole", progress=False).to_csv().replace(KEY, "", 1)
        )
    )
    assert len(server.asked()) >= 7
    assert leaks(shown) == []
    assert leaks(sent(server)) == []
    assert leaks(logged(tmp_path)) == []


ASKS: dict[str, Callable[[str, str], object]] = {
    "by its URL": lambda url, prompt: hx.ask(prompt, endpoint=url, model="whole"),
    "as a connection": lambda url, prompt: hx.ask(prompt, endpoint=hx.connect(url), model="whole"),
    "by a chat": lambda url, prompt: hx.Chat("whole", endpoint=url).ask(prompt),
}


@pytest.mark.parametrize("how", ASKS)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_configured_key_goes_to_no_other_endpoint(monkeypatch, tmp_path, how, where):
    """Helix's key is masked in the very first prompt of a process, whichever endpoint that asks."""
    monkeypatch.setattr(redaction, "_values", {})
    if where == ".env":
        (tmp_path / ".env").write_text(f"HELIX_API_KEY={KEY}\n")
    else:
        monkeypatch.setenv("HELIX_API_KEY", KEY)
    with WireServer(answers) as other:
        shown = told(lambda: ASKS[how](other.url, f"Is {KEY} a key?"))
    assert leaks(shown) == [] and "[key]" in shown + sent(other)
    assert leaks(sent(other)) == []
    hx.log()
    assert leaks(b"".join(path.read_bytes() for path in tmp_path.glob("*.db*"))) == []


def test_a_tool_that_returns_the_key_does_not_send_it(server, tmp_path):
    """What a tool returns, and the error it fails with, are masked before the model sees them."""

    def lookup(of: str) -> str:
        """Look up."""
        return f"{of} is {KEY}"

    def fails(of: str) -> str:
        """Look up."""
        raise RuntimeError(KEY)

    fails.__name__ = "lookup"
    for tool in (lookup, fails):
        chat = hx.Chat(model="calls")
        shown = told(lambda: chat.ask("?", tools=[tool])) + str(chat.messages)  # noqa: B023 - called at once
        assert leaks(shown) == []
    assert len(server.asked()) == 4
    assert leaks(sent(server)) == []
    assert leaks(logged(tmp_path)) == []


def test_configuration_shows_no_key(server):
    """Connections, reports, pickles and the errors of configuring name where a key came from, never the key."""
    connection = hx.connect(server.url, key=KEY, name="given")
    shown = [repr(connection), str(connection), repr(hx.use()), str(vars(connection)), repr(server.url)]
    shown += [told(hx.models), told(lambda: pickle.dumps(connection))]
    shown += [repr(pickle.dumps(hx.connect(server.url, key_env="CANARY_KEY", name="env")))]
    for url in (f"http://user:{KEY}@127.0.0.1:9/v1", f"ftp://user:{KEY}@x/?{KEY}", f"http://x:{KEY}/"):
        with pytest.raises(hx.ConfigError) as refused:
            hx.connect(url)
        shown += [str(refused.value)]
    shown += [repr(hx.connect(f"http://127.0.0.1:9/v1?key={KEY}#{KEY}", name="query"))]
    shown += [repr(hx.connect(server.url, headers={"X-Api-Key": KEY}, name="header")), repr(hx.use())]
    assert leaks("\n".join(shown)) == []


@pytest.mark.parametrize("carrier", ["aiohttp", "httpx"])
def test_no_library_logs_the_key(server, caplog, carrier):
    """With everything logged, a key that a server repeats in headers and status lines is masked too."""
    hx.connect(server.url, key_env="CANARY_KEY", name="loud", retries=0, carrier=carrier)
    with caplog.at_level(logging.DEBUG):
        for model in ("redirect", "status-line", "no-http", "header", "whole"):
            told(lambda: hx.ask("?", model=model))  # noqa: B023 - called at once
    assert leaks(caplog.text) == [] and ("[key]" in caplog.text) == (carrier == "httpx")


def test_a_header_that_carries_a_key_is_a_key(server, tmp_path):
    """A key given in `headers=` is masked like any other."""
    other = "zz-0ther-s3cret-hFq81kLm"
    hx.connect(server.url, headers={"X-Api-Key": other}, name="header")
    shown = told(lambda: hx.ask(f"Is {other} mine?", model="whole"))
    assert server.asked()[0].headers["x-api-key"] == other
    assert other not in shown
    assert other.encode() not in server.asked()[0].body
    assert other.encode() not in logged(tmp_path)
