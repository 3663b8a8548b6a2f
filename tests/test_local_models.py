"""What models bring along: thoughts, tools, other kinds of caches, and what can be wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from local_models import Reference, plain_mlx_lm, scripted

import helix_nb as hx
from helix_nb.config import registry
from helix_nb.endpoints.local import tiny_model
from helix_nb.endpoints.local.pool import loaded_models, unload

if find_spec("mlx_lm") is None:
    pytest.skip("local models need the extra: pip install 'helix-nb[local]'", allow_module_level=True)
pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    """Plain mlx-lm, in a process of its own."""
    with plain_mlx_lm() as ask:
        yield ask


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    """Leave no process behind."""
    yield
    unload()


def asked(model: Path, prompt: str = "Hi", **params: Any) -> hx.Reply:
    return hx.ask(prompt, endpoint="local", model=str(model), **params)


def test_thoughts_are_kept_apart_and_counted(tmp_path: Path) -> None:
    """Reasoning is no part of the answer, its tokens are counted, and the end token is no text."""
    model = scripted(
        tmp_path / "m", ["<think>", "So, ", "France. ", "</think>", "\n\n", "Par", "is."], thinking=True
    )
    reply = asked(model)
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("Paris.", "So, France.", "stop")
    assert (reply.usage.completion_tokens, reply.usage.reasoning_tokens) == (8, 3)
    opened = asked(model, chat_template_kwargs={"opening": "<think>"})
    assert (opened.text, opened.reasoning) == ("Paris.", "So, France.")
    assert asked(model, stop=["France", "s."]).text == "Pari"


def test_a_character_split_over_tokens_arrives_whole(tmp_path: Path) -> None:
    """Bytes of one character are held until it is complete."""
    model = scripted(tmp_path / "m", [*tiny_bytes("🚀"), "!"])
    with hx.stream("Hi", endpoint="local", model=str(model)) as s:
        assert list(s) == ["🚀", "!"]
    assert s.reply.usage.completion_tokens == 6


def tiny_bytes(text: str) -> list[str]:
    """The byte-level tokens of a character."""
    return [
        tiny_model.train_tokenizer(tiny_model.TEXT).id_to_token(i)
        for i in tiny_model.train_tokenizer(["x"]).encode(text).ids
    ]


def test_tools_are_called_through_the_models_template(tmp_path: Path) -> None:
    """A call the model writes in its own format is run, its result goes back, both rounds are rows."""
    call = '\n{"name": "weather", "arguments": {"city": "Paris"}}\n'
    model = scripted(tmp_path / "m", ["Let me look.", "<tool_call>", call, "</tool_call>"], ["Sun", "ny."])
    cities = []

    def weather(city: str) -> str:
        """Tell the weather in a city."""
        cities.append(city)
        return "sunny"

    reply = asked(model, tools=[weather])
    assert (reply.text, cities) == ("Sunny.", ["Paris"])
    rows = hx.log()
    assert list(rows["finish_reason"]) == ["tool_calls", "stop"]
    assert rows["response"].iloc[0] == "Let me look."
    assert asked(model).text == f"Let me look.<tool_call>{call}</tool_call>"  # nobody asked for tools: text


def test_a_model_without_tools_says_so(tmp_path: Path) -> None:
    """Tools are not dropped in silence where the template knows none."""

    def now() -> str:
        """Tell the time."""
        return "noon"

    with pytest.raises(hx.BadRequest, match="cannot call tools: its chat template knows none"):
        asked(tiny_model.build(tmp_path / "m"), tools=[now])


def test_a_schema_is_followed_validated_and_repaired(tmp_path: Path) -> None:
    """A model that answers in prose gets one more try, then the mismatch is an error with the text."""
    right = scripted(tmp_path / "right", ["```json\n", '{"city": "Paris"}', "\n```"])
    assert asked(right, schema={"city": str}).parsed == {"city": "Paris"}
    wrong = scripted(tmp_path / "wrong", ["It is ", "Paris."])
    with pytest.raises(hx.SchemaMismatch) as caught:
        asked(wrong, schema={"city": str})
    assert caught.value.reply is not None and caught.value.reply.text == "It is Paris."
    assert len(hx.log()) == 3


LLAMA4 = {
    "model_type": "llama4",
    "text_config": {
        "model_type": "llama4_text",
        "attention_bias": False,
        "attention_chunk_size": 2048,
        "head_dim": 16,
        "hidden_size": 64,
        "interleave_moe_layer_step": 1,
        "intermediate_size": 64,
        "intermediate_size_mlp": 128,
        "max_position_embeddings": 2048,
        "num_attention_heads": 4,
        "num_experts_per_tok": 1,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 2,
        "rms_norm_eps": 1e-6,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "use_qk_norm": True,
        "vocab_size": 512,
        "attn_temperature_tuning": False,
        "floor_scale": 8192,
        "attn_scale": 0.1,
    },
}
MAMBA2 = {
    "model_type": "mamba2",
    "num_heads": 4,
    "head_dim": 32,
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "state_size": 16,
    "num_hidden_layers": 2,
    "layer_norm_epsilon": 1e-5,
    "conv_kernel": 4,
    "n_groups": 1,
    "use_bias": False,
    "use_conv_bias": True,
    "tie_word_embeddings": True,
    "time_step_limit": [0.0, 100.0],
    "time_step_rank": "auto",
    "max_position_embeddings": 2048,
}


WINDOWED = {**LLAMA4, "text_config": {**LLAMA4["text_config"], "attention_chunk_size": 32}}


@pytest.mark.parametrize(
    ("config", "reused"),
    [(LLAMA4, True), (WINDOWED, False), (MAMBA2, True)],
    ids=["unbatchable", "windowed", "untrimmable"],
)
def test_caches_of_other_kinds_are_as_exact(
    config: dict[str, Any], reused: bool, tmp_path: Path, reference: Reference
) -> None:
    """Where caches cannot be batched, forget their beginning, or cannot be cut, answers are right."""
    model = tiny_model.build(tmp_path / "m")
    reference(build=str(model), config={**config, "eos_token_id": 2})
    chat = hx.Chat(str(model), endpoint="local", max_tokens=15)
    messages: list[dict[str, str]] = []
    for turn in range(3):
        messages.append({"role": "user", "content": f"Turn {turn}: what is the answer?"})
        expected = reference(model=str(model), messages=messages, max_tokens=15)
        reply = chat.ask(messages[-1]["content"])
        assert reply.text == expected["text"]
        assert reply.usage.prompt_tokens == expected["prompt_tokens"]
        assert not reused or bool(reply.usage.cached_tokens) == bool(turn)
        messages.append({"role": "assistant", "content": reply.text})
    with hx.stream("Turn 0: what is the answer?", endpoint="local", model=str(model), max_tokens=500) as s:
        next(iter(s))
    first = reference(model=str(model), messages=messages[:1], max_tokens=15)["text"]
    assert asked(model, messages[0]["content"], max_tokens=15, presence_penalty=0.0).text == first


def test_what_is_wrong_with_a_model_is_one_sentence(tmp_path: Path, reference: Reference) -> None:
    """Each way to be no usable model has its own words, none of them a traceback."""
    good = tiny_model.build(tmp_path / "good")

    def broken(name: str, file: str, change: Any) -> str:
        folder = tmp_path / name
        shutil.copytree(good, folder)
        path = folder / file
        change(path)
        return str(folder)

    def config(**changes: Any) -> Any:
        return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def drop_template(path: Path) -> None:
        words = json.loads(path.read_text())
        del words["chat_template"]
        path.write_text(json.dumps(words))

    expected = {
        broken("no-config", "config.json", Path.unlink): "it has no config.json",
        broken(
            "damaged", "config.json", lambda path: path.write_text("{")
        ): "is damaged or names no model_type",
        broken(
            "code", "config.json", config(model_file="evil.py")
        ): "its own Python code, which is never run",
        broken("no-weights", "model.safetensors", Path.unlink): "no weights that MLX reads",
        broken("unknown", "config.json", config(model_type="foo9")): "of the kind 'foo9'",
        broken("misfit", "config.json", config(num_hidden_layers=3)): "do not fit its config.json",
        broken(
            "cut", "model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:9999])
        ): "damaged or",
        broken("no-tokenizer", "tokenizer.json", Path.unlink): "The tokenizer of",
        broken("no-template", "tokenizer_config.json", drop_template): "has no chat template",
    }
    said = reference(load=[*expected, str(good)])
    assert said.pop(str(good)) is None
    for folder, sentence in expected.items():
        assert sentence in (said[folder] or ""), folder
        assert folder in said[folder]
        assert "\n" not in said[folder]
    with pytest.raises(hx.LocalModelError, match="has no chat template") as caught:
        asked(tmp_path / "no-template")
    assert caught.value.reply is not None and caught.value.reply.status == "error"


def test_templates_may_refuse_messages(tmp_path: Path) -> None:
    """A template's own complaint is passed on; the worker goes on answering."""
    model = tiny_model.build(tmp_path / "m")
    path = model / "tokenizer_config.json"
    words = json.loads(path.read_text())
    words["chat_template"] = (
        "{%- if messages[0].role == 'system' %}{{ raise_exception('No system messages') }}{% endif %}"
        + words["chat_template"]
    )
    path.write_text(json.dumps(words))
    with pytest.raises(hx.BadRequest, match="refuses these messages: No system messages"):
        asked(model, system="Be brief.")
    assert asked(model, max_tokens=3).status == "ok"


