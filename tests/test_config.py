"""Endpoints by name, keys that stay put, and sentences for what is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import helix_nb as hx
from helix_nb import config

CANARY = "hl-CANARYcanaryCANARYcanaryCANARYcanary12"


@pytest.mark.parametrize(
    ("given_url", "base"),
    [
        ("https://app.tryhelix.ai", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/v1", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/v1/", "https://app.tryhelix.ai/v1"),
        ("https://app.tryhelix.ai/api/v1//", "https://app.tryhelix.ai/v1"),
        ("http://127.0.0.1:8080/prefix/v1/chat/completions", "http://127.0.0.1:8080/prefix/v1"),
        ("http://LOCALHOST:1234/llm", "http://localhost:1234/llm/v1"),
        ("http://host/v1?key=secret#frag", "http://host/v1"),
    ],
)
def test_urls_become_root_and_version(given_url: str, base: str) -> None:
    """A root, /v1, /api/v1 and slashes all name the same place; prefixes stay, queries go."""
    assert config.normalise(given_url) == base


@pytest.mark.parametrize(
    "url", ["", "app.tryhelix.ai", "ftp://host", "http://", "http://host:port/", None, "127.0.0.1:80"]
)
def test_a_bad_url_is_one_sentence(url: str) -> None:
    """What is not a URL is refused before anything is registered."""
    with pytest.raises(hx.ConfigError) as failed:
        hx.connect(url)
    assert "\n" not in str(failed.value)
    assert set(config.endpoints()) == {"demo", "local"}


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    """User and password belong elsewhere; the sentence does not show them."""
    with pytest.raises(hx.ConfigError) as failed:
        hx.connect("https://me:sesame123@host/v1")
    assert "sesame123" not in str(failed.value)


def test_the_demo_is_the_default_only_when_nothing_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """HELIX_API_KEY makes Helix the default; what is connected becomes current."""
    assert config.resolve(None).name == "demo"
    monkeypatch.setenv("HELIX_API_KEY", CANARY)
    assert config.resolve(None).name == "helix"
    assert hx.connect("http://127.0.0.1:9/v1").name == "127.0.0.1"
    assert config.resolve(None).name == "127.0.0.1"


def test_url_and_key_come_from_one_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env in a cloned repository cannot send the environment's key to its own URL."""
    Path(".env").write_text("HELIX_URL=https://evil.example\n")
    assert config.resolve("helix").authorization() == {}
    monkeypatch.setenv("HELIX_API_KEY", CANARY)
    helix = config.resolve("helix")
    assert helix.base_url == "https://app.tryhelix.ai/v1"
    assert helix.authorization() == {"Authorization": f"Bearer {CANARY}"}


def test_dotenv_of_the_working_directory_is_read(tmp_path: Path) -> None:
    """URL and key of ./.env belong together; it is not exported and parents are not searched."""
    Path(".env").write_text(f"HELIX_URL=http://127.0.0.1:9\nHELIX_API_KEY={CANARY}\n")
    helix = config.resolve("helix")
    assert (helix.base_url, helix.key_hint, helix.has_key) == ("http://127.0.0.1:9/v1", ".env", True)
    (tmp_path / "below").mkdir()
    import os

    assert "HELIX_API_KEY" not in os.environ
    os.chdir(tmp_path / "below")
    with pytest.raises(hx.ConfigError):
        config.resolve("helix")


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
    assert CANARY not in f"{connection!r}{connection}{hx.use()!r}{config.endpoints()!r}"
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
    config.Connection("x", "http://x/v1", _key=config.Secret(CANARY))
    text = CANARY.join(around)
    stream = config.KeyFilter()
    shown = [stream.feed(text[i : i + size]) for i in range(0, len(text), size)]
    shown.append(stream.flush())
    assert "".join(shown) == config.redact(text)
    assert CANARY not in "".join(shown)


def test_a_wrong_helix_url_stops_helix_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default would be Helix, so that fails with its reason; the other endpoints answer."""
    monkeypatch.setenv("HELIX_URL", "nonsense")
    with pytest.raises(hx.ConfigError, match="HELIX_URL"):
        hx.ask("What is the capital of France?")
    assert hx.ask("What is the capital of France?", endpoint="demo").status == "ok"
    assert hx.connect("http://127.0.0.1:9", name="lab") == config.resolve(None)


def test_a_parameter_that_contains_itself_is_refused() -> None:
    """What cannot be written down cannot be sent; one sentence says so."""
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(hx.ConfigError, match="contains itself"):
        hx.ask("What is the capital of France?", logit_bias=circle)
