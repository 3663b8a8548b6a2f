"""The source of modules, functions and classes, those of the notebook's own cells included."""

from __future__ import annotations

import ast
import inspect
import linecache
import types
from typing import Any

KINDS = (
    ("module", types.ModuleType),
    ("class", type),
    ("function", types.FunctionType | types.MethodType),
)


def kind_of(value: Any) -> str | None:
    """Return "module", "class" or "function" for an object that has a source; None for any other."""
    return next((kind for kind, cls in KINDS if isinstance(_unwrapped(value), cls)), None)


def source_of(value: Any) -> str | None:
    """Return the source of a module, class or function, or None where it is not available."""
    value = _unwrapped(value)
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return _class_in_cells(value) if isinstance(value, type) else None


def in_cell(filename: str) -> bool:
    """Return whether code of this file name was written in a cell."""
    return filename.startswith("<ipython-input") or "ipykernel_" in filename


def _unwrapped(value: Any) -> Any:
    """Return the function under a decorator such as `functools.cache`; no code of the object runs."""
    inner = inspect.getattr_static(value, "__wrapped__", None)
    return inner if isinstance(inner, types.FunctionType) else value


def _class_in_cells(cls: type) -> str | None:
    """Return the newest definition of a class: `inspect` finds by code objects, and a class has none."""
    for name in reversed(list(linecache.cache)):
        if cls.__module__ != "__main__" or not in_cell(name):
            continue
        lines = linecache.getlines(name)
        try:
            node = _class_in(ast.parse("".join(lines)), cls.__qualname__.split("."))
        except (SyntaxError, ValueError):
            continue
        if node is not None:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "".join(lines[first - 1 : node.end_lineno])
    return None


def _class_in(tree: ast.AST, path: list[str]) -> ast.ClassDef | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == path[0]:
            return node if len(path) == 1 else _class_in(ast.Module(node.body, []), path[1:])
    return None