def test_cached_models_work_offline_and_others_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HF_HUB_OFFLINE a Hub id in the cache answers, at its revision; another is a clear sentence."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "hub" / "models--me--tiny"
    tiny_model.build(folder / "snapshots" / ("a" * 40))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    reply = hx.ask("Hi", endpoint="local", model="me/tiny", max_tokens=3)
    assert (reply.status, reply.model) == ("ok", "me/tiny")
    assert list(hx.models("local")["id"]) == ["me/tiny"]
    with pytest.raises(hx.LocalModelError, match="me/other is not on this machine and HF_HUB_OFFLINE is set"):
        hx.ask("Hi", endpoint="local", model="me/other")


def test_models_that_fit_side_by_side_stay_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking two models of the Hub in turn loads each once; one that does not fit takes the other's place."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("one", "two"):
        folder = tmp_path / f"models--me--{name}"
        tiny_model.build(folder / "snapshots" / ("a" * 40))
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("a" * 40)

    def held() -> list[str]:
        for name in ("me/one", "me/two"):
            hx.ask("Hi", endpoint="local", model=name, max_tokens=3)
        return sorted(shown for _, shown in loaded_models())

    assert held() == ["me/one", "me/two"]
    unload()
    registry.configure("local", memory_bytes=2_000_000)  # one needs 1.48 MB
    assert held() == ["me/two"]


def test_the_command_builds_a_labelled_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m helix_nb tiny-model DIR` says that the weights are random, and spares other folders."""
    from helix_nb.cli.main import main

    folder = tmp_path / "new"
    assert main(["tiny-model", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(folder) and "Random weights" in err
    assert "RANDOM weights" in (folder / "README.md").read_text()
    weights = (folder / "model.safetensors").read_bytes()
    assert main(["tiny-model", str(folder)]) == 0  # its own folder may be built again, and is the same
    assert (folder / "model.safetensors").read_bytes() == weights
    (tmp_path / "other.txt").write_text("mine")
    assert main(["tiny-model", str(tmp_path)]) == 1
    assert "already holds something else" in capsys.readouterr().err
    for name in ("~nobody-of-that-name/m", str(tmp_path / "other.txt" / "m"), "x" * 300):
        assert main(["tiny-model", name]) == 1
        assert "cannot be made" in capsys.readouterr().err
