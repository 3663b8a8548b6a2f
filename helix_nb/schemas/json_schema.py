"""JSON schemas looked at: local references, objects, and the columns their properties make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigError

_WORDS = frozenset(
    (
        "type",
        "properties",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "enum",
        "const",
        "items",
        "$defs",
        "$schema",
        "required",
    )
)
_DTYPES = {"integer": "Int64", "number": "Float64", "boolean": "boolean", "string": "str"}
_FORMATS = {"date-time": "datetime", "date": "datetime", "duration": "object", "time": "object"}


def is_json_schema(spec: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a JSON schema rather than names and Python types."""
    kind = spec.get("type")
    if isinstance(kind, str | list):
        return kind in ("object", "array", "string", "integer", "number", "boolean", "null") or isinstance(
            kind, list
        )
    return kind is None and any(
        word in spec and isinstance(spec[word], Mapping | list | str) for word in _WORDS - {"type"}
    )


def check(schema: Mapping[str, Any]) -> None:
    """Refuse what is no JSON schema, or refers to anything outside itself: nothing is ever fetched."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        place = "/".join(str(step) for step in problem.absolute_path) or "the top"
        raise ConfigError(f"That is no valid JSON schema: at {place}, {problem.message[:160]}.") from None
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ConfigError(
                f"The schema refers to {reference!r}; put that part under $defs: nothing is fetched."
            )
        if resolve(schema, {"$ref": reference}) == {"$ref": reference}:
            raise ConfigError(f"The schema refers to {reference!r}, which it does not hold.")


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


def several(value: Any) -> list[Any]:
    """One or several of something, which a JSON schema may write either way; None is none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def resolve(root: Mapping[str, Any], part: Any) -> Mapping[str, Any]:
    """Follow local references; a part whose reference leads nowhere comes back as it is."""
    seen: set[str] = set()
    while isinstance(part, Mapping) and isinstance(part.get("$ref"), str) and part["$ref"] not in seen:
        seen.add(part["$ref"])
        found: Any = root
        for step in part["$ref"].removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if key:
                found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            return part
        rest = {word: value for word, value in part.items() if word != "$ref"}
        part = {**found, **rest}
    return part if isinstance(part, Mapping) else {}


def dtype(root: Mapping[str, Any], part: Any) -> str:
    """The pandas dtype of a property: Int64, Float64, boolean, str, category, datetime or object."""
    return "category" if choices(root, part) else _plain(root, part)


def choices(root: Mapping[str, Any], part: Any) -> list[Any]:
    """The values that a property lists, in their order; none where it takes others too, or is a boolean."""
    part = resolve(root, part)
    for word in ("anyOf", "oneOf"):
        if isinstance(part.get(word), list):
            options = [option for option in part[word] if resolve(root, option).get("type") != "null"]
            found = [choices(root, option) for option in options]
            return list(dict.fromkeys(value for some in found for value in some)) if all(found) else []
    values = _listed(part)
    plain = all(type(value) in (str, int, float) for value in values)
    return list(dict.fromkeys(values)) if plain else []


def _listed(part: Mapping[str, Any]) -> list[Any]:
    values = part.get("enum", [part["const"]] if "const" in part else [])
    return [value for value in values if value is not None]


def _plain(root: Mapping[str, Any], part: Any) -> str:
    """The same without a look at what values are listed."""
    part = resolve(root, part)
    for word in ("anyOf", "oneOf"):
        if isinstance(part.get(word), list):
            kinds = {
                _plain(root, option) for option in part[word] if resolve(root, option).get("type") != "null"
            }
            return _common(kinds)
    if "enum" in part or "const" in part:
        return _of_values(_listed(part))
    kind = part.get("type")
    if isinstance(kind, list):
        return _common({_plain(root, {**part, "type": one}) for one in kind if one != "null"})
    if kind == "string":
        return _FORMATS.get(part.get("format", ""), "str")
    return _DTYPES.get(str(kind), "object")


def _common(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {"Int64", "Float64"}:
        return "Float64"
    return "object"


def _of_values(values: list[Any]) -> str:
    kinds = {type(value) for value in values}
    return (
        {str: "str", int: "Int64", float: "Float64", bool: "boolean"}.get(kinds.pop(), "object")
        if len(kinds) == 1
        else "object"
    )
