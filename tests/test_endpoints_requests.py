"""The body of a request: what goes over the wire for what was asked, per kind of server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helix_nb.config.connection import Connection
from helix_nb.config.profiles import profile_named
from helix_nb.config.registry import connect
from helix_nb.endpoints.openai.body import encode_body
from helix_nb.endpoints.registry import endpoint_for
from helix_nb.errors import ConfigError
from helix_nb.messages import Message, Request

SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "pattern": "^P"}}}


def connection(profile: str = "openai", **settings: Any) -> Connection:
    return Connection("lab", "http://127.0.0.1:9/v1", profile=profile, **settings)


def wire(
    *messages: Message, profile: str = "openai", app_id: str | None = None, **request: Any
) -> dict[str, Any]:
    messages = messages or (Message("user", "Where?"),)
    endpoint = endpoint_for(connection(profile, app_id=app_id))
    return endpoint.wire(Request(messages, **request))


def params(profile: str = "openai", model: str = "m", **values: Any) -> dict[str, Any]:
    body = wire(profile=profile, model=model, params=values)
    return {
        name: body[name] for name in body if name not in ("model", "messages", "stream", "stream_options")
    }


def test_a_plain_request() -> None:
    """Model, messages, streaming with token counts: nothing else is sent."""
    assert wire(model="qwen3:8b") == {
        "model": "qwen3:8b",
        "messages": [{"role": "user", "content": "Where?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "stream_options" not in wire(model="m", stream=False)
    assert "model" not in wire(profile="helix")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"max_tokens": 10.0}, {"max_tokens": 10}),
        (
            {"max_tokens": np.int64(10), "temperature": np.float32(0.5)},
            {"max_tokens": 10, "temperature": 0.5},
        ),
        ({"seed": pd.Series([7]).iloc[0], "top_p": Decimal("0.5")}, {"seed": 7, "top_p": 0.5}),
        ({"stop": "\n"}, {"stop": ["\n"]}),
        ({"stop": np.array(["a", "b"])}, {"stop": ["a", "b"]}),
        ({"logit_bias": {1: np.float64(2.5)}, "seed": None}, {"logit_bias": {"1": 2.5}}),
        ({"metadata": {"row": 3}, "logprobs": np.True_}, {"metadata": {"row": "3"}, "logprobs": True}),
        (
            {"reasoning_effort": "low", "anything": [1, {"a": (2,)}]},
            {"reasoning_effort": "low", "anything": [1, {"a": [2]}]},
        ),
        ({"temperature": 0, "top_p": 0.0, "seed": 0}, {"temperature": 0, "top_p": 0.0, "seed": 0}),
    ],
)
def test_parameters_go_as_the_types_servers_read(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    """Numbers of numpy and pandas, whole floats and single stops become plain JSON of the right type."""
    got = params(**asked)
    assert got == sent
    assert {name: type(value) for name, value in got.items()} == {
        name: type(value) for name, value in sent.items()
    }


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"max_tokens": float("nan")}, "max_tokens"),
        ({"max_tokens": 10.5}, "whole number"),
        ({"max_tokens": "10"}, "whole number"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": "hot"}, "is a number"),
        ({"seed": pd.NA}, "NAType"),
        ({"stop": [1]}, "stop"),
        ({"tools": [object()]}, "cannot be sent as JSON"),
        ({"messages": []}, "not a parameter"),
    ],
)
def test_parameters_no_server_takes_are_refused_before_sending(asked: dict[str, Any], words: str) -> None:
    """NaN, NA, fractions of tokens and objects are a ConfigError that names the parameter."""
    with pytest.raises(ConfigError, match=words):
        params(**asked)


def test_helix_keeps_zeros_and_system_prompts() -> None:
    """A zero goes as 1e-6, and the system prompt follows one that the server may replace."""
    assert params("helix", temperature=0, top_p=0.0, seed=0) == {
        "temperature": 1e-6,
        "top_p": 1e-6,
        "seed": 0,
    }
    system, user = Message("system", "Answer in French."), Message("user", "Where?")
    filler = {"role": "system", "content": "You are a helpful assistant."}
    assert wire(system, user, profile="helix")["messages"] == [filler, system.to_wire(), user.to_wire()]
    assert wire(user, profile="helix")["messages"] == [user.to_wire()]
    assert wire(system, user, profile="helix", app_id="app_1")["messages"] == [
        system.to_wire(),
        user.to_wire(),
    ]
    assert wire(Message("system", filler["content"]), user, profile="helix")["messages"] == [
        filler,
        user.to_wire(),
    ]
    assert wire(system, user)["messages"] == [system.to_wire(), user.to_wire()]


def test_content_parts() -> None:
    """System text goes as a string; Helix takes text and images only, others what the caller gives."""
    text, image = {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:,"}}
    sound = {"type": "input_audio", "input_audio": {}}
    assert wire(Message("system", (text, text)), model="m")["messages"][0]["content"] == "a\na"
    assert wire(Message("user", (text, image)), profile="helix")["messages"][0]["content"] == [text, image]
    assert wire(Message("user", (text, sound)), model="m")["messages"][0]["content"] == [text, sound]
    with pytest.raises(ConfigError, match="input_audio"):
        wire(Message("user", (text, sound)), profile="helix")
    with pytest.raises(ConfigError, match="image_url"):
        wire(Message("system", (image,)), model="m")


@pytest.mark.parametrize("model", ["o1", "o3-mini", "o4-mini-high", "gpt-5", "openai/gpt-5-mini"])
def test_newer_openai_models_take_max_completion_tokens(model: str) -> None:
    """max_tokens is renamed for the families that refuse it, and only for them."""
    assert params(model=model, max_tokens=9) == {"max_completion_tokens": 9}
    assert params(model="gpt-4o", max_tokens=9) == {"max_tokens": 9}
    assert params(model="o100-local", max_tokens=9) == {"max_tokens": 9}


def test_a_schema_goes_the_way_that_keeps_it_whole() -> None:
    """Helix gets a forced tool call, others response_format; a caller's tools or format come first."""
    forced = wire(profile="helix", schema=SCHEMA)
    assert forced["tools"][0]["function"]["parameters"] == SCHEMA
    assert forced["tool_choice"]["function"]["name"] == forced["tools"][0]["function"]["name"]
    assert wire(model="m", schema=SCHEMA)["response_format"]["json_schema"]["schema"] == SCHEMA
    with_tools = wire(profile="helix", schema=SCHEMA, params={"tools": [{"type": "function"}]})
    assert with_tools["tools"] == [{"type": "function"}] and "response_format" in with_tools
    chosen = wire(model="m", schema=SCHEMA, params={"response_format": {"type": "json_object"}})
    assert chosen["response_format"] == {"type": "json_object"}


def test_a_body_over_the_limit_is_refused() -> None:
    """Helix would cut it silently at 10 MiB, so it is not sent; lone surrogates do not break the rest."""
    body = wire(Message("user", "x" * (10 * 1024 * 1024)), profile="helix")
    with pytest.raises(ConfigError, match=r"10\.0 MiB .* nothing was sent"):
        encode_body(body, profile_named("helix"))
    assert encode_body({"a": "é\ud800"}, profile_named("openai")) == '{"a": "é?"}'.encode()


def test_what_is_shown_for_a_dry_run_holds_no_key() -> None:
    """The body never carries the key, and an unknown profile is named with the known ones."""
    made = connect("http://127.0.0.1:9", key="sk-canary-canary-canary", name="lab")
    assert "canary" not in str(endpoint_for(made).wire(Request((Message("user", "Where?"),), "m")))
    with pytest.raises(ConfigError, match="known: openai, helix, demo"):
        endpoint_for(connection("claude"))
