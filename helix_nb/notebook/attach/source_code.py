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
    """What an object with a source is, "module", "class" or "function"; None for any other object."""
    return next((kind for kind, cls in KINDS if isinstance(_unwrapped(value), cls)), None)


def source_of(value: Any) -> str | None:
    """The source of a module, class or function, or None where nobody kept it."""
    value = _unwrapped(value)
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return _class_of_a_cell(value) if isinstance(value, type) else None


def in_cell(filename: str) -> bool:
    """Whether code of this file name was written in a cell."""
    return filename.startswith("<ipython-input") or "ipykernel_" in filename


def _unwrapped(value: Any) -> Any:
    """The function under a decorator such as `functools.cache`; nothing of the object's own is run."""
    inner = inspect.getattr_static(value, "__wrapped__", None)
    return inner if isinstance(inner, types.FunctionType) else value


def _class_of_a_cell(cls: type) -> str | None:
    """The newest definition; `inspect` finds a cell's functions by their code, which a class has not."""
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
