"""Endpoints by name, keys that stay put, and sentences for what is wrong."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import certifi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import Answer, WireServer
from wire_transcripts import PARIS, ROLE, STOP, say, sse

import helix_nb as hx
from helix_nb.config.connection import Connection
from helix_nb.config.registry import endpoints, resolve
from helix_nb.config.secrets import Secret
from helix_nb.config.urls import normalise_url
from helix_nb.redaction import KeyFilter, redact

CANARY = "hl-CANARYcanaryCANARYcanaryCANARYcanary12"


@pytest.mark.parametrize(
    ("given_url", "base"),
    [
        ("https://app.tryhelix.ai", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/v1", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/v1/", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/api/v1//", "https://app.tryhelix.ai/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/api/v1/chat/completions", "https://openrouter.ai/api/v1"),
        ("http://127.0.0.1:8080/prefix/v1/chat/completions", "http://127.0.0.1:8080/prefix/v1"),
        ("http://LOCALHOST:1234/llm", "http://localhost:1234/llm/v1"),
        ("http://host/v1?key=secret#frag", "http://host/v1"),
    ],
)
def test_urls_become_root_and_version(given_url: str, base: str) -> None:
    """A root, /v1, /api/v1 and slashes name one place, save OpenRouter's; prefixes stay, queries go."""
    assert normalise_url(given_url) == base


@pytest.mark.parametrize(
    "url", ["", "app.tryhelix.ai", "ftp://host", "http://", "http://host:port/", None, "127.0.0.1:80"]
)
def test_a_bad_url_is_one_sentence(url: str) -> None:
    """What is not a URL is refused before anything is registered."""
    with pytest.raises(hx.ConfigError) as failed:
        hx.connect(url)
    assert "\n" not in str(failed.value)
    assert set(endpoints()) == {"demo", "local"}


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    """User and password belong elsewhere; the sentence does not show them."""
    with pytest.raises(hx.ConfigError) as failed:
        hx.connect("https://me:sesame123@host/v1")
    assert "sesame123" not in str(failed.value)


def test_the_demo_is_the_default_only_when_nothing_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """HELIX_API_KEY makes Helix the default; what is connected becomes current."""
    assert resolve(None).name == "demo"
    monkeypatch.setenv("HELIX_API_KEY", CANARY)
    assert resolve(None).name == "helix"
    assert hx.connect("http://127.0.0.1:9/v1").name == "127.0.0.1"
    assert resolve(None).name == "127.0.0.1"


def test_url_and_key_come_from_one_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env in a cloned repository cannot send the environment's key to its own URL."""
    Path(".env").write_text("HELIX_URL=https://evil.example\n")
    assert resolve("helix").authorization() == {}
    monkeypatch.setenv("HELIX_API_KEY", CANARY)
    helix = resolve("helix")
    assert helix.base_url == "https://app.tryhelix.ai/v1"
    assert helix.authorization() == {"Authorization": f"Bearer {CANARY}"}


def test_a_blank_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty HELIX_API_KEY or HELIX_URL configures nothing, and hides no ./.env."""
    monkeypatch.setenv("HELIX_API_KEY", " ")
    monkeypatch.setenv("HELIX_URL", "\t")
    assert resolve(None).name == "demo"
    Path(".env").write_text(f"HELIX_API_KEY={CANARY}\n")
    assert resolve(None).key_source == ".env"


def test_a_working_directory_that_is_gone_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no ./.env then, and everything else goes on."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert hx.ask("What is the capital of France?").status == "ok"


def test_dotenv_of_the_working_directory_is_read(tmp_path: Path) -> None:
    """URL and key of ./.env belong together; it is not exported and parents are not searched."""
    Path(".env").write_text(f"HELIX_URL=http://127.0.0.1:9\nHELIX_API_KEY={CANARY}\n")
    helix = resolve("helix")
    assert (helix.base_url, helix.key_hint, helix.has_key) == ("http://127.0.0.1:9/v1", ".env", True)
    (tmp_path / "below").mkdir()
    import os

    assert "HELIX_API_KEY" not in os.environ
    os.chdir(tmp_path / "below")
    with pytest.raises(hx.ConfigError):
        resolve("helix")


def test_a_connected_url_gets_no_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without key= or key_env= no key is sent, whatever the environment holds."""
    monkeypatch.setenv("HELIX_API_KEY", CANARY)
    assert hx.connect("http://127.0.0.1:9").authorization() == {}
    assert hx.connect("http://127.0.0.1:9", key_env="HELIX_API_KEY").has_key


