"""Tool: a Python function a model may ask for, described by its annotations and docstring."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from . import json_schema, type_hints
from .json_text import read_json
from .schema import validate_json

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?|:\w+.*):?\s*$|^\s*(:param|>>>)"
)
_PARAMETER = re.compile(
    r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(\S.*)$|^\s*:param\s+(?:\w+\s+)?(\w+):\s*(\S.*)$"
)


@dataclass(frozen=True)
class Tool:
    """A Python function that a model may call, as an endpoint takes it.

    >>> from helix_nb.schemas import Tool
    >>> def weather(city: str, days: int = 1) -> str:
    ...     '''Tell the weather.'''
    >>> tool = Tool.of(weather)
    >>> tool.description, tool.validate('{"city": "Oslo", "days": 2}')
    ('Tell the weather.', {'city': 'Oslo', 'days': 2})
    """

    name: str
    description: str
    parameters: dict[str, Any]  # a JSON schema
    function: Callable[..., Any]
    _adapter: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Tool:
        """Describe a function; ConfigError says why a model could not call it by name and keywords."""
        named = function if hasattr(function, "__name__") else getattr(function, "func", type(function))
        name = getattr(named, "__name__", "")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ConfigError(f"A tool needs a plain name, and {name!r} is none; define it with def.")
        parameters = _parameters(function, name)
        adapter = type_hints.make_adapter(_arguments(name, parameters, _hints(function, name)), name)
        schema = type_hints.adapter_schema(adapter, name)
        description, descriptions = _split_docstring(function)
        return cls(name, description, _with_details(schema, parameters, descriptions), function, adapter)

    def validate(self, arguments: str) -> dict[str, Any]:
        """Read the JSON arguments a model wrote; return the keyword arguments to call with.

        Raises:
            ValueError: one sentence to send back to the model.
        """
        value = read_json(arguments) if arguments.strip() else {}
        if not isinstance(value, Mapping):
            raise ValueError(f"the arguments of {self.name} are one JSON object.")
        names = self.parameters["properties"]
        if unknown := [name for name in value if name not in names]:
            raise ValueError(
                f"{self.name} takes no {unknown[0]!r}; it takes {', '.join(names) or 'nothing'}."
            )
        return dict(validate_json(self._adapter, value, self.name))


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise ConfigError(
            f"Python cannot tell what {name} takes; wrap it in a function of your own."
        ) from None
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ConfigError(f"A model calls {name} by keywords, which {parameter} does not allow.")
    return [parameter for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD]


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    target: Any = (
        function if inspect.isroutine(function) else getattr(function, "func", type(function).__call__)
    )
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise ConfigError(f"The annotations of {name} cannot be read: {error}.") from None
    except (TypeError, AttributeError):
        return {}  # a callable without annotations, such as a builtin


def _arguments(name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> Any:
    """Make a TypedDict of the keyword arguments."""
    from typing import NotRequired, Required

    from typing_extensions import TypedDict

    annotations = {}
    for parameter in parameters:
        mark = Required if parameter.default is parameter.empty else NotRequired
        annotations[parameter.name] = mark[type_hints.current_annotation(hints.get(parameter.name, Any))]
    return TypedDict(name, annotations)  # type: ignore[operator]  # names known only now


def _with_details(
    schema: dict[str, Any], parameters: list[inspect.Parameter], descriptions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the schema with the descriptions and defaults that are known, closed to other parameters."""
    root = {"type": "object", "properties": {}, **json_schema.resolve(schema, schema)}
    for parameter in parameters:
        part = dict(root["properties"][parameter.name])
        part.pop("title", None)
        if parameter.name in descriptions:
            part.setdefault("description", descriptions[parameter.name])
        if parameter.default is not parameter.empty and _is_json(parameter.default):
            part["default"] = parameter.default
        root["properties"][parameter.name] = part
    root.pop("title", None)
    return {**root, "additionalProperties": False}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _split_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return the docstring up to its first section, and what it says about each parameter."""
    lines = (inspect.getdoc(function) or "").splitlines()
    end = next((at for at, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    descriptions: dict[str, str] = {}
    for line in lines[end:]:
        if match := _PARAMETER.match(line):
            descriptions[match[1] or match[3]] = (match[2] or match[4]).strip()
    return "\n".join(lines[:end]).strip(), descriptions
