"""Decorators that give functions the signature of another, such as that of `request.build_request`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


def same_parameters(source: Callable[P, Any]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function the parameters of `source`, for type checkers, help and Tab."""
    return _decorator(source)


def same_parameters_as_method(
    source: Callable[P, Any],
) -> Callable[[Callable[Concatenate[S, ...], R]], Callable[Concatenate[S, P], R]]:
    """Give a method the parameters of `source` after its `self`."""
    return _decorator(source)


def same_parameters_after_two(
    source: Callable[P, Any],
) -> Callable[[Callable[Concatenate[S, T, ...], R]], Callable[Concatenate[S, T, P], R]]:
    """Give a function the parameters of `source` after its own first two."""
    return _decorator(source)


def _decorator(source: Callable[..., Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        _show_parameters(function, source)
        return function

    return decorate


def _show_parameters(function: Callable[..., Any], source: Callable[..., Any]) -> None:
    """Set the signature that help and Tab show: the parameters of `source`, and the function's own."""
    signature, shared = inspect.signature(function), inspect.signature(source).parameters
    own = [
        parameter
        for name, parameter in signature.parameters.items()
        if name not in shared and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    parameters = sorted([*own, *shared.values()], key=lambda parameter: parameter.kind)
    function.__dict__["__signature__"] = signature.replace(parameters=parameters)
