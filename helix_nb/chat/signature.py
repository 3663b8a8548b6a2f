"""One signature for everything that takes the options of an ask, spelled in `request.build_request`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def same_parameters(source: Callable[P, Any]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function the parameters of `source`, for type checkers, help and Tab."""

    def decorate(function: Callable[..., R]) -> Callable[P, R]:
        _show_parameters(function, source)
        return function

    return decorate


def same_parameters_as_method(
    source: Callable[P, Any],
) -> Callable[[Callable[..., R]], Callable[Concatenate[S, P], R]]:
    """Give a method the parameters of `source` after its `self`."""

    def decorate(method: Callable[..., R]) -> Callable[Concatenate[S, P], R]:
        _show_parameters(method, source, inspect.signature(method).parameters["self"])
        return method

    return decorate


def _show_parameters(
    function: Callable[..., Any], source: Callable[..., Any], *first: inspect.Parameter
) -> None:
    parameters = [*first, *inspect.signature(source).parameters.values()]
    function.__dict__["__signature__"] = inspect.signature(function).replace(parameters=parameters)
