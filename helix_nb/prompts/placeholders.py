"""Finds each `{{expression}}` of a prompt, in one pass; the caller decides what goes in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENERS, _CLOSERS = "([{", ")]}"
_STRING_PREFIX = re.compile(r"(?:^|[^\w])(?:[rbfu]|rb|br|rf|fr)$", re.IGNORECASE)
_MAX_LENGTH = 500  # characters of a placeholder, because hostile text would take quadratic time
_CONVERSION = re.compile(r"!([rsa])\s*$")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{{...}}`, its source split as an f-string would: `{{price!r:>8}}` is `price`, `r`, `>8`."""

    raw: str  # with its braces
    source: str  # the text between the braces, trimmed
    expression: str
    conversion: str  # "r", "s", "a" or ""
    spec: str


def pieces(text: str) -> list[str | Placeholder]:
    """Split a template into literal text and placeholders, left to right, reading each character once.

    Quotes and brackets inside a placeholder are respected, so `{{d["}}"]}}` is one. An empty `{{}}`
    and a `{{` that never closes stay text. Joining the text and each placeholder's `raw` gives back
    the template.

    >>> pieces("Dear {{name}}, you owe {{due[0]:.2f}}.")[1].expression
    'name'
    """
    split: list[str | Placeholder] = []
    literal = position = 0
    while (start := text.find("{{", position)) >= 0:
        end = _find_end(text, start + 2)
        if end < 0:
            position = start + 2
            continue
        position = end + 2
        source = text[start + 2 : end].strip()
        if source:
            if start > literal:
                split.append(text[literal:start])
            split.append(Placeholder(text[start:position], source, *_split_source(source)))
            literal = position
    if literal < len(text):
        split.append(text[literal:])
    return split


def placeholders(text: str) -> list[Placeholder]:
    """Return the placeholders of a template alone, in order."""
    return [piece for piece in pieces(text) if isinstance(piece, Placeholder)]


def _find_end(text: str, start: int) -> int:
    """Return the index of the `}}` that ends a placeholder; -1 when there is none.

    Where brackets or quotes do not balance (`{{size (cm}}`), the first `}}` ends it, unless another
    placeholder opens before that.
    """
    depth, window = 0, min(len(text), start + _MAX_LENGTH)
    for index, char in _outside_strings(text, start, window):
        if char in _OPENERS:
            depth += 1
        elif char == "}" and depth == 0:
            if text.startswith("}}", index):
                return index
            break
        elif char in _CLOSERS:
            depth = max(depth - 1, 0)
    first = text.find("}}", start, window)
    return -1 if text.find("{{", start, max(first, start)) >= 0 else first


def _split_source(source: str) -> tuple[str, str, str]:
    """Split a placeholder's source into expression, conversion and format spec."""
    depth, end = 0, len(source)
    for index, char in _outside_strings(source, 0, len(source)):
        if char in _OPENERS:
            depth += 1
        elif char in _CLOSERS:
            depth -= 1
        elif char == ":" and depth == 0 and not source.startswith(":=", index):
            end = index
            break
    expression, spec = source[:end], source[end + 1 :]
    conversion = _CONVERSION.search(expression)
    if conversion:
        return expression[: conversion.start()].strip(), conversion[1], spec
    return expression.strip(), "", spec


def _outside_strings(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    """Yield the (index, character) pairs of `text[start:end]` outside string literals."""
    index = start
    while index < end:
        char = text[index]
        if char in "'\"" and _opens_string(text, start, index):
            after = _string_end(text, index, end)
            if after > 0:
                index = after
                continue
        yield index, char
        index += 1


def _opens_string(text: str, start: int, index: int) -> bool:
    """Return whether a quote begins a string, rather than being an apostrophe inside a name."""
    before = text[start:index]
    if not before or not (before[-1].isalnum() or before[-1] in "_)]"):
        return True
    return _STRING_PREFIX.search(before) is not None


def _string_end(text: str, index: int, end: int) -> int:
    """Return the index after a string literal, or -1 when it does not close."""
    quote = text[index] * 3 if text.startswith(text[index] * 3, index) else text[index]
    position = index + len(quote)
    while position < end:
        if text[position] == "\\":
            position += 2
        elif text.startswith(quote, position):
            return position + len(quote)
        elif text[position] == "\n" and len(quote) == 1:
            return -1
        else:
            position += 1
    return -1
