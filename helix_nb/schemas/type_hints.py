"""Type annotations to pydantic adapters: dicts of name to type, TypedDicts of any age, short-hands."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from ..errors import ConfigError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_BY_NAME: dict[str, type] = {kind.__name__: kind for kind in (str, int, float, bool)}
_BY_NAME |= {"string": str, "integer": int, "number": float, "boolean": bool}


def make_adapter(annotation: Any, name: str) -> TypeAdapter[Any]:
    """Return pydantic's adapter of an annotation; ConfigError if there can be none."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(current_annotation(annotation))
        if not adapter.pydantic_complete:
            adapter.rebuild(raise_errors=True)
    except (PydanticUserError, TypeError, NameError, AttributeError) as error:
        raise ConfigError(f"{name} cannot be used as a schema: {_first_line(error)}.") from None
    return adapter


def adapter_schema(adapter: TypeAdapter[Any], name: str) -> dict[str, Any]:
    """Return the JSON schema of an adapter; ConfigError if one of its types has none."""
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    try:
        return adapter.json_schema()
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        raise ConfigError(f"{name} has no JSON schema: {_first_line(error)}.") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def typed_dict(spec: Mapping[Any, Any], name: str) -> Any:
    """Make a TypedDict of `{"city": str, "tags": list[str], "mood": ["good", "bad"], "at": {"x": int}}`."""
    from typing_extensions import TypedDict

    if not spec:
        raise ConfigError("An empty dict is no schema; name at least one field, like {'city': str}.")
    for key in spec:
        if not isinstance(key, str):
            raise ConfigError(f"The fields of a schema have names, not {key!r}.")
    annotations = {key: _field_annotation(value, f"{name}_{key}", key) for key, value in spec.items()}
    return TypedDict(name, annotations)  # type: ignore[operator]  # names known only now


def _field_annotation(value: Any, name: str, key: str) -> Any:
    """Return the annotation of one field, short-hands spelled out."""
    if isinstance(value, str):
        if value not in _BY_NAME:
            raise ConfigError(
                f"{key!r} is said to be {value!r}; write a type such as str, int, float or bool."
            )
        return _BY_NAME[value]
    if isinstance(value, Mapping):
        return typed_dict(value, name)
    if isinstance(value, list | tuple | set | frozenset):
        return _list_annotation(list(value), name, key)
    if value is None:
        return type(None)
    if isinstance(value, int | float | bytes) or inspect.isroutine(value):
        raise ConfigError(
            f"{key!r} is given the value {value!r}; give it a type, such as {type(value).__name__}."
        )
    return value


def _list_annotation(values: list[Any], name: str, key: str) -> Any:
    """Return the annotation of `[str]`, a list of that type, or of `["good", "bad"]`, a choice."""
    if values and all(isinstance(value, str | int) for value in values):
        return Literal[tuple(values)]
    if len(values) == 1:
        return list[_field_annotation(values[0], name, key)]  # type: ignore[misc]  # a type made at run time
    raise ConfigError(f"{key!r} is a list of {len(values)} things; write [type] or a list of allowed values.")


def current_annotation(annotation: Any) -> Any:
    """Return an annotation with `typing.TypedDict`s as pydantic wants them before Python 3.12."""
    if sys.version_info >= (3, 12):
        return annotation
    if typing.is_typeddict(annotation) and type(annotation).__module__ == "typing":
        return _rebuild_typed_dict(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not arguments or origin in (Literal, typing.Annotated):
        return annotation
    current = tuple(map(current_annotation, arguments))
    if current == arguments:
        return annotation
    if origin in (Union, types.UnionType):
        return Union[current]  # noqa: UP007 - of as many types as there are
    return origin[current]


def _rebuild_typed_dict(old: Any) -> Any:
    from typing import NotRequired, Required

    from typing_extensions import TypedDict

    annotations = {}
    for key, hint in typing.get_type_hints(old, include_extras=True).items():
        # Where annotations are strings, __required_keys__ has not seen the marks.
        mark = get_origin(hint)
        marked = mark in (typing.Required, typing.NotRequired)
        required = mark is typing.Required if marked else key in old.__required_keys__
        annotation = current_annotation(get_args(hint)[0] if marked else hint)
        annotations[key] = (Required if required else NotRequired)[annotation]
    new = TypedDict(old.__name__, annotations)  # type: ignore[misc]  # names known only now
    new.__doc__ = old.__doc__
    return new
