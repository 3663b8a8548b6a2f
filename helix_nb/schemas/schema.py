"""Schema: the shape an answer must have, from a pydantic model, dataclass, TypedDict, dict or JSON schema."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any

from ..errors import ConfigError
from . import json_schema, type_hints, validation_errors
from .coercion import coerce
from .json_text import read_json


@dataclass(frozen=True)
class Schema:
    """The shape of an answer.

    `json_schema` always describes an object, which is what endpoints take; a list or a single
    value is asked for inside one (`wrapped` names its property) and handed back bare. A `tabular`
    schema refuses what the column of a field cannot hold. It pickles as what it was made of.
    """

    name: str
    json_schema: dict[str, Any]
    wrapped: str | None = None
    tabular: bool = False
    _adapter: Any = field(default=None, repr=False, compare=False)
    _spec: Any = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._spec, self.tabular)

    @classmethod
    def of(cls, spec: Any) -> Schema:
        """Make a schema of what a person has at hand.

        Args:
            spec: a pydantic model, dataclass or TypedDict class, another type (`list[City]`,
                `Literal["yes", "no"]`), a dict of name to type (`{"city": str, "mood": ["good", "bad"]}`),
                a JSON schema (Draft 2020-12, local references only), or a Schema.

        Raises:
            ConfigError: it is none of these, or no JSON schema can be made of it.

        >>> from helix_nb.schemas import Schema
        >>> Schema.of({"city": str, "population": int}).validate('{"city": "Paris", "population": 2102650}')
        {'city': 'Paris', 'population': 2102650}
        """
        if isinstance(spec, Schema):
            return spec
        if isinstance(spec, Mapping) and json_schema.is_json_schema(spec):
            return cls._of_json_schema(spec)
        given, name = spec, "answer" if isinstance(spec, Mapping) else _name(spec)
        if isinstance(spec, Mapping):
            spec = type_hints.fields(spec, name)
        elif (
            spec is None
            or isinstance(spec, str | bytes | int | float | list | tuple | set)
            or inspect.isroutine(spec)
            or _is_instance(spec)
        ):
            raise ConfigError(
                "schema= takes a model, dataclass, TypedDict, dict like {'city': str} or JSON schema, "
                f"not {type(spec).__name__}{' (pass the class itself)' if _is_instance(spec) else ''}."
            )
        adapter = type_hints.adapter(spec, name)
        return cls._around(name, type_hints.json_schema(adapter, name), adapter, given)

    @classmethod
    def _of_json_schema(cls, spec: Mapping[str, Any]) -> Schema:
        try:
            plain = json.loads(json.dumps(spec))
        except (TypeError, ValueError, RecursionError) as problem:
            raise ConfigError(f"That JSON schema is not plain JSON: {problem}.") from None
        json_schema.check(plain)
        return cls._around(_name(plain.get("title") or "answer"), plain, None, plain)

    @classmethod
    def _around(cls, name: str, schema: dict[str, Any], adapter: Any, spec: Any) -> Schema:
        """Put what is no object into one, its definitions outside."""
        root = dict(json_schema.resolve(schema, schema))
        if root.get("type") == "object" or "properties" in root:
            return cls(name, {"type": "object", **root}, None, False, adapter, spec)
        inner = copy.deepcopy(schema)
        shared: dict[str, Any] = {
            key: inner.pop(key) for key in ("$defs", "definitions", "$schema") if key in inner
        }
        wrapped = "items" if root.get("type") == "array" else "value"
        outer = {"type": "object", "properties": {wrapped: inner}, "required": [wrapped], **shared}
        return cls(name, outer, wrapped, False, adapter, spec)

    def validate(self, text: str) -> Any:
        """Read an answer; return an instance of what the schema was made of (JSON data for the others).

        The JSON may stand in a fence, or in prose if it is the only object there. Numbers written
        as text are read as numbers where the schema wants one; nothing else becomes a boolean.

        Raises:
            ValueError: one sentence that says what does not fit, good enough to repair it by.
        """
        value = read_json(text, arrays=self.wrapped is not None)
        bare = self.wrapped is not None and isinstance(value, Mapping) and set(value) == {self.wrapped}
        if bare:
            value = value[self.wrapped]
        made = self._by_jsonschema(value) if self._adapter is None else self._by_pydantic(value)
        if self.tabular:
            self.to_plain(made)
        return made

    def _by_jsonschema(self, value: Any) -> Any:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        whole = value if self.wrapped is None else {self.wrapped: value}
        validator = Draft202012Validator(self.json_schema, registry=Registry())
        try:
            errors = sorted(
                validator.iter_errors(whole), key=lambda error: list(map(str, error.absolute_path))
            )
        except Exception as problem:  # noqa: BLE001 - a schema can send its own checks in circles
            raise ValueError(_failed(self.name, problem)) from None
        if errors:
            raise ValueError(validation_errors.of_jsonschema(errors))
        return value

    def _by_pydantic(self, value: Any) -> Any:
        return validate_json(self._adapter, value, self.name)

    def columns(self) -> dict[str, str]:
        """The columns an answer makes: name to Int64, Float64, boolean, str, category, datetime or object."""
        return {name: dtype for name, (dtype, _) in self._columns.items()}

    def choices(self, name: str) -> list[Any]:
        """The declared values of a category column, in their order."""
        return self._columns[name][1]

    @cached_property
    def _columns(self) -> dict[str, tuple[str, list[Any]]]:
        root, parts = self.json_schema, self.json_schema.get("properties") or {}
        return {
            name: (json_schema.dtype(root, part), json_schema.choices(root, part))
            for name, part in parts.items()
        }

    def to_plain(self, value: Any) -> dict[str, Any]:
        """The values of a validated answer for `columns`; what is missing in it is None.

        Raises:
            ValueError: one sentence about a value that its column cannot hold.
        """
        plain = (
            value
            if self._adapter is None
            else self._adapter.dump_python(value, by_alias=True, warnings=False)
        )
        plain = _without_enums({self.wrapped: plain} if self.wrapped else plain)
        if not isinstance(plain, Mapping):
            raise ValueError(f"{self.name} writes itself as {type(plain).__name__}, not as its fields.")
        return {
            name: coerce(plain.get(name), dtype, choices, name)
            for name, (dtype, choices) in self._columns.items()
        }


def validate_json(adapter: Any, value: Any, name: str) -> Any:
    """Validate JSON data with pydantic, forgiving except about booleans; ValueError is one sentence."""
    from pydantic import ValidationError

    text = json.dumps(value)
    try:
        try:
            return adapter.validate_json(text, strict=True)
        except ValidationError as strict:
            errors = strict.errors(include_url=False)
            surprising = [error for error in errors if error["type"] == "bool_type" or _is_bool(error)]
            if surprising:
                raise ValueError(validation_errors.of_pydantic(surprising)) from None
            return adapter.validate_json(text)
    except ValidationError as problem:
        raise ValueError(validation_errors.of_pydantic(problem.errors(include_url=False))) from None
    except ValueError:
        raise
    except Exception as problem:  # noqa: BLE001 - a validator the user wrote may raise anything
        raise ValueError(_failed(name, problem)) from None


def _failed(name: str, problem: Exception) -> str:
    return f"the checks of {name} failed with {type(problem).__name__}: {problem}."


def _is_bool(error: Any) -> bool:
    return isinstance(error["input"], bool) and error["type"] in ("int_type", "float_type")


def _again(spec: Any, tabular: bool) -> Schema:
    return replace(Schema.of(spec), tabular=tabular)


def _name(spec: Any) -> str:
    """A name that every endpoint takes."""
    text = spec if isinstance(spec, str) else getattr(spec, "__name__", "answer")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:64] or "answer"


def _is_instance(spec: Any) -> bool:
    """Whether this is an object of a model class where its class was meant."""
    return not isinstance(spec, type) and (
        hasattr(type(spec), "__pydantic_fields__") or hasattr(type(spec), "__dataclass_fields__")
    )


def _without_enums(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _without_enums(one) for key, one in value.items()}
    return [_without_enums(one) for one in value] if isinstance(value, list) else value
