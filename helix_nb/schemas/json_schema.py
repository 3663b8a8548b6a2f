"""JSON schemas as data: their check, local references, and the columns that their properties make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigError

_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_KEYWORDS = (
    *("properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "items", "$defs", "$schema"),
    "required",
)
_DTYPES = {"integer": "Int64", "number": "Float64", "boolean": "boolean", "string": "str"}
_FORMATS = {"date-time": "datetime", "date": "datetime", "duration": "object", "time": "object"}
_PYTHON_DTYPES = {str: "str", int: "Int64", float: "Float64", bool: "boolean"}


def is_json_schema(spec: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is a JSON schema rather than names and Python types.

    >>> is_json_schema({"type": "object"}), is_json_schema({"type": str})
    (True, False)
    """
    kind = spec.get("type")
    if kind is None:
        return any(isinstance(spec.get(keyword), Mapping | list | str) for keyword in _KEYWORDS)
    return isinstance(kind, list) or (isinstance(kind, str) and kind in _TYPES)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what is no JSON schema, or refers to anything outside itself: nothing is ever fetched.

    Raises:
        ConfigError: the place and the cause.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path) or "the top"
        raise ConfigError(f"That is no valid JSON schema: at {place}, {error.message[:160]}.") from None
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ConfigError(
                f"The schema refers to {reference!r}; put that part under $defs: nothing is fetched."
            )
        if resolve(schema, {"$ref": reference}) == {"$ref": reference}:
            raise ConfigError(f"The schema refers to {reference!r}, which it does not hold.")


def as_list(value: Any) -> list[Any]:
    """Return one or several of something, which a JSON schema may write either way, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def resolve(root: Mapping[str, Any], part: Any) -> Mapping[str, Any]:
    """Follow the local references of a part; one whose reference leads nowhere comes back as it is."""
    seen: set[str] = set()
    while isinstance(part, Mapping) and isinstance(part.get("$ref"), str) and part["$ref"] not in seen:
        seen.add(part["$ref"])
        target = _target(root, part["$ref"])
        if not isinstance(target, Mapping):
            return part
        part = {**target, **{keyword: value for keyword, value in part.items() if keyword != "$ref"}}
    return part if isinstance(part, Mapping) else {}


def dtype_of(root: Mapping[str, Any], part: Any) -> str:
    """Return the dtype of a property's column.

    It is Int64, Float64, boolean, str, category, datetime or object.
    """
    return "category" if choices_of(root, part) else _dtype_of_type(root, part)


def choices_of(root: Mapping[str, Any], part: Any) -> list[Any]:
    """Return the values that a property lists, in their order.

    There are none where it takes other values too, or is a boolean.
    """
    part = resolve(root, part)
    if (options := _options(root, part)) is not None:
        lists = [choices_of(root, option) for option in options]
        return list(dict.fromkeys(value for values in lists for value in values)) if all(lists) else []
    values = _listed_values(part)
    plain = all(type(value) in (str, int, float) for value in values)
    return list(dict.fromkeys(values)) if plain else []


def _dtype_of_type(root: Mapping[str, Any], part: Any) -> str:
    """Return the dtype of a property by its type alone, whatever values it lists."""
    part = resolve(root, part)
    if (options := _options(root, part)) is not None:
        return _common_dtype({_dtype_of_type(root, option) for option in options})
    if "enum" in part or "const" in part:
        types = {type(value) for value in _listed_values(part)}
        return _PYTHON_DTYPES.get(types.pop(), "object") if len(types) == 1 else "object"
    kind = part.get("type")
    if isinstance(kind, list):
        members = [{**part, "type": member} for member in kind if member != "null"]
        return _common_dtype({_dtype_of_type(root, member) for member in members})
    if kind == "string":
        return _FORMATS.get(part.get("format", ""), "str")
    return _DTYPES.get(str(kind), "object")


def _options(root: Mapping[str, Any], part: Mapping[str, Any]) -> list[Any] | None:
    """Return the alternatives of a part but null; None where it has no alternatives."""
    for keyword in ("anyOf", "oneOf"):
        if isinstance(part.get(keyword), list):
            return [option for option in part[keyword] if resolve(root, option).get("type") != "null"]
    return None


def _listed_values(part: Mapping[str, Any]) -> list[Any]:
    values = part.get("enum", [part["const"]] if "const" in part else [])
    return [value for value in values if value is not None]


def _common_dtype(dtypes: set[str]) -> str:
    if len(dtypes) == 1:
        return dtypes.pop()
    return "Float64" if dtypes == {"Int64", "Float64"} else "object"


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _target(root: Mapping[str, Any], reference: str) -> Any:
    """Return what a local reference leads to; None where there is nothing."""
    target: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if key := step.replace("~1", "/").replace("~0", "~"):
            target = target.get(key) if isinstance(target, Mapping) else None
    return target
