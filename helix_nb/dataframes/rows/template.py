"""`{{column}}` in a prompt: compiled once against a frame's columns, filled in row by row.

An exact column name wins, spaces and all; otherwise a placeholder is an expression over the columns
and `index`: attributes, items, slices, and a format spec after a colon. There are no calls and no
notebook variables, and the text of a cell is never read as a template again.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ...errors import ConfigError, describe_exception
from ...prompts.placeholders import Placeholder, pieces
from ...text import did_you_mean

INDEX = "index"
ALLOWED = "a column, its attributes, items and slices, and a format spec"
COLUMNS_LISTED = 20  # in the sentence about a wrong name

CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}

RowValues = Mapping[str, Any]  # the used values of one row by name: the column's label as text, or "index"
LookUp = Callable[[RowValues], Any]  # the value of an expression in a row
IsMissing = Callable[[Any], bool]


class UnusableRow(Exception):
    """The values of one row do not fit the template; the text says how."""


@dataclass(frozen=True, slots=True)
class Field:
    """A compiled placeholder: the value to look up and the way to write it."""

    raw: str  # as written, with its braces
    look_up: LookUp
    conversion: str  # a key of CONVERSIONS, or empty
    spec: str  # as for `format`
    names: tuple[str, ...]  # of the columns that the expression uses

    def render(self, row: RowValues, is_missing: IsMissing) -> str | None:
        """Return the text for this row; None when the value is missing."""
        if any(is_missing(row[name]) for name in self.names):
            return None
        try:
            value = self.look_up(row)
            if is_missing(value):
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

    def render(self, row: RowValues, is_missing: IsMissing, blank: str | None = None) -> str | None:
        """Fill in one row. A missing value is written as `blank`; without one the result is None."""
        texts = []
        for part in self.parts:
            text = part if isinstance(part, str) else part.render(row, is_missing)
            text = blank if text is None else text
            if text is None:
                return None
            texts.append(text)
        return "".join(texts)


def compile_template(text: str, columns: Sequence[Hashable]) -> Template:
    """Check a template against a frame's columns and return it ready to be filled in.

    Raises:
        ConfigError: a placeholder names no column, or asks for more than a template gives.

    >>> template = compile_template("{{name}} costs {{unit price:.2f}}", ["name", "unit price"])
    >>> template.render({"name": "tea", "unit price": 3}, is_missing=lambda value: value is None)
    'tea costs 3.00'
    """
    compiler = _Compiler(columns, columns_by_name(columns))
    parts = tuple(piece if isinstance(piece, str) else compiler.field(piece) for piece in pieces(text))
    if all(isinstance(part, str) for part in parts):
        compiler.refuse_single_braces(text)
    names = [name for part in parts if isinstance(part, Field) for name in part.names]
    return Template(parts, tuple(dict.fromkeys(names)))


def columns_by_name(columns: Sequence[Hashable]) -> dict[str, Hashable]:
    """Return the columns by the names that templates call them, without names that mean two columns."""
    exact, trimmed = _group(columns, str), _group(columns, lambda label: str(label).strip())
    labels_by_name = {name: labels for name, labels in {**trimmed, **exact}.items() if name == name.strip()}
    return {name: labels[0] for name, labels in labels_by_name.items() if len(labels) == 1}


def _group(columns: Sequence[Hashable], name_of: Callable[[Hashable], str]) -> dict[str, list[Hashable]]:
    groups: dict[str, list[Hashable]] = {}
    for label in columns:
        groups.setdefault(name_of(label), []).append(label)
    return groups


@dataclass(frozen=True, slots=True)
class _Compiler:
    """The columns that the placeholders of one template may name."""

    columns: Sequence[Hashable]
    by_name: Mapping[str, Hashable]

    def field(self, placeholder: Placeholder) -> Field:
        for name, spec in _possible_names(placeholder.source):
            if name in self.by_name:
                return Field(placeholder.raw, itemgetter(name), "", spec, (name,))
        expression, conversion, spec = placeholder.expression, placeholder.conversion, placeholder.spec
        if expression in self.by_name:  # before a conversion
            return Field(placeholder.raw, itemgetter(expression), conversion, spec, (expression,))
        try:
            node = ast.parse(expression, mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            raise self._unknown_column(placeholder.raw, placeholder.source) from None
        look_up = self._compile(node, placeholder.raw)
        names = tuple(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
        if not names:
            raise self._unknown_column(placeholder.raw, placeholder.source)
        return Field(placeholder.raw, look_up, conversion, spec, names)

    def _compile(self, node: ast.AST | None, raw: str) -> LookUp:
        """Return the function that finds the value of an expression in a row; refuse what is not ALLOWED."""
        match node:
            case ast.Name(id=name):
                if name not in self.by_name and name != INDEX:
                    raise self._unknown_column(raw, name)
                return itemgetter(name)
            case ast.Attribute(value=owner, attr=name):
                if name.startswith("_"):
                    raise ConfigError(f"{raw}: attributes that start with an underscore are out of reach.")
                owner_of = self._compile(owner, raw)
                return lambda row: getattr(owner_of(row), name)
            case ast.Subscript(value=owner, slice=key):
                owner_of, key_of = self._compile(owner, raw), self._compile(key, raw)
                return lambda row: owner_of(row)[key_of(row)]
            case ast.Slice(lower=lower, upper=upper, step=step):
                bounds = [self._compile(bound, raw) for bound in (lower, upper, step)]
                return lambda row: slice(*(bound(row) for bound in bounds))
            case None:  # a bound that a slice leaves out
                return lambda row: None
            case (
                ast.Constant(value=int() | str())
                | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int()))
            ):
                value = ast.literal_eval(node)
                return lambda row: value
        what = "makes no calls; it" if isinstance(node, ast.Call) else "only"
        raise ConfigError(f"{raw}: a template {what} takes {ALLOWED}. Compute a column first.")

    def _unknown_column(self, raw: str, name: str) -> ConfigError:
        if sum(str(label).strip() == name for label in self.columns) > 1:
            return ConfigError(f"{raw}: more than one column is called {name!r}; rename one.")
        guess = did_you_mean(name, self.by_name, shown="{{{{{}}}}}")
        names = ", ".join(list(self.by_name)[:COLUMNS_LISTED])
        names += ", ..." if len(self.by_name) > COLUMNS_LISTED else ""
        return ConfigError(f"{raw}: there is no column {name!r}.{guess} Columns: {names or 'none'}.")

    def refuse_single_braces(self, text: str) -> None:
        """Refuse a template without placeholders that has a column's name in single braces."""
        for name in self.by_name:
            if name and f"{{{name}}}" in text:
                raise ConfigError(f"Write {{{{{name}}}}} with two braces to fill in the column {name!r}.")


def _possible_names(source: str) -> list[tuple[str, str]]:
    """List the ways to read a placeholder as a column's name and a format spec, the longest name first."""
    colons = [index for index, char in enumerate(source) if char == ":"]
    return [(source, ""), *((source[:at].strip(), source[at + 1 :]) for at in reversed(colons))]
