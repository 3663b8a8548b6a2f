"""A Reply shown on its own, as the last line of a cell."""

from __future__ import annotations

import pytest

import helix_nb as hx
from helix_nb.replies import Reply


def _shown(reply: Reply) -> tuple[str, str]:
    bundle = reply._repr_mimebundle_()
    return bundle["text/plain"], bundle["text/html"]


def test_a_whole_answer_is_shown_alone() -> None:
    """Nothing stands below an answer that is whole."""
    assert _shown(hx.ask("What is the capital of France?", endpoint="demo"))[0] == (
        "The capital of France is Paris."
    )


def test_half_an_answer_does_not_pass_for_one() -> None:
    """Cut at max_tokens, broken off, stopped: the text so far, and below it what it lacks, in both forms."""
    cut = hx.ask("Count to 20", endpoint="demo", max_tokens=6)
    with pytest.raises(hx.TruncatedReply) as caught:
        hx.ask("Count to 20", endpoint="demo", model="demo-truncates")
    with hx.stream("Count to 20", endpoint="demo") as stopped:
        next(iter(stopped))
    for reply, said in (
        (cut, "cut at max_tokens"),
        (caught.value.reply, "ended before it was finished"),
        (stopped.reply, "interrupted"),
    ):
        assert reply is not None
        for form in _shown(reply):
            assert reply.text[:2] in form and form.index(said) > form.index(reply.text[:2])


def test_the_first_answer_says_who_answered() -> None:
    """Where nothing is configured, the first answer says so on its own too, and only the first one."""
    first, second = (hx.ask("What is the capital of France?") for _ in range(2))
    assert all("embedded demo endpoint answered" in form for form in _shown(first))
    assert not any("embedded demo endpoint answered" in form for form in _shown(second))


def test_what_a_server_says_is_washed_below_an_answer_too() -> None:
    """An error's sentence is text: no tag of it is live, no escape sequence reaches a terminal."""
    text, html = _shown(Reply(status="error", error="<img src=x onerror=y> \x1b[31mred"))
    assert "<img" not in html and "\x1b" not in text + html and text.endswith("red")
