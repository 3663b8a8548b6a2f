"""Local models, for real: mlx-lm in its worker, on models built on the spot, against plain mlx-lm."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from local_models import Reference, plain_mlx_lm

import helix_nb as hx
from helix_nb.config.registry import configure
from helix_nb.endpoints.local import tiny_model
from helix_nb.endpoints.local.pool import unload

if find_spec("mlx_lm") is None:
    pytest.skip("local models need the extra: pip install 'helix-nb[local]'", allow_module_level=True)
pytestmark = pytest.mark.local

PROMPTS = [f"Row {i}: " + "what does the notebook answer? " * (i % 5 + 1) for i in range(32)]


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    """Plain mlx-lm, in a process of its own."""
    with plain_mlx_lm() as ask:
        yield ask


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny model that ships, with random weights."""
    yield str(tiny_model.build(tmp_path_factory.mktemp("tiny")))
    unload()


def asked(model: str, prompt: str, **params: Any) -> hx.Reply:
    return hx.ask(prompt, endpoint="local", model=model, **params)


def told(reference: Reference, model: str, prompt: str, max_tokens: int, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return reference(model=model, messages=messages, max_tokens=max_tokens, **more)


def test_alone_the_answer_is_mlx_lms_token_for_token(model: str, reference: Reference) -> None:
    """Text, finish reason and counts equal plain mlx-lm's, and the row says who counted."""
    for prompt in ("Hello", "What is the capital of France?", "你好 🙂"):
        expected = told(reference, model, prompt, 40)
        reply = asked(model, prompt, max_tokens=40)
        assert reply.text == expected["text"]
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (expected["prompt_tokens"], 40)
        assert reply.finish_reason == expected["finish_reason"] == "length"
    row = hx.log().iloc[-1]
    assert (row["usage_source"], row["status"], row["total_tokens"]) == (
        "local",
        "ok",
        reply.usage.total_tokens,
    )
    assert row["model"] == model


def test_batched_with_31_others_nothing_changes(model: str, reference: Reference) -> None:
    """32 concurrent answers equal plain mlx-lm's one by one, though batched and of different lengths."""
    unload()
    expected = [told(reference, model, prompt, 10 + i)["text"] for i, prompt in enumerate(PROMPTS)]

    async def all_of_them() -> list[hx.Reply]:
        asking = [
            hx.aask(prompt, endpoint="local", model=model, max_tokens=10 + i)
            for i, prompt in enumerate(PROMPTS)
        ]
        return await asyncio.gather(*asking)

    assert [reply.text for reply in asyncio.run(all_of_them())] == expected
    again = asyncio.run(all_of_them())  # and once more, now on reused caches
    assert [reply.text for reply in again] == expected
    assert all(reply.usage.cached_tokens for reply in again)


def test_an_interrupted_answer_has_exact_usage_and_leaves_its_neighbour_alone(
    model: str, reference: Reference
) -> None:
    """Stopping one of two acts at once, counts exactly, and both caches stay sound."""
    first, second = told(reference, model, "First", 300), told(reference, model, "Second one", 60)
    with hx.stream("First", endpoint="local", model=model, max_tokens=300) as neighbour:
        with hx.stream("Second one", endpoint="local", model=model, max_tokens=4000) as stopped:
            for _ in zip(range(9), stopped, strict=False):
                pass
        text = "".join(neighbour)
    assert text == first["text"]
    reply = stopped.reply
    assert reply.status == "interrupted" and reply.usage.source == "local"
    count = reply.usage.completion_tokens
    assert count is not None and 9 <= count < 60
    assert reply.text == "".join(second["texts"][:count])
    assert reply.usage.prompt_tokens == second["prompt_tokens"]
    row = hx.log().set_index("id").loc[reply.exchange_id]
    assert (row["status"], row["completion_tokens"]) == ("interrupted", count)
    again = asked(model, "Second one", max_tokens=60)
    assert again.text == second["text"]
    assert again.usage.cached_tokens == second["prompt_tokens"] - 1


def test_twenty_turns_are_equal_with_and_without_reuse(model: str) -> None:
    """Reusing the prompt cache changes what is computed, never what is said."""

    def conversation(cache_bytes: int | None) -> list[hx.Reply]:
        unload()
        configure("local", cache_bytes=cache_bytes)
        chat = hx.Chat(model, endpoint="local", system="You answer in words.", max_tokens=12)
        return [chat.ask(f"Turn {i}: and what is the answer now?") for i in range(20)]

    reused, fresh = conversation(None), conversation(1)
    assert [reply.text for reply in reused] == [reply.text for reply in fresh]
    assert [reply.usage.prompt_tokens for reply in reused] == [reply.usage.prompt_tokens for reply in fresh]
    assert {reply.usage.cached_tokens for reply in fresh} == {0}
    for before, after in itertools.pairwise(reused):
        assert before.usage.prompt_tokens and after.usage.cached_tokens
        assert after.usage.cached_tokens >= before.usage.prompt_tokens
    unload()


def test_stop_strings_end_the_answer_wherever_tokens_are_cut(model: str, reference: Reference) -> None:
    """Each stop string, most of them split over tokens, cuts the text right before it."""
    text = told(reference, model, "Hello", 60)["text"]
    stops = [text[at : at + size] for at, size in ((5, 1), (9, 4), (17, 7), (40, 3), (60, 12))]
    for stop in stops:
        with hx.stream("Hello", endpoint="local", model=model, max_tokens=60, stop=[stop, "never said"]) as s:
            pieces = list(s)
        assert "".join(pieces) == s.reply.text == text[: text.index(stop)]
        assert s.reply.finish_reason == "stop"
    whole = asked(model, "Hello", max_tokens=60, stop=["never said", text[-3:] + "?"])
    assert (whole.text, whole.finish_reason) == (text, "length")


def test_a_seed_repeats_itself_also_in_company(model: str, reference: Reference) -> None:
    """Seeded answers equal plain mlx-lm's with that seed, whatever else runs; unseeded ones differ."""
    options = {"temperature": 1.0, "seed": 11}
    expected = told(reference, model, "Dice", 40, **options)["text"]

    async def in_company() -> list[hx.Reply]:
        here: dict[str, Any] = {"endpoint": "local", "model": model, "max_tokens": 40}
        others = [hx.aask(f"Other {i}", temperature=1.0, **here) for i in range(3)]
        seeded = [hx.aask("Dice", **options, **here) for _ in range(2)]
        return await asyncio.gather(*others, *seeded)

    *_, one, two = asyncio.run(in_company())
    assert one.text == two.text == expected
    assert asked(model, "Dice", max_tokens=40, temperature=1.0, seed=12).text != expected
    unseeded = {asked(model, "Dice", max_tokens=40, temperature=1.0).text for _ in range(2)}
    assert len(unseeded | {expected}) == 3


def test_sampling_settings_reach_the_model(model: str) -> None:
    """top_k=1 and a tiny top_p are greedy again, a bias decides, a penalty changes what is said."""
    greedy = asked(model, "Hello", max_tokens=30).text
    assert asked(model, "Hello", max_tokens=30, temperature=1.5, top_k=1).text == greedy
    assert asked(model, "Hello", max_tokens=30, temperature=1.5, top_p=1e-6).text == greedy
    assert asked(model, "Hello", max_tokens=30, temperature=1.5, min_p=1.0).text == greedy
    assert asked(model, "Hello", max_tokens=30, presence_penalty=50.0).text != greedy
    ended = asked(model, "Hello", max_tokens=30, logit_bias={2: 1000.0})  # <|im_end|>
    assert (ended.text, ended.finish_reason, ended.usage.completion_tokens) == ("", "stop", 1)


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(model: str) -> None:
    """The context is never overrun in silence; the answer is cut where it ends."""
    with pytest.raises(hx.BadRequest, match=r"15,011 tokens long and .* takes 4,096"):
        asked(model, "word " * 3000)
    long = asked(model, "word " * 800, max_tokens=200)
    assert long.finish_reason == "length"
    assert long.usage.total_tokens == 4096
