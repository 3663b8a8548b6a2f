"""The typed columns of a batch: whatever a model answers, every other row and its dtype stay."""

from __future__ import annotations

import pickle
from enum import IntEnum
from typing import Any, Literal, TypedDict

import pandas as pd
import pytest
from batch_server import BatchServer

import helix_nb as hx
from helix_nb.dataframes.options import build_batch
from helix_nb.schemas import Schema

QUIET: dict[str, Any] = {"model": "m", "progress": False}


def typed(answers: list[str], schema: Any, **options: Any) -> pd.DataFrame:
    """One row per answer, the answer given to its prompt and to its repair."""

    def answer(body: dict[str, Any]) -> str:
        return answers[int(body["messages"][0]["content"])]

    with BatchServer(answer=answer) as server:
        hx.connect(server.url, name="s")
        frame = pd.DataFrame({"q": range(len(answers))})
        return frame.helix.ask("{{q}}", schema=schema, **QUIET, **options)


def of(part: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with one needed field, `n`."""
    return {"type": "object", "properties": {"n": part}, "required": ["n"]}


ODD = [
    ({"n": int}, "1", "1" + "0" * 30, "Int64"),
    (of({"type": "integer"}), "1", "1e30", "Int64"),
    (of({"type": "number"}), "1.5", "9" * 400, "Float64"),
    (of({"type": "string"}), '"a"', '"\\ud83d"', "str"),
    (of({"type": "string", "format": "date-time"}), '"2024-06-01"', '"soon"', "datetime64[us, UTC]"),
]


@pytest.mark.parametrize(("schema", "good", "odd", "dtype"), ODD, ids=[odd[:6] for _, _, odd, _ in ODD])
def test_a_value_that_its_column_cannot_hold_costs_its_row_alone(
    schema: Any, good: str, odd: str, dtype: str
) -> None:
    """That row is an error with its raw text; the others keep their values and the column its dtype."""
    done = typed([f'{{"n": {good}}}', f'{{"n": {odd}}}'], schema)
    assert done["answer_status"].tolist() == ["ok", "error"] and str(done["n"].dtype) == dtype
    assert done["n"].isna().tolist() == [False, True] and odd in done["answer"].iloc[1]
    assert "n should be" in done["answer_error"].iloc[1]


def test_times_may_be_spelled_in_several_ways() -> None:
    """Each ISO 8601 time of a column is read, whatever the spelling of the first."""
    spelled = ["2024-01-01T00:00:00Z", "2024-01-01T02:00:00.123+02:00", "2024-06-01", "2024-01-01t00:00:00z"]
    done = typed([f'{{"n": "{one}"}}' for one in spelled], of({"type": "string", "format": "date-time"}))
    times = [
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00.123Z",
        "2024-06-01T00:00:00Z",
        "2024-01-01T00:00:00Z",
    ]
    assert done["n"].tolist() == [pd.Timestamp(time) for time in times]


class Size(IntEnum):
    small = 1
    large = 2


def test_listed_values_are_categories_in_their_order() -> None:
    """Literal and Enum make a category of all declared values, numbers and mixtures too."""
    schema = {"a": Literal["x", "b"], "b": Literal[2, 1], "c": Size, "d": Literal["k", 3]}
    done = typed(['{"a": "b", "b": 1, "c": 2, "d": 3}'], schema)
    listed = {name: done[name].cat.categories.tolist() for name in schema}
    assert listed == {"a": ["x", "b"], "b": [2, 1], "c": [1, 2], "d": ["k", 3]}
    assert done[["a", "b", "c", "d"]].iloc[0].tolist() == ["b", 1, 2, 3]


class Point(TypedDict):
    x: int


@pytest.mark.parametrize("schema", [{"a": int}, Point, list[Point], of({"type": "integer"})], ids=str)
def test_a_batch_pickles_with_its_schema(schema: Any) -> None:
    """Pickled, a schema is the same one, and still says what a column cannot hold."""
    made = build_batch("{{q}}", schema=schema, **QUIET).spec.schema
    again = pickle.loads(pickle.dumps(made))
    assert again == made and again.tabular and again != Schema.of(schema)


def test_a_field_never_stands_where_the_batch_says_what_became_of_a_row() -> None:
    """A schema's field called `answer_status` is refused before anything is sent."""
    fields = {"answer": str, "answer_status": str}
    frame = pd.DataFrame({"n": [1]})
    with pytest.raises(
        hx.ConfigError, match="'answer_status' is a column of the batch: choose another into="
    ):
        frame.helix.ask("{{n}}", schema=fields, endpoint="demo", progress=False)
    done = frame.helix.ask("{{n}}", "raw", schema=fields, endpoint="demo", progress=False)
    assert {"raw_status", "answer", "answer_status"} <= set(done.columns)


def test_a_column_may_have_any_name() -> None:
    """`self` is a name like another, for `into=` and for a field."""
    frame = pd.DataFrame({"q": ["x"]})
    with BatchServer(answer=lambda body: '{"self": 1}') as server:
        hx.connect(server.url, name="s")
        done = frame.helix.ask("{{q}}", into="self", **QUIET)
        typed = frame.helix.ask("{{q}}", schema={"self": int}, **QUIET)
    assert done["self"].tolist() == ['{"self": 1}'] and typed["self"].tolist() == [1]


def test_a_series_has_no_column_to_lose() -> None:
    """`value` is what a template calls it, and free for the result: a bare `schema=int` is called so."""
    words = pd.Series(["x", "y"], index=["a", "b"])
    with BatchServer(answer=lambda body: '{"value": 3}') as server:
        hx.connect(server.url, name="s")
        plain = words.helix.ask("{{value}}", into="value", **QUIET)
        typed = words.helix.ask("{{value}}", schema=int, **QUIET)
    assert plain.name == "value" and plain.tolist() == ['{"value": 3}'] * 2
    assert typed["value"].tolist() == [3, 3] and typed.index.tolist() == ["a", "b"]
    assert list(typed.columns)[:2] == ["answer", "answer_status"] and typed.columns.is_unique


def test_columns_of_every_batch_may_be_made_anew() -> None:
    """The first of two cells runs again on a frame that both have added to; a column of the user stays."""
    frame = pd.DataFrame({"q": ["x"], "mine": [1]})
    with BatchServer(answer=lambda body: '{"mine": 2}') as server:
        hx.connect(server.url, name="s")
        both = frame.helix.ask("{{q}}", into="a", **QUIET).helix.ask("{{q}}!", into="b", **QUIET)
        again = both.helix.ask("{{q}}", into="a", **QUIET)
        assert list(again.columns) == list(both.columns) and again.attrs["batch"]["reused"] == 1
        with pytest.raises(hx.ConfigError, match="rename that field"):
            both.helix.ask("{{q}}", into="c", schema={"mine": int}, **QUIET)
        with pytest.raises(hx.ConfigError, match="choose another into="):
            both.helix.ask("{{q}}", into="mine", **QUIET)


class Odd(Schema):
    """A schema that breaks on one answer."""

    def validate(self, text: str) -> Any:
        if "2" in text:
            raise KeyError(text)
        return super().validate(text)


def test_what_breaks_at_one_row_breaks_no_other() -> None:
    """An exception that nobody foresaw is that row's error; one after the other end the batch."""
    of_int = Schema.of({"n": int})
    odd = Odd(of_int.name, of_int.json_schema)
    done = typed(['{"n": 1}', '{"n": 2}', '{"n": 3}'], odd)
    assert done["answer_status"].tolist() == ["ok", "error", "ok"]
    assert done["answer_error"].iloc[1].startswith("HelixError: KeyError")
    broken = typed(['{"n": 2}'] * 60, odd, concurrency=4, dedupe=False)
    assert broken.attrs["batch"]["stopped"].startswith("KeyError")
    assert (broken["answer_status"] == "skipped").sum() >= 60 - 20 - 4
