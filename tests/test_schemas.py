"""Schemas and tools: what is taken for one, what an answer is read as, and what is said when it does not fit."""

# ruff: noqa: E501 - one row of a table is one line
from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from helix_nb.errors import ConfigError
from helix_nb.schemas import Schema, Tool


class Mood(enum.Enum):
    good = "good"
    bad = "bad"


class City(BaseModel):
    name: str
    population: int | None = None
    area_km2: float = 0.0
    capital: bool = False
    mood: Mood = Mood.good
    size: Literal["small", "large"] = "small"
    founded: dt.date | None = None
    tags: list[str] = []


class Point(TypedDict):
    x: int
    y: NotRequired[float]


@dataclass
class Track:
    title: str
    seconds: int
    marks: list[int] = field(default_factory=list)


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Aliased(BaseModel):
    from_: str = Field(alias="from")


JSON_SCHEMA = {
    "title": "A city!",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"$ref": "#/$defs/count"}},
    "required": ["name"],
    "$defs": {"count": {"type": ["integer", "null"]}},
}

READ = [
    (City, '{"name": "Oslo", "founded": "1048-01-01"}', City(name="Oslo", founded=dt.date(1048, 1, 1))),
    (City, '{"name": "Oslo", "population": "709037", "area_km2": 454}', City(name="Oslo", population=709037, area_km2=454.0)),
    (Track, '{"title": "a", "seconds": 3.0}', Track("a", 3)),
    (Point, '{"x": 1}', {"x": 1}),
    (list[Point], '{"items": [{"x": 1}, {"x": 2, "y": 0.5}]}', [{"x": 1}, {"x": 2, "y": 0.5}]),
    (list[Point], '[{"x": 1}]', [{"x": 1}]),
    (list[City], 'Here they are:\n\n[{"name": "Oslo"}]\n\nDone.', [City(name="Oslo")]),
    (Node, '{"value": 1, "children": [{"value": 2}]}', Node(value=1, children=[Node(value=2)])),
    (Mood, '{"value": "bad"}', Mood.bad),
    (Literal["yes", "no"], '"yes"', "yes"),
    (int, "42", 42),
    (int | None, '{"value": null}', None),
    ({"city": str, "n": "int", "mood": ["good", "bad"], "tags": [str]}, '{"city": "Oslo", "n": 1, "mood": "bad", "tags": []}',
     {"city": "Oslo", "n": 1, "mood": "bad", "tags": []}),
    ({"at": {"x": float}, "type": str}, '{"at": {"x": 1}, "type": "a"}', {"at": {"x": 1.0}, "type": "a"}),
    (JSON_SCHEMA, '{"name": "Oslo", "people": null}', {"name": "Oslo", "people": None}),
    ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
    ({"enum": ["a", "b"]}, '{"value": "a"}', "a"),
    (Point, '```json\n{"x": 1}\n```', {"x": 1}),
    (Point, 'Sure! Here it is:\n\n```\n{"x": 1}\n```\nAnything else?', {"x": 1}),
    (Point, 'The point is {"x": 1}, as asked {really}.', {"x": 1}),
    (Point, '\ufeff {"x": 1}\n', {"x": 1}),
    (Point, '```python\nprint({})\n```\n```json\n{"x": 1}\n```', {"x": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "text", "value"), READ, ids=[text[:30] for _, text, _ in READ])
def test_an_answer_is_read_as_what_was_asked_for(spec, text, value):
    """JSON bare, wrapped, fenced or amid prose comes back as an instance of the spec."""
    assert Schema.of(spec).validate(text) == value


COMPLAINTS = [
    (City, "", "it is empty."),
    (City, "I cannot help with that.", "it is not JSON."),
    (City, '{"name": "Oslo", "tags": ["a"', "the JSON ends too early."),
    (City, '{"name": "Os', "the JSON ends too early."),
    (City, "{'name': 'Oslo'}", "it is not valid JSON (Expecting property name enclosed in double quotes at line 1, column 2)."),
    (City, '{"name": NaN}', "NaN is not JSON; use null."),
    (City, '{"name": "a"} or {"name": "b"}', "it holds 2 pieces of JSON; one was asked for."),
    (City, "[" * 100_000, "it is nested too deeply."),
    (City, "[]", "it should be an object, not []."),
    (City, '{"population": 1}', "name is missing."),
    (City, '{"name": "a", "capital": "1"}', "capital should be a valid boolean, not '1'."),
    (City, '{"name": "a", "capital": 1}', "capital should be a valid boolean, not 1."),
    (City, '{"name": "a", "population": true}', "population should be a valid integer, not True."),
    (City, '{"name": "a", "population": 1.5}', "population should be a valid integer, got a number with a fractional part, not 1.5."),
    (City, '{"name": "a", "mood": "meh", "size": "huge"}', "mood should be 'good' or 'bad', not 'meh'; size should be 'small' or 'large', not 'huge'."),
    (Node, '{"value": 1, "children": [{"value": "x"}]}', "children[0].value should be a valid integer, unable to parse string as an integer, not 'x'."),
    (JSON_SCHEMA, '{"people": "many"}', "it: 'name' is a required property; people: 'many' is not of type 'integer', 'null'."),
    (list[Point], '{"items": [{}]}', "[0].x is missing."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "text", "complaint"), COMPLAINTS, ids=[text[:30] for _, text, _ in COMPLAINTS]
)
def test_a_misfit_is_one_sentence_a_model_can_repair_by(spec, text, complaint):
    """What does not fit is named with its place and what stood there; booleans are never guessed."""
    with pytest.raises(ValueError) as caught:
        Schema.of(spec).validate(text)
    assert str(caught.value) == complaint


def test_a_validator_of_the_user_may_raise_anything():
    """A check the user wrote that fails in its own way still ends as one sentence."""

    class Odd(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def look_up(cls, value):
            return {}[value]

    with pytest.raises(ValueError, match="the checks of Odd failed with KeyError: 1"):
        Schema.of(Odd).validate('{"x": 1}')


REFUSED = [
    ("City", "not str"),
    (None, "not NoneType"),
    (City(name="a"), r"not City \(pass the class itself\)"),
    (Track("a", 1), "pass the class itself"),
    ([City], "not list"),
    ({}, "name at least one field"),
    (len, "or JSON schema, not builtin_function"),
    ({"a": "strng"}, "'a' is said to be 'strng'"),
    ({"a": 3}, "'a' is given the value 3"),
    ({"a": [str, int]}, "'a' is a list of 2 things"),
    ({1: str}, "have names, not 1"),
    (type("Thing", (), {}), "Thing cannot be used as a schema"),
    ({"type": "object", "properties": 5}, "no valid JSON schema: at properties"),
    ({"type": "nonsense", "properties": {}}, "is said to be 'nonsense'|no valid JSON schema"),
    ({"$ref": "https://example.org/schema.json"}, "nothing is fetched"),
    ({"type": "object", "properties": {"a": {"$ref": "#/$defs/no"}}}, "which it does not hold"),
    ({"type": "object", "properties": {"a": {"default": {1, 2}}}}, "not plain JSON"),
]


def test_a_schema_that_goes_in_circles_fails_in_one_sentence() -> None:
    """A part that is defined by itself cannot be checked, which is said of the answer."""
    circle = {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}
    with pytest.raises(ValueError, match="the checks of answer failed with RecursionError"):
        Schema.of(circle).validate('{"a": 1}')


@pytest.mark.parametrize(("spec", "sentence"), REFUSED, ids=[str(spec)[:30] for spec, _ in REFUSED])
def test_what_is_no_schema_is_refused_before_anything_is_sent(spec, sentence):
    """A thing that is no schema, or refers to another document, is a ConfigError of one sentence."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        Schema.of(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [spec for spec, _, _ in READ], ids=lambda spec: str(spec)[:30])
def test_what_is_sent_is_an_object_schema_of_plain_json(spec):
    """Endpoints take objects: every schema sent is one, is valid, and has a name they take."""
    import json

    from jsonschema import Draft202012Validator

    schema = Schema.of(spec)
    assert schema.json_schema["type"] == "object"
    Draft202012Validator.check_schema(schema.json_schema)
    assert json.loads(json.dumps(schema.json_schema)) == schema.json_schema
    assert schema.name and set(schema.name) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
    )
    assert Schema.of(schema) is schema


def test_columns_and_their_values():
    """A schema says which columns its answers make, and an answer gives their values."""
    schema = Schema.of(City)
    assert schema.columns() == {
        "name": "str", "population": "Int64", "area_km2": "Float64", "capital": "boolean", "mood": "category",
        "size": "category", "founded": "datetime", "tags": "object",
    }  # fmt: skip
    values = schema.column_values(City(name="Oslo", mood=Mood.bad, founded=dt.date(1048, 1, 1)))
    assert values == {
        "name": "Oslo", "population": None, "area_km2": 0.0, "capital": False, "mood": "bad", "size": "small",
        "founded": dt.datetime(1048, 1, 1, tzinfo=dt.UTC), "tags": [],
    }  # fmt: skip
    assert Schema.of(JSON_SCHEMA).column_values({"name": "Oslo"}) == {"name": "Oslo", "people": None}
    assert Schema.of(Mood).column_values(Mood.good) == {"value": "good"}
    assert Schema.of(list[int]).columns() == {"items": "object"}
    assert Schema.of({"a": int | float, "b": int | str, "c": Literal[1, 2], "d": Any}).columns() == {
        "a": "Float64", "b": "object", "c": "category", "d": "object",
    }  # fmt: skip
    aliased = Schema.of(Aliased)
    assert aliased.column_values(aliased.validate('{"from": "x"}')) == {"from": "x"}


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=40) | st.lists(st.sampled_from('{}[]",:x1 \n`'), max_size=30).map("".join))
def test_any_text_is_read_or_refused(text):
    """Whatever a model writes, validating it gives a value or a sentence, nothing else."""
    for schema in (POINT, NUMBERS):
        try:
            schema.validate(text)
        except ValueError as problem:
            assert str(problem).endswith(".")


POINT, NUMBERS = Schema.of(Point), Schema.of({"type": "array", "items": {"type": "integer"}})


def weather(
    city: str, days: int = 1, unit: Literal["C", "F"] = "C", at: Point | None = None, **more: Any
) -> str:
    """Tell the weather
    of a city.

    Args:
        city: where it is.
        days (int): how many.

    Returns:
        words: many.
    """
    return f"{city} {days} {unit}"


def test_a_tool_is_described_by_its_signature_and_docstring():
    """A function's name, docstring, annotations and defaults say what a model needs to know."""
    tool = Tool.of(weather)
    assert (tool.name, tool.description, tool.function) == (
        "weather",
        "Tell the weather\nof a city.",
        weather,
    )
    assert tool.parameters["required"] == ["city"]
    assert tool.parameters["additionalProperties"] is False
    assert tool.parameters["properties"]["city"] == {"type": "string", "description": "where it is."}
    assert tool.parameters["properties"]["days"] == {
        "type": "integer",
        "description": "how many.",
        "default": 1,
    }
    assert tool.parameters["properties"]["unit"]["enum"] == ["C", "F"]


def test_a_tool_takes_what_fits_and_says_what_does_not():
    """Arguments become keyword arguments of the annotated types; others are one sentence for the model."""
    tool = Tool.of(weather)
    assert tool.validate('{"city": "Oslo", "days": "2", "at": {"x": 1}}') == {
        "city": "Oslo",
        "days": 2,
        "at": {"x": 1},
    }
    assert Tool.of(len_of).validate('{"city": {"name": "Oslo"}}') == {"city": City(name="Oslo")}
    assert Tool.of(nothing).validate("") == {}
    for arguments, sentence in (
        ("", "city is missing."),
        ('{"town": "Oslo"}', "weather takes no 'town'; it takes city, days, unit, at."),
        ('{"city": "Oslo", "days": true}', "days should be a valid integer, not True."),
        ("[1]", "the arguments of weather are one JSON object."),
        ('{"city": "Os', "the JSON ends too early."),
    ):
        with pytest.raises(ValueError) as caught:
            tool.validate(arguments)
        assert str(caught.value) == sentence


def len_of(city: City) -> int:
    """:param city: the city."""
    return len(city.name)


def nothing() -> None: ...


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: x, "plain name"),
        (len, "by keywords"),
        (print, "by keywords"),
        (max, "wrap it in a function"),
    ],
    ids=["lambda", "len", "print", "max"],
)
def test_what_a_model_could_not_call_is_no_tool(function, sentence):
    """A callable without a name or without keywords is refused with a way out."""
    with pytest.raises(ConfigError, match=sentence):
        Tool.of(function)


def test_importing_schemas_is_light():
    """Neither pydantic nor jsonschema is loaded before a schema is made."""
    code = "import sys, helix_nb.schemas; print([n for n in ('pydantic', 'jsonschema') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
