"""The splitter of `{{expression}}` that cells and DataFrame templates share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helix_nb.prompts.placeholders import Placeholder, pieces, placeholders

CASES = [
    ("a {{x}} b", ["x"]),
    ("{{ spaced name }}", ["spaced name"]),
    ("{{customer's name}} and {{dealer's name}}", ["customer's name", "dealer's name"]),
    ("""{{d["}}"]}}""", ["""d["}}"]"""]),
    ("""{{ {"a": {"b": 1}} }}""", ["""{"a": {"b": 1}}"""]),
    ("""{{f"a}}b"}}z""", ['''f"a}}b"''']),
    ("{{size (cm}} x", ["size (cm"]),
    ("{{x} and {{y}}", ["y"]),
    ("{{}} {{ x", []),
    ('{"a": {"b": 1}} and f(x) { return {} }', []),
    ("it's {{y}}, isn't {{z}}", ["y", "z"]),
    ("{{{x}}}", ["{x}"]),
]


@pytest.mark.parametrize(("text", "sources"), CASES)
def test_holes_are_found_as_a_reader_would(text: str, sources: list[str]) -> None:
    """Quotes, brackets, apostrophes and unfinished braces end a hole where a person would end it."""
    assert [hole.source for hole in placeholders(text)] == sources


def test_a_hole_is_taken_apart_like_an_f_string() -> None:
    """Expression, conversion and format spec are split; a comparison and a slice are not a split."""
    (hole,) = placeholders("{{d['a:b'][1:2]!r:>8}}")
    assert (hole.expression, hole.conversion, hole.spec) == ("d['a:b'][1:2]", "r", ">8")
    (hole,) = placeholders("{{x != 3}}")
    assert (hole.expression, hole.conversion, hole.spec) == ("x != 3", "", "")


@given(st.text(alphabet=st.sampled_from(list("{}x'\"([)]\\\n :!r")), max_size=60))
def test_nothing_is_lost_or_read_twice(text: str) -> None:
    """Whatever the text, literal pieces and raw holes join back to it, and none is empty."""
    found = pieces(text)
    assert "".join(piece.raw if isinstance(piece, Placeholder) else piece for piece in found) == text
    assert all(piece if isinstance(piece, str) else piece.source for piece in found)
