"""Pickles that version 0.1.0 made of public objects are read by this one."""

from __future__ import annotations

import base64
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import helix_nb as hx

STORED: dict[str, str] = json.loads(
    Path(__file__).with_name("pickles_0_1_0.json").read_text(encoding="utf-8")
)


def stored(name: str) -> Any:
    return pickle.loads(base64.b64decode(STORED[name]))


def test_a_reply_with_its_usage() -> None:
    """Every field is there, the ones that came later with their defaults."""
    reply = stored("reply")
    assert type(reply) is hx.Reply and str(reply) == "The capital of France is Paris."
    assert isinstance(repr(reply), str) and reply.usage.source == "server"
    assert all(hasattr(reply, name) for name in hx.Reply.__dataclass_fields__)
    assert replace(reply, status="error").status == "error"
    assert stored("usage") == reply.usage


def test_a_chat_goes_on() -> None:
    """Its settings and turns are there, and the next answer knows them."""
    chat = stored("chat")
    assert type(chat) is hx.Chat and (chat.system, chat.params) == ("s", {"temperature": 0.5})
    assert "Ada" in str(chat.ask("What is my name?")) and len(chat.turns) == 2


@pytest.mark.parametrize("name", ["ConfigError", "RateLimited"])
def test_errors(name: str) -> None:
    """They are of their class, with their sentence and fields."""
    error = stored(name)
    assert type(error).__name__ == name and isinstance(error, hx.HelixError) and str(error)
    if name == "RateLimited":
        assert (error.status_code, error.retry_after_s, error.reply.status) == (429, 2.0, "ok")


def test_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are there, and a key is found again in the environment variable that the pickle names."""
    assert (stored("connection").name, stored("connection").retries) == ("lab", 1)
    limited, local = stored("connection_with_limits"), stored("connection_local")
    assert (limited.rpm, limited.tpm, limited.carrier) == (30, None, "httpx")
    assert (local.revision, local.idle_unload_s) == ("v9", 5) and hash(local) == hash(local)
    assert limited == hx.connect("http://127.0.0.1:9", name="lab", rpm=30, carrier="httpx")
    monkeypatch.setenv("SOME_KEY", "hl-something-long")
    assert stored("keyed").authorization() == {"Authorization": "Bearer hl-something-long"}
    assert stored("defaults").endpoint == "keyed"


def test_a_batch_asks() -> None:
    """A pickled batch is still a function from frame to frame."""
    done = stored("job")(pd.DataFrame({"q": ["Give x: 4"]}))
    assert done["a_status"].tolist() == ["ok"] and "x" in done
