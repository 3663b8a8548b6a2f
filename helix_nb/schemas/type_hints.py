"""Type annotations to pydantic adapters: dicts of name to type, TypedDicts of any age, short-hands."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from ..errors import ConfigError

_NAMED = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "string": str,
    "integer": int,
    "number": float,
}
_NAMED |= {"boolean": bool}


def adapter(annotation: Any, name: str) -> Any:
    """A pydantic TypeAdapter; ConfigError if pydantic cannot make one of it."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        made: Any = TypeAdapter(current(annotation))
        if not made.pydantic_complete:
            made.rebuild(raise_errors=True)
    except (PydanticUserError, TypeError, NameError, AttributeError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise ConfigError(f"{name} cannot be used as a schema: {reason.rstrip('.')}.") from None
    return made


def json_schema(made: Any, name: str) -> dict[str, Any]:
    """The JSON schema of an adapter; ConfigError if one of its types has none."""
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    try:
        schema: dict[str, Any] = made.json_schema()
    except (PydanticInvalidForJsonSchema, PydanticUserError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise ConfigError(f"{name} has no JSON schema: {reason.rstrip('.')}.") from None
    return schema


def fields(spec: Mapping[Any, Any], name: str) -> Any:
    """A TypedDict from `{"city": str, "tags": list[str], "mood": ["good", "bad"], "at": {"x": int}}`."""
    from typing_extensions import TypedDict

    if not spec:
        raise ConfigError("An empty dict is no schema; name at least one field, like {'city': str}.")
    for key in spec:
        if not isinstance(key, str):
            raise ConfigError(f"The fields of a schema have names, not {key!r}.")
    made = {key: _field(value, f"{name}_{key}", key) for key, value in spec.items()}
    return TypedDict(name, made)  # type: ignore[operator]  # names known only now


def _field(value: Any, name: str, key: str) -> Any:
    """The annotation of one field, short-hands spelled out."""
    if isinstance(value, str):
        if value not in _NAMED:
            raise ConfigError(
                f"{key!r} is said to be {value!r}; write a type such as str, int, float or bool."
            )
        return _NAMED[value]
    if isinstance(value, Mapping):
        return fields(value, name)
    if isinstance(value, list | tuple | set | frozenset):
        return _listed(list(value), name, key)
    if value is None:
        return type(None)
    if isinstance(value, int | float | bytes) or inspect.isroutine(value):
        raise ConfigError(
            f"{key!r} is given the value {value!r}; give it a type, such as {type(value).__name__}."
        )
    return value


def _listed(values: list[Any], name: str, key: str) -> Any:
    """`[str]` is a list of that type; `["good", "bad"]` is a choice."""
    if values and all(isinstance(value, str | int) for value in values):
        return Literal[tuple(values)]
    if len(values) == 1:
        return list[_field(values[0], name, key)]  # type: ignore[misc]  # a type made at run time
    raise ConfigError(f"{key!r} is a list of {len(values)} things; write [type] or a list of allowed values.")


def current(annotation: Any) -> Any:
    """The same annotation with `typing.TypedDict`s as pydantic wants them before Python 3.12."""
    if sys.version_info >= (3, 12):
        return annotation
    if typing.is_typeddict(annotation) and type(annotation).__module__ == "typing":
        return _rebuilt(annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if not inner or origin in (Literal, typing.Annotated):
        return annotation
    renewed = tuple(current(one) for one in inner)
    if renewed == inner:
        return annotation
    if origin in (Union, types.UnionType):
        return Union[renewed]  # noqa: UP007 - of as many types as there are
    return origin[renewed]


def _rebuilt(old: Any) -> Any:
    from typing import NotRequired, Required

    from typing_extensions import TypedDict

    hints = typing.get_type_hints(old, include_extras=True)
    made = {}
    for key, hint in hints.items():
        # Where annotations are strings, __required_keys__ has not seen the marks.
        mark = get_origin(hint)
        marked = mark in (typing.Required, typing.NotRequired)
        required = mark is typing.Required if marked else key in old.__required_keys__
        made[key] = (Required if required else NotRequired)[current(get_args(hint)[0] if marked else hint)]
    new = TypedDict(old.__name__, made)  # type: ignore[misc]  # names known only now
    new.__doc__ = old.__doc__
    return new
