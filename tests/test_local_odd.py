"""Models with something odd about them: foreign code, unreadable tokens, settings and templates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from local_models import Reference, plain_mlx_lm, scripted

import helix_nb as hx
from helix_nb.endpoints.local import tiny_model
from helix_nb.endpoints.local.pool import unload

if find_spec("mlx_lm") is None:
    pytest.skip("local models need the extra: pip install 'helix-nb[local]'", allow_module_level=True)
pytestmark = pytest.mark.local

INTERNLM2 = {
    "model_type": "internlm2",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "vocab_size": 512,
    "max_position_embeddings": 2048,
    "eos_token_id": 2,
}
JAMBA: dict[str, Any] = {
    **INTERNLM2,
    "model_type": "jamba",
    "attn_layer_offset": 1,
    "attn_layer_period": 2,
    "expert_layer_offset": 1,
    "expert_layer_period": 2,
    "mamba_d_conv": 4,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "mamba_dt_rank": 4,
    "mamba_proj_bias": False,
    "mamba_conv_bias": True,
    "num_experts": 2,
    "num_experts_per_tok": 1,
}
MAMBA: dict[str, Any] = {
    "model_type": "mamba",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "state_size": 16,
    "num_hidden_layers": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 4,
    "eos_token_id": 2,
}


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


def test_code_that_a_tokenizer_brings_is_not_run_and_nobody_is_asked(
    tmp_path: Path, reference: Reference
) -> None:
    """A kind of model that only mlx-lm knows, whose files name their own Python, answers without it."""
    model = tiny_model.build(tmp_path / "m")
    (model / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass T: pass\n")
    config = {**INTERNLM2, "auto_map": {"AutoConfig": "evil.T"}}
    reference(build=str(model), config=config)
    path = model / "tokenizer_config.json"
    own = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.T", None]}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    assert asked(model, max_tokens=3, timeout=60).status == "ok"
    assert not (tmp_path / "ran").exists()


def test_a_token_that_nobody_can_read_ends_one_answer_alone(tmp_path: Path, reference: Reference) -> None:
    """A token beyond the tokenizer's is an error for the request that met it; its neighbours go on."""
    model = tiny_model.build(tmp_path / "m")
    words = json.loads((model / "tokenizer.json").read_text())
    steps = [
        ("Replace", {"pattern": {"String": "\u2581"}, "content": " "}),
        ("ByteFallback", {}),
        ("Fuse", {}),
    ]
    words["decoder"] = {"type": "Sequence", "decoders": [{"type": kind, **more} for kind, more in steps]}
    (model / "tokenizer.json").write_text(json.dumps(words))
    reference(build=str(model), config={**INTERNLM2, "vocab_size": 600})
    padding = dict.fromkeys(range(512, 600), -1000)

    async def together() -> list[hx.Reply | BaseException]:
        here: dict[str, Any] = {"endpoint": "local", "model": str(model), "max_tokens": 30}
        good = [hx.aask(f"Row {i}", logit_bias=padding, **here) for i in range(3)]
        bad = hx.aask("Row 3", logit_bias={599: 1000}, **here)
        return await asyncio.gather(*good, bad, return_exceptions=True)

    *good, bad = asyncio.run(together())
    assert [reply.status for reply in good if isinstance(reply, hx.Reply)] == ["ok"] * 3
    assert isinstance(bad, hx.LocalModelError) and "failed while answering" in str(bad)


def test_a_recurrent_state_takes_in_nothing_of_its_neighbours(tmp_path: Path, reference: Reference) -> None:
    """Prompts of different lengths, asked at once of models with recurrent layers, are answered as alone."""
    prompts = [f"Row {i}: " + "what does it say? " * (i % 3 + 1) for i in range(6)]
    for config in (MAMBA, JAMBA):
        model = str(tiny_model.build(tmp_path / config["model_type"]))
        reference(build=model, config=config)

        async def together(model: str = model) -> list[str]:
            here: dict[str, Any] = {"endpoint": "local", "model": model, "max_tokens": 8}
            return [reply.text for reply in await asyncio.gather(*(hx.aask(p, **here) for p in prompts))]

        asks = ([{"role": "user", "content": prompt}] for prompt in prompts)
        alone = [reference(model=model, messages=messages, max_tokens=8)["text"] for messages in asks]
        assert asyncio.run(together()) == alone
        assert asyncio.run(together()) == alone  # from caches


def test_a_question_may_speak_of_the_mark_of_thoughts(tmp_path: Path) -> None:
    """Only what the template adds to ask for an answer opens the thoughts, not a message."""
    model = scripted(tmp_path / "m", ["<think>", "hm", "</think>", "Yes", "."], thinking=True)
    for question in ("What does <think> mean?", "And </think> after <think>", "<think>"):
        reply = asked(model, question)
        assert (reply.text, reply.reasoning) == ("Yes.", "hm")
    earlier = [{"role": "user", "content": "<think>"}, {"role": "assistant", "content": "<think>so</think>b"}]
    reply = hx.ask([*earlier, {"role": "user", "content": "a <think> b"}], endpoint="local", model=str(model))
    assert (reply.text, reply.reasoning) == ("Yes.", "hm")
    opened = asked(model, "</think> and <think>", chat_template_kwargs={"opening": "<think>"})
    assert (opened.text, opened.reasoning) == ("Yes.", "hm")


def test_a_name_that_means_another_folder_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither reuse nor a batch takes the answer of the model that had this relative path elsewhere."""
    frame = pd.DataFrame({"n": [1]})
    texts, rows = [], []
    hx.logbook.replay("reuse")
    for place, said in (("a", "One"), ("b", "Two"), ("a", "One")):
        (tmp_path / place).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / place)
        if not Path("m").exists():
            scripted(Path("m"), [said, "."])
        texts.append(asked(Path("m")).text)
        answers = frame.helix.ask("{{n}}", name="b", endpoint="local", model="m", progress=False)
        rows.append(answers["answer"].item())
    assert texts == rows == ["One.", "Two.", "One."]
    log = hx.log()
    assert list(log["usage_source"]) == ["local"] * 4 + ["replay"]


def test_settings_of_a_model_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    """What generation_config.json recommends and nobody may ask for does not fail every answer."""
    model = tiny_model.build(tmp_path / "m")
    for wrong in ({"top_k": 100_000}, {"top_k": 5.5, "temperature": True}, {"top_p": 7, "min_p": "x"}):
        (model / "generation_config.json").write_text(json.dumps({"do_sample": True, **wrong}))
        assert asked(model, max_tokens=3).status == "ok"
        unload()


def test_a_schema_reaches_a_model_that_knows_no_system_message(tmp_path: Path) -> None:
    """The instruction then ends the question; a system message of the user's own is refused with a hint."""
    model = scripted(tmp_path / "m", ['{"city": ', '"Paris"}'])
    path = model / "tokenizer_config.json"
    words = json.loads(path.read_text())
    refuse = "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    path.write_text(json.dumps({**words, "chat_template": refuse + words["chat_template"]}))
    plain = asked(model)
    reply = asked(model, schema={"city": str})
    assert reply.parsed == {"city": "Paris"}
    assert reply.usage.prompt_tokens and plain.usage.prompt_tokens
    assert reply.usage.prompt_tokens > plain.usage.prompt_tokens + 50
    for schema in (None, {"city": str}):
        with pytest.raises(
            hx.BadRequest, match=r"No system role\. It takes no system message: put that text"
        ):
            asked(model, system="Be brief.", schema=schema)