@pytest.mark.parametrize("name", ["helix", "local", "demo"])
def test_the_first_three_names_are_reserved(name: str) -> None:
    """Nobody can pass their server off as Helix, local or demo."""
    with pytest.raises(hx.ConfigError, match="reserved"):
        hx.connect("http://127.0.0.1:9", name=name)


def test_settings_are_checked_with_a_suggestion() -> None:
    """A misspelt setting says what was meant; a wrong value says what is right."""
    with pytest.raises(hx.ConfigError, match="Did you mean idle_timeout_s"):
        hx.connect("http://127.0.0.1:9", idle_timeout=3)
    with pytest.raises(hx.ConfigError, match="above 0"):
        hx.connect("http://127.0.0.1:9", idle_timeout_s=0)
    with pytest.raises(hx.ConfigError, match="retries"):
        hx.connect("http://127.0.0.1:9", retries=-1)
    assert hx.connect("http://127.0.0.1:9", retries=np.int64(1)).retries == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"verify": "nowhere.pem"}, "cannot be loaded"),
        ({"verify": "empty.pem"}, "cannot be loaded"),
        ({"verify": ""}, "path of a file"),
        ({"verify": None}, "path of a file"),
        ({"profile": "opneai"}, "known: openai, helix, demo"),
        ({"concurrency": "many"}, "above 0"),
        ({"rpm": 0}, "above 0"),
        ({"connect_timeout_s": float("nan")}, "above 0"),
        ({"headers": {"Authorization": "Bearer " + CANARY}, "key": CANARY}, "not both"),
        ({"revision": "main"}, "no setting 'revision'"),
        ({"name": "http://other"}, "cannot be called"),
        ({"model": 3}, "takes text"),
    ],
)
def test_what_would_fail_at_the_first_ask_fails_at_connect(settings: dict[str, Any], words: str) -> None:
    """Nothing is registered, and the sentence says what is wrong."""
    Path("empty.pem").write_text("")
    with pytest.raises(hx.ConfigError, match=words) as failed:
        hx.connect("http://127.0.0.1:9", **settings)
    assert "\n" not in str(failed.value)
    assert set(endpoints()) == {"demo", "local"}


def test_a_file_of_certificates_is_taken_as_text_or_path() -> None:
    """What requests' own bundle is made of loads; a Path is kept as text."""
    bundle = Path(certifi.where())
    assert hx.connect("https://127.0.0.1:9", verify=bundle).verify == str(bundle)
    assert hx.connect("https://127.0.0.1:9", verify=str(bundle)).verify == str(bundle)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {CANARY}"},
        {"authorization": CANARY},
        {"X-Api-Key": CANARY},
        {"CF-Access-Client-Secret": CANARY},
        {"Cookie": f"lang=en; session={CANARY}"},
    ],
)
def test_a_header_that_holds_a_key_is_a_key(headers: dict[str, str]) -> None:
    """It is sent, reported as a key, and shown, pickled or logged by nobody."""
    name, value = next(iter(headers.items()))
    with WireServer(Answer(sse(ROLE, say(f"I read {CANARY}"), STOP))) as server:
        connection = hx.connect(server.url, name="lab", headers={**headers, "X-Team": "hut"})
        reply = hx.ask("Where?", model="m")
        sent = server.asked()[0].headers
    assert (sent[name.lower()], sent["x-team"]) == (value, "hut")
    assert connection.has_key
    assert repr(hx.use()).startswith(f"endpoint: lab ({connection.base_url}, key from the header {name})")
    assert CANARY not in f"{connection!r}{hx.use()!r}{reply!r}{reply.text}{hx.log().to_csv()}"
    with pytest.raises(hx.ConfigError, match="does not travel"):
        pickle.dumps(connection)
    other = hx.connect(connection.base_url, name="lab", headers={name: value[::-1]})
    assert other.identity(b"salt") != connection.identity(b"salt")


