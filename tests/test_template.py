"""`{{column}}` templates of DataFrames."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helix_nb.dataframes.rows.template import UnusableRow, columns_by_name, compile_template
from helix_nb.dataframes.rows.values import is_missing
from helix_nb.errors import ConfigError

ROW: dict[str, Any] = {
    "review": "good {{price}}",
    "unit price": 3.14159,
    "price": 2,
    "tags": ["a", "b", "c"],
    "meta": {"lang": "en", "a b": 1},
    "day": date(2026, 3, 1),
    "a:b": "colon",
    "size (cm": 4,
    "0": "zero",
    "index": 7,
}
COLUMNS = [*[name for name in ROW if name not in ("0", "index")], 0]


def filled(template: str, columns: Any = COLUMNS, **more: Any) -> str | None:
    return compile_template(template, columns).render({**ROW, **more}, is_missing)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{review}}", "good {{price}}"),
        ("{{ unit price }} {{unit price:.2f}}", "3.14159 3.14"),
        ("{{tags[0]}}{{tags[-1]}}{{tags[1:]}}{{tags[::2]}}", "ac['b', 'c']['a', 'c']"),
        ("{{meta['lang']}} {{meta['a b']}} {{review[:4]}}", "en 1 good"),
        ("{{day.year}} {{day:%d.%m.}}", "2026 01.03."),
        ("{{tags[price]}} {{index}} {{0}}", "c 7 zero"),
        ("{{a:b}} {{size (cm}} {{size (cm:03d}}", "colon 4 004"),
        ("{{price!r:>4}}|{x} {{}} {{ }}", "   2|{x} {{}} {{ }}"),
        ("{{unit price!r:.4}}", "3.14"),
    ],
)
def test_holes_name_columns_first_and_expressions_second(template: str, text: str) -> None:
    """A column's exact name wins; then attributes, items, slices, conversions and format specs."""
    assert filled(template) == text


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{reveiw}}", "no column 'reveiw'. Did you mean {{review}}?"),
        ("{{len(review)}}", "makes no calls"),
        ("{{price + 1}}", "only takes a column"),
        ("{{review.__class__}}", "underscore"),
        ("{{os}}", "no column 'os'"),
        ("{{import os}}", "no column 'import os'"),
        ("{{[x for x in tags]}}", "only takes a column"),
        ("{{tags[unknown]}}", "no column 'unknown'"),
        ("Sum up {review}", "Write {{review}} with two braces"),
    ],
)
def test_what_a_template_cannot_do_is_said_before_anything_is_sent(template: str, says: str) -> None:
    """Unknown columns, calls, arithmetic, private attributes and single braces are ConfigErrors."""
    with pytest.raises(ConfigError) as error:
        compile_template(template, COLUMNS)
    assert says in str(error.value)


def test_a_name_that_means_two_columns_is_refused() -> None:
    """Duplicate labels, or 0 beside "0", cannot be used; other columns still can."""
    assert filled("{{review}}", ["review", "x", "x"]) == ROW["review"]
    for columns in (["x", "x"], [0, "0"]):
        with pytest.raises(ConfigError, match="more than one column"):
            compile_template(f"{{{{{columns[0]}}}}}", columns)


def test_of_two_names_that_differ_in_space_the_exact_one_wins() -> None:
    """`{{x}}` is the column "x", also beside " x"; a nameless column is no reason to doubt `{{}}`."""
    template = compile_template("{{x}}|{{}}", ["x", " x", ""])
    assert template.render({"x": 1}, is_missing) == "1|{{}}"
    assert columns_by_name([" x", "x", "y "]) == {"x": "x", "y": "y "}
    assert compile_template("{{}}", ["", "x"]).render({}, is_missing) == "{{}}"


@pytest.mark.parametrize("template", ["{{tags[9]}}", "{{price:zzz}}", "{{review.upper}}", "{{meta['x']}}"])
def test_a_row_that_does_not_fit_says_so_for_itself(template: str) -> None:
    """An index, key, method or format spec that one row cannot serve is that row's own problem."""
    with pytest.raises(UnusableRow, match=r"^\{\{"):
        filled(template)


def test_a_missing_value_empties_the_row_or_is_left_blank() -> None:
    """NA in a used column, also inside an expression, gives no prompt; `blank` fills in a text."""
    template = compile_template("[{{review}}|{{tags[0]}}]", COLUMNS)
    for hole in ({"review": None}, {"tags": float("nan")}, {"tags": [None]}):
        assert template.render({**ROW, **hole}, is_missing) is None
    assert template.render({**ROW, "tags": [None]}, is_missing, "") == "[good {{price}}|]"


cells = st.text(st.sampled_from("{}ab'\"[]:! \n{{}}é"), max_size=12)


@given(left=cells, right=cells)
def test_what_a_cell_holds_is_never_read_as_a_template(left: str, right: str) -> None:
    """Braces in cells come out as they are, wherever they meet."""
    template = compile_template("{{a}}{{b}}-{{a}}", ["a", "b"])
    assert template.render({"a": left, "b": right}, is_missing) == f"{left}{right}-{left}"
