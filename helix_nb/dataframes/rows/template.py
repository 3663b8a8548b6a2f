"""`{{column}}` in a prompt: compiled once against a frame's columns, filled in row by row.

An exact column name wins, spaces and all; otherwise a hole is an expression over the columns and
`index`: attributes, items, slices, and a format spec after a colon. There are no calls and no
notebook variables, and what a cell holds is never read as a template again.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, describe_exception
from ...prompts.placeholders import Placeholder, pieces
from ...text import did_you_mean

INDEX = "index"
ALLOWED = "a column, its attributes, items and slices, and a format spec"

CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}

RowValues = Mapping[str, Any]  # a row's used values by name: the column's label as text, or "index"


class UnusableRow(Exception):
    """One row's values do not fit the template; the text says how."""


@dataclass(frozen=True, slots=True)
class Field:
    """A hole that has been checked: what to look up and how to write it."""

    raw: str
    node: ast.expr
    conversion: str
    spec: str
    names: tuple[str, ...]

    def text(self, row: RowValues, missing: Callable[[Any], bool]) -> str | None:
        """The text for this row; None when the value is missing."""
        if any(missing(row[name]) for name in self.names):
            return None
        try:
            value = evaluate(self.node, row)
            if missing(value):
                return None
            if callable(value):
                raise UnusableRow(f"{self.raw} is a method, and a template makes no calls.")
            if self.conversion:
                value = CONVERSIONS[self.conversion](value)
            return format(value, self.spec) if self.spec else str(value)
        except UnusableRow:
            raise
        except Exception as error:
            raise UnusableRow(f"{self.raw} fails: {describe_exception(error)}") from error


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and fields, in order, and the names of the columns they use."""

    parts: tuple[str | Field, ...]
    names: tuple[str, ...]

    def render(self, row: RowValues, missing: Callable[[Any], bool], blank: str | None = None) -> str | None:
        """Fill in one row. A missing value is written as `blank`; without one the answer is None."""
        texts = []
        for part in self.parts:
            text = part if isinstance(part, str) else part.text(row, missing)
            text = blank if text is None else text
            if text is None:
                return None
            texts.append(text)
        return "".join(texts)


def compile_template(text: str, columns: Sequence[Hashable]) -> Template:
    """Check a template against a frame's columns.

    Raises:
        ConfigError: a hole names no column, or asks for more than a template gives.

    >>> template = compile_template("{{name}} costs {{unit price:.2f}}", ["name", "unit price"])
    >>> template.render({"name": "tea", "unit price": 3}, missing=lambda value: value is None)
    'tea costs 3.00'
    """
    known = columns_by_name(columns)
    parts = tuple(
        piece if isinstance(piece, str) else _field(piece, known, columns) for piece in pieces(text)
    )
    if all(isinstance(part, str) for part in parts):
        _refuse_single_braces(text, known)
    used = [name for part in parts if isinstance(part, Field) for name in part.names]
    return Template(parts, tuple(dict.fromkeys(used)))


def columns_by_name(columns: Sequence[Hashable]) -> dict[str, Hashable]:
    """The columns by the text a template calls them; a text that means two columns is left out."""
    exact, trimmed = _by_name(columns, str), _by_name(columns, lambda label: str(label).strip())
    known = {name: labels for name, labels in {**trimmed, **exact}.items() if name == name.strip()}
    return {name: labels[0] for name, labels in known.items() if len(labels) == 1}


def _by_name(columns: Sequence[Hashable], spelled: Callable[[Any], str]) -> dict[str, list[Hashable]]:
    found: dict[str, list[Hashable]] = {}
    for label in columns:
        found.setdefault(spelled(label), []).append(label)
    return found


def evaluate(node: ast.AST | None, row: RowValues) -> Any:
    """Look up what a checked expression stands for in this row."""
    match node:
        case ast.Name(id=name):
            value = row[name]
        case ast.Attribute(value=owner, attr=name):
            value = getattr(evaluate(owner, row), name)
        case ast.Subscript(value=owner, slice=key):
            value = evaluate(owner, row)[evaluate(key, row)]
        case ast.Slice(lower=lower, upper=upper, step=step):
            value = slice(evaluate(lower, row), evaluate(upper, row), evaluate(step, row))
        case ast.UnaryOp(operand=operand):
            value = -evaluate(operand, row)
        case _:
            value = node.value if isinstance(node, ast.Constant) else None
    return value


def _field(hole: Placeholder, known: Mapping[str, Hashable], columns: Sequence[Hashable]) -> Field:
    for name, spec in _spellings(hole.source):
        if name in known:
            return Field(hole.raw, ast.Name(id=name), "", spec, (name,))
    if hole.expression in known:  # before a conversion
        return Field(hole.raw, ast.Name(id=hole.expression), hole.conversion, hole.spec, (hole.expression,))
    try:
        node = ast.parse(hole.expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        raise _unknown(hole.raw, hole.source, known, columns) from None
    _check(node, hole, known, columns)
    names = tuple(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
    if not names:
        raise _unknown(hole.raw, hole.source, known, columns)
    return Field(hole.raw, node, hole.conversion, hole.spec, names)


def _spellings(source: str) -> list[tuple[str, str]]:
    """The ways to read a hole as a bare column name with or without a format spec, longest first."""
    colons = [index for index, char in enumerate(source) if char == ":"]
    return [(source, ""), *((source[:at].strip(), source[at + 1 :]) for at in reversed(colons))]


def _check(
    node: ast.AST, hole: Placeholder, known: Mapping[str, Hashable], columns: Sequence[Hashable]
) -> None:
    match node:
        case ast.Name(id=name):
            if name not in known and name != INDEX:
                raise _unknown(hole.raw, name, known, columns)
        case ast.Attribute(value=owner, attr=name):
            if name.startswith("_"):
                raise ConfigError(f"{hole.raw}: attributes that start with an underscore are out of reach.")
            _check(owner, hole, known, columns)
        case ast.Subscript(value=owner, slice=key):
            _check(owner, hole, known, columns)
            _check(key, hole, known, columns)
        case ast.Slice(lower=lower, upper=upper, step=step):
            for bound in (lower, upper, step):
                if bound is not None:
                    _check(bound, hole, known, columns)
        case (
            ast.Constant(value=int() | str()) | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int()))
        ):
            pass
        case _:
            what = "makes no calls; it" if isinstance(node, ast.Call) else "only"
            raise ConfigError(f"{hole.raw}: a template {what} takes {ALLOWED}. Compute a column first.")


def _unknown(raw: str, name: str, known: Mapping[str, Hashable], columns: Sequence[Hashable]) -> ConfigError:
    if sum(str(label).strip() == name for label in columns) > 1:
        return ConfigError(f"{raw}: more than one column is called {name!r}; rename one.")
    guess = did_you_mean(name, known, shown="{{{{{}}}}}")
    shown = ", ".join(list(known)[:20]) + (", ..." if len(known) > 20 else "")
    return ConfigError(f"{raw}: there is no column {name!r}.{guess} Columns: {shown or 'none'}.")


def _refuse_single_braces(text: str, known: Mapping[str, Hashable]) -> None:
    for name in known:
        if name and f"{{{name}}}" in text:
            raise ConfigError(f"Write {{{{{name}}}}} with two braces to fill in the column {name!r}.")