def test_the_three_built_in_endpoints_take_settings_by_name() -> None:
    """`hx.connect("local", ...)` names what a URL cannot; what is not named stays as it was."""
    local = hx.connect("local", idle_unload_s=0, revision="v9", model="tiny")
    assert (hx.use().endpoint, hx.use().model) == ("local", "tiny")
    assert hx.connect("local", memory_bytes=10) == replace(local, memory_bytes=10)
    assert hx.connect("demo", retries=0).retries == 0
    assert hx.ask("What is the capital of France?").status == "ok"
    for wrong in ({"idle_unload_s": -1}, {"verify": False}, {"key": CANARY}, {"name": "mine"}):
        with pytest.raises(hx.ConfigError):
            hx.connect("local", **wrong)
    with pytest.raises(hx.ConfigError, match="HELIX_API_KEY"):
        hx.connect("helix", retries=0)


def test_the_default_endpoint_may_be_a_url() -> None:
    """`hx.use(endpoint=url)` goes on with that server; a password in it is refused, not logged."""
    with WireServer(Answer(PARIS)) as server:
        assert hx.use("m", endpoint=server.url).base_url == f"{server.url}/v1"
        assert str(hx.ask("Where?")) == "Paris"
    with pytest.raises(hx.ConfigError, match="user and password"):
        hx.ask("Where?", endpoint="http://me:sesame123@127.0.0.1:9")
    assert "sesame123" not in hx.log(scope="all").to_csv()


def test_each_endpoint_remembers_its_own_model() -> None:
    """Going back to an endpoint goes back to its model."""
    hx.connect("http://127.0.0.1:9", name="a")
    hx.use("one")
    hx.connect("http://127.0.0.1:10", name="b")
    hx.use("two")
    assert hx.use(endpoint="a").model == "one"
    assert hx.use(endpoint="b").model == "two"


def test_an_unknown_endpoint_is_one_sentence_with_a_suggestion() -> None:
    """A typo in a name lists what is known."""
    hx.connect("http://127.0.0.1:9", name="workshop")
    with pytest.raises(hx.ConfigError, match="Did you mean 'workshop'"):
        hx.ask("hello", endpoint="workshp")


def test_a_key_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr, str, report nor pickle holds the key; a pickle finds it in the environment again."""
    monkeypatch.setenv("MY_KEY", CANARY)
    connection = hx.connect("http://127.0.0.1:9", key_env="MY_KEY")
    packed = pickle.dumps(connection)
    assert CANARY not in f"{connection!r}{connection}{hx.use()!r}{endpoints()!r}"
    assert CANARY.encode() not in packed
    assert pickle.loads(packed).authorization()["Authorization"].endswith(CANARY)
    given_as_text = hx.connect("http://127.0.0.1:9", key=CANARY)
    with pytest.raises(hx.ConfigError):
        pickle.dumps(given_as_text)


def test_identity_tells_keys_and_agents_apart_without_holding_them() -> None:
    """Two agents of one server never share answers, and the digest needs the log's salt."""
    one = hx.connect("http://127.0.0.1:9", key=CANARY)
    two = hx.connect("http://127.0.0.1:9", key=CANARY[::-1])
    agent = hx.connect("http://127.0.0.1:9", key=CANARY, app_id="app_1")
    identities = {c.identity(b"salt") for c in (one, two, agent)} | {one.identity(b"other")}
    assert len(identities) == 4
    assert not any(CANARY in identity for identity in identities)


@given(st.lists(st.text(alphabet="hl-CANARYcanary12 x", max_size=12), max_size=8), st.integers(1, 9))
def test_a_key_split_over_pieces_is_still_redacted(around: list[str], size: int) -> None:
    """However a stream cuts a key, its pieces put together never show it."""
    Connection("x", "http://x/v1", _key=Secret(CANARY))
    text = CANARY.join(around)
    stream = KeyFilter()
    shown = [stream.feed(text[i : i + size]) for i in range(0, len(text), size)]
    shown.append(stream.flush())
    assert "".join(shown) == redact(text)
    assert CANARY not in "".join(shown)


def test_a_wrong_helix_url_stops_helix_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default would be Helix, so that fails with its reason; the other endpoints answer."""
    monkeypatch.setenv("HELIX_URL", "nonsense")
    with pytest.raises(hx.ConfigError, match="HELIX_URL"):
        hx.ask("What is the capital of France?")
    assert hx.ask("What is the capital of France?", endpoint="demo").status == "ok"
    assert hx.connect("http://127.0.0.1:9", name="lab") == resolve(None)


def test_a_parameter_that_contains_itself_is_refused() -> None:
    """What cannot be written down cannot be sent; one sentence says so."""
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(hx.ConfigError, match="contains itself"):
        hx.ask("What is the capital of France?", logit_bias=circle)
