"""Local models without MLX: what is certain of a text in pieces, names, requests, and machines."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import helix_nb as hx
from helix_nb.endpoints.local import models
from helix_nb.endpoints.local.request import worker_request
from helix_nb.endpoints.local.support import unsupported_reason_on
from helix_nb.endpoints.sections import Marks, Sections
from helix_nb.messages import Message, Request

MARKS = Marks("<think>", "</think>", "<call>", "</call>")
ALPHABET = st.sampled_from(
    ["<think>", "</think>", "<call>", "</call>", "STOP", "ST", "<", "</", " ", "\n", "a", "é"]
)


def said(
    pieces: list[str], stop: list[str], *, thinking: bool = False
) -> tuple[dict[str, str], list[str], bool]:
    """The answer and the reasoning, the tool calls, and whether a stop string ended it."""
    sections, texts, calls = Sections(MARKS, stop, thinking=thinking), {"answer": "", "reasoning": ""}, []
    for kind, text in [out for piece in pieces for out in sections.feed(piece)] + sections.flush():
        if kind == "tool":
            calls.append(text)
        else:
            texts[kind] += text
    return texts, calls, sections.stopped


@given(st.lists(ALPHABET, max_size=14).map("".join), st.lists(st.integers(0, 80), max_size=8), st.booleans())
def test_how_text_is_cut_into_tokens_changes_nothing(text: str, cuts: list[int], thinking: bool) -> None:
    """Any split of a text gives the same answer, thoughts, tool calls and stop as the whole text."""
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    stop = ["STOP", "a\n"]
    assert said(pieces, stop, thinking=thinking) == said([text], stop, thinking=thinking)
    assert said(list(text), stop, thinking=thinking) == said([text], stop, thinking=thinking)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning", "calls", "stopped"),
    [
        ("plain <b>text</b>", "plain <b>text</b>", "", [], False),
        (" \n<think>\nhm</think>\n\nParis", "Paris", "hm", [], False),
        ("<think>a</think>\n<think>b</think>Paris", "Paris", "a\nb", [], False),
        ("</think>\nParis", "Paris", "", [], False),
        ("Paris, <think>really</think>?", "Paris, <think>really</think>?", "", [], False),
        ("<think>never closed", "", "never closed", [], False),
        ("<think>a STOP in thoughts</think>ok STOP it", "ok ", "a STOP in thoughts", [], True),
        ('<call>{"a": 1}</call>\n<call>{}</call>', "", "", ['{"a": 1}', "{}"], False),
        ("Look: <call>cut off", "Look: ", "", ["cut off"], False),
        ("the STO is no stop", "the STO is no stop", "", [], False),
        ("  indented", "  indented", "", [], False),
    ],
)
def test_sections_of_an_answer(
    text: str, answer: str, reasoning: str, calls: list[str], stopped: bool
) -> None:
    """Thoughts count only before the answer, stops only in it, tool calls are passed on whole."""
    assert said(list(text), ["STOP"]) == ({"answer": answer, "reasoning": reasoning}, calls, stopped)


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        ({"system": "darwin", "machine": "x86_64"}, "Intel"),
        (
            {"system": "darwin", "machine": "arm64", "macos": "13.6"},
            "macOS 14 or later, and this is macOS 13.6",
        ),
        ({"system": "win32", "machine": "AMD64"}, "Windows"),
        (
            {"system": "linux", "machine": "x86_64", "libc": ("glibc", "2.31")},
            "glibc 2.35 or later.*glibc 2.31",
        ),
        ({"system": "linux", "machine": "x86_64", "libc": ("", "")}, "another C library"),
        ({"system": "darwin", "machine": "arm64", "installed": False}, r"pip install 'helix-nb\[local\]'"),
    ],
)
def test_where_local_models_cannot_run_a_sentence_says_why(machine: dict[str, Any], names: str) -> None:
    """The cause is named, and the way to a model elsewhere."""
    sentence = unsupported_reason_on(**machine)
    assert sentence is not None
    assert re.search(names, sentence)
    assert "hx.connect(url)" in sentence


def test_where_they_can_run_nothing_is_said() -> None:
    """Apple Silicon and a Linux of these years are fine."""
    assert unsupported_reason_on("darwin", "arm64", macos="26.1") is None
    assert unsupported_reason_on("linux", "aarch64", libc=("glibc", "2.36")) is None


def test_a_folder_wins_over_an_alias_over_a_hub_id(tmp_path: Path) -> None:
    """Names are looked up in that order, and what is none of them is refused with the known ones."""
    (tmp_path / "mine").mkdir()
    aliases = {"short": "owner/name", "mine": "owner/other"}
    assert models.resolve_name("mine", aliases) == str(tmp_path / "mine")
    assert models.resolve_name("short", aliases) == "owner/name"
    assert models.resolve_name("qwen3:8b", aliases) == "mlx-community/Qwen3-8B-4bit"
    assert models.resolve_name("some/model-4bit", aliases) == "some/model-4bit"
    for name, sentence in (
        ("./missing", "does not exist"),
        ("/nowhere/model", "does not exist"),
        ("qwen", "is no local model.*short"),
        ("a/b/c", "is no local model"),
        ("~nobody-of-that-name/model", "does not exist"),
        ("x" * 300, "is no local model"),
        ("/" + "x" * 300, "does not exist"),
        ("a/" + "x" * 300, "is no local model"),
    ):
        with pytest.raises(hx.LocalModelError, match=sentence):
            models.resolve_name(name, aliases)


def test_the_default_model_grows_with_the_memory() -> None:
    """One table decides, and any machine finds something in it."""
    chosen = [models.model_for_memory(memory * models.GB) for memory in (4, 8, 16, 32, 64, 512)]
    assert chosen[0] == chosen[1] == "mlx-community/Llama-3.2-3B-Instruct-4bit"
    assert len(dict.fromkeys(chosen)) == 4


def test_the_hubs_cache_is_read_as_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached language models are listed with size, quantisation and context; others are left out."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    llama3 = {"factor": 8.0, "original_max_position_embeddings": 8192}
    configs: dict[str, dict[str, Any]] = {
        "me--chat": {"model_type": "qwen3", "quantization": {"bits": 4}, "max_position_embeddings": 4096},
        "me--long": {"max_position_embeddings": 8192, "rope_scaling": llama3, "torch_dtype": "bfloat16"},
        "me--words": {"architectures": ["BertModel"]},
    }
    for name, config in configs.items():
        folder = tmp_path / f"models--{name}" / "snapshots" / "abc"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "models--me--empty" / "snapshots" / "abc").mkdir(parents=True)
    found = hx.models("local").set_index("id")
    assert list(found.index) == ["me/chat", "me/long"]
    assert list(found["size_bytes"]) == [1000, 1000]
    assert list(found["quantization"]) == ["4-bit", "bfloat16"]
    assert list(found["context_length"]) == [4096, 65536]


def test_one_broken_model_in_the_cache_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a config holds, and where weights are gone, the list shows what can be read of each."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    configs: dict[str, Any] = {
        "a-scaling": {"rope_scaling": "linear", "max_position_embeddings": "4096"},
        "b-bits": {"quantization": "4bit", "architectures": [None, "XForCausalLM"], "torch_dtype": 16},
        "c-limit": {"max_position_embeddings": -1, "architectures": "XForCausalLM"},
        "d-good": {"max_position_embeddings": 4096},
        "e-gone": {},
    }
    for name, config in configs.items():
        folder = tmp_path / f"models--me--{name}" / "snapshots" / "abc"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        if name == "e-gone":
            (folder / "model.safetensors").symlink_to(tmp_path / "blob that is gone")
        else:
            (folder / "model.safetensors").write_bytes(b"x" * 1000)
    found = hx.models("local").set_index("id")
    assert list(found.index) == ["me/a-scaling", "me/b-bits", "me/c-limit", "me/d-good"]
    assert list(found["context_length"].isna()) == [True, True, True, False]


def test_a_model_is_whole_when_all_that_its_index_names_is_there(tmp_path: Path) -> None:
    """Without an index, or with one nobody can read, any file of weights will do."""
    assert not models.has_all_weights(tmp_path)
    parts = [tmp_path / f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    parts[0].write_bytes(b"x")
    assert models.has_all_weights(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": parts[0].name, "b": parts[1].name}}))
    assert not models.has_all_weights(tmp_path)
    parts[1].write_bytes(b"x")
    assert models.has_all_weights(tmp_path)
    index.write_text("[]")
    assert models.has_all_weights(tmp_path)


def test_the_memory_a_model_needs_is_estimated_from_any_config(tmp_path: Path) -> None:
    """Numbers for each layer count as their largest, and what is no number as nothing."""
    sizes = {"num_hidden_layers": 32, "num_attention_heads": 32, "head_dim": 128, "hidden_size": 4096}
    for heads, bytes_ in (([2, 8], 8), (8, 8), ("8", 32), (None, 32)):
        (tmp_path / "config.json").write_text(json.dumps({**sizes, "num_key_value_heads": heads}))
        assert models.estimate_size(tmp_path).cache_bytes == 2 * 2 * 32 * bytes_ * 128 * 8192


def test_a_containers_memory_is_what_counts(tmp_path: Path) -> None:
    """Where cgroups leave less than the machine has, a model must fit into that."""
    machine = models.machine_memory_bytes(tmp_path)
    assert machine > models.GB
    (tmp_path / "memory.max").write_text("max\n")
    assert models.machine_memory_bytes(tmp_path) == machine
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("500000000\n")
    assert models.machine_memory_bytes(tmp_path) == 500_000_000
    (tmp_path / "memory.max").write_text("400000000\n")
    assert models.machine_memory_bytes(tmp_path) == 400_000_000


def test_windows_is_told_so_by_every_way_in() -> None:
    """Where signals and numbers of the system are missing, the sentence comes all the same."""
    code = """
        import os, platform, signal, subprocess, sys
        import helix_nb as hx
        hx.ask("Hi", endpoint="demo"), len(hx.models("demo"))  # all but what is local is imported
        sys.platform, platform.machine = "win32", lambda: "AMD64"
        del signal.SIGKILL, signal.SIGBUS, os.sysconf
        for model in (None, "x"):
            try:
                hx.ask("Hi", endpoint="local", model=model)
            except hx.LocalModelError as error:
                print(str(error).split(".")[0])
        print(len(hx.models("local")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HELIX_NB_LOG": ":memory:", "HF_HUB_CACHE": "/nowhere"},
    )
    sentence = "Local models run on macOS and Linux, and mlx-lm does not run on Windows"
    assert done.stdout.splitlines() == [sentence, sentence, "0"]


def request(*, schema: dict[str, Any] | None = None, **params: Any) -> Request:
    return Request((Message("user", "Hi"),), "m", params, schema)


def test_parameters_are_checked_before_a_model_is_loaded() -> None:
    """What a local model cannot do is refused with a sentence; nothing is dropped in silence."""
    wire = worker_request(request(max_completion_tokens=5, stop="x", n=1, logit_bias={7: 1}, user="me"), "m")
    assert wire == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 5,
        "stop": ["x"],
        "logit_bias": {"7": 1.0},
    }
    refused: list[tuple[dict[str, Any], str]] = [
        ({"temprature": 1}, "Did you mean temperature"),
        ({"temperature": -1}, "from 0 up"),
        ({"top_p": 2}, "from 0 to 1"),
        ({"max_tokens": 0}, "from 1 up"),
        ({"n": 2}, "no parameter 'n'"),
        ({"logprobs": True}, "no parameter 'logprobs'"),
        ({"logit_bias": {"word": 1}}, "token ids to numbers"),
        ({"tools": [], "tool_choice": "required"}, "cannot be made to call a tool"),
        ({"response_format": "json"}, "response_format is a mapping"),
        ({"response_format": {"type": "json_schema", "json_schema": "x"}}, "response_format is a mapping"),
        ({"chat_template_kwargs": {"tokenize": False}}, "the template's own variables"),
        ({"chat_template_kwargs": {"truncation": True, "max_length": 3}}, "the template's own variables"),
    ]
    for params, sentence in refused:
        with pytest.raises(hx.ConfigError, match=sentence):
            worker_request(request(**params), "m")


def test_images_are_refused_and_a_schema_becomes_an_instruction() -> None:
    """A local model reads text; a schema goes to the end of the system message, whole."""
    image = Message("user", ({"type": "image_url", "image_url": {"url": "data:,"}},))
    with pytest.raises(hx.ConfigError, match="reads text only"):
        worker_request(Request((image,), "m"), "m")
    schema = {"type": "object", "properties": {"city": {"type": "string", "pattern": "^P"}}}
    alone, *_ = worker_request(request(schema=schema), "m")["messages"]
    assert alone["role"] == "system" and json.dumps(schema) in alone["content"]
    both = Request((Message("system", "Be brief."), Message("user", "Hi")), "m", {}, schema)
    system, user = worker_request(both, "m")["messages"]
    assert system["content"].startswith("Be brief.\n\n") and user == {"role": "user", "content": "Hi"}
