"""The shape that an answer must have, from a pydantic model, dataclass, TypedDict, dict or JSON schema."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from . import json_schema, type_hints, validation_errors
from .coercion import coerce
from .json_text import read_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class Schema:
    """The shape of an answer. It pickles as what it was made of."""

    name: str
    json_schema: dict[str, Any]  # always of an object, which is what endpoints take
    wrapped: str | None = None  # the property of that object which holds a list or a single value
    tabular: bool = False  # refuse what the column of a field cannot hold
    _adapter: TypeAdapter[Any] | None = field(default=None, repr=False, compare=False)
    _spec: Any = field(default=None, repr=False, compare=False)  # what it was made of

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
        if isinstance(spec, Mapping):
            name, annotation = "answer", type_hints.typed_dict(spec, "answer")
        else:
            _refuse_no_type(spec)
            name, annotation = _name_of(spec), spec
        adapter = type_hints.make_adapter(annotation, name)
        return cls._around(name, type_hints.adapter_schema(adapter, name), adapter, spec)

    @classmethod
    def _of_json_schema(cls, spec: Mapping[str, Any]) -> Schema:
        try:
            plain = json.loads(json.dumps(spec))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"That JSON schema is not plain JSON: {error}.") from None
        json_schema.check_schema(plain)
        return cls._around(_name_of(plain.get("title") or "answer"), plain, None, plain)

    @classmethod
    def _around(
        cls, name: str, schema: dict[str, Any], adapter: TypeAdapter[Any] | None, spec: Any
    ) -> Schema:
        """Make a schema, putting what is no object into one, its definitions outside."""
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
        if self.wrapped is not None and isinstance(value, Mapping) and set(value) == {self.wrapped}:
            value = value[self.wrapped]
        if self._adapter is None:
            self._check(value)
            answer = value
        else:
            answer = validate_json(self._adapter, value, self.name)
        if self.tabular:
            self.column_values(answer)
        return answer

    def _check(self, value: Any) -> None:
        """Validate JSON data with jsonschema; ValueError is one sentence."""
        from jsonschema import Draft202012Validator
        from referencing import Registry

        instance = value if self.wrapped is None else {self.wrapped: value}
        validator = Draft202012Validator(self.json_schema, registry=Registry())
        try:
            errors = sorted(
                validator.iter_errors(instance), key=lambda error: list(map(str, error.absolute_path))
            )
        except Exception as error:  # noqa: BLE001 - a schema can send its own checks in circles
            raise ValueError(_failure(self.name, error)) from None
        if errors:
            raise ValueError(validation_errors.jsonschema_sentence(errors))

    def columns(self) -> dict[str, str]:
        """Return the columns that an answer makes, by name.

        A dtype is Int64, Float64, boolean, str, category, datetime or object.
        """
        return {name: dtype for name, (dtype, _) in self._columns.items()}

    def choices(self, name: str) -> list[Any]:
        """Return the declared values of a category column, in their order."""
        return self._columns[name][1]

    @cached_property
    def _columns(self) -> dict[str, tuple[str, list[Any]]]:
        root, parts = self.json_schema, self.json_schema.get("properties") or {}
        return {
            name: (json_schema.dtype_of(root, part), json_schema.choices_of(root, part))
            for name, part in parts.items()
        }

    def column_values(self, answer: Any) -> dict[str, Any]:
        """Return the values of a validated answer for `columns`; what is missing in it is None.

        Raises:
            ValueError: one sentence about a value that its column cannot hold.
        """
        if self._adapter is not None:
            answer = self._adapter.dump_python(answer, by_alias=True, warnings=False)
        fields = _without_enums({self.wrapped: answer} if self.wrapped else answer)
        if not isinstance(fields, Mapping):
            raise ValueError(f"{self.name} writes itself as {type(fields).__name__}, not as its fields.")
        return {
            name: coerce(fields.get(name), dtype, choices, name)
            for name, (dtype, choices) in self._columns.items()
        }


def validate_json(adapter: TypeAdapter[Any], value: Any, name: str) -> Any:
    """Validate JSON data with pydantic, forgiving except about booleans; ValueError is one sentence."""
    from pydantic import ValidationError

    text = json.dumps(value)
    try:
        try:
            return adapter.validate_json(text, strict=True)
        except ValidationError as strict:
            about_booleans = [error for error in strict.errors(include_url=False) if _is_about_boolean(error)]
            if about_booleans:
                raise ValueError(validation_errors.pydantic_sentence(about_booleans)) from None
            return adapter.validate_json(text)
    except ValidationError as error:
        raise ValueError(validation_errors.pydantic_sentence(error.errors(include_url=False))) from None
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - a validator the user wrote may raise anything
        raise ValueError(_failure(name, error)) from None


def _failure(name: str, error: Exception) -> str:
    return f"the checks of {name} failed with {type(error).__name__}: {error}."


def _is_about_boolean(error: Any) -> bool:
    """Return whether a boolean stands in the place of a number, or something else in that of a boolean."""
    bool_as_number = isinstance(error["input"], bool) and error["type"] in ("int_type", "float_type")
    return bool_as_number or error["type"] == "bool_type"


def _again(spec: Any, tabular: bool) -> Schema:
    """Restore a pickled schema; pickles name this function."""
    return replace(Schema.of(spec), tabular=tabular)


def _refuse_no_type(spec: Any) -> None:
    instance = _is_instance(spec)
    values = isinstance(spec, str | bytes | int | float | list | tuple | set)
    if spec is None or values or instance or inspect.isroutine(spec):
        raise ConfigError(
            "schema= takes a model, dataclass, TypedDict, dict like {'city': str} or JSON schema, "
            f"not {type(spec).__name__}{' (pass the class itself)' if instance else ''}."
        )


def _name_of(spec: Any) -> str:
    """Return a name that every endpoint takes."""
    text = spec if isinstance(spec, str) else getattr(spec, "__name__", "answer")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:64] or "answer"


def _is_instance(spec: Any) -> bool:
    """Return whether this is an object of a model class where its class was meant."""
    return not isinstance(spec, type) and (
        hasattr(type(spec), "__pydantic_fields__") or hasattr(type(spec), "__dataclass_fields__")
    )


def _without_enums(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _without_enums(item) for key, item in value.items()}
    return [_without_enums(item) for item in value] if isinstance(value, list) else value
