"""`{{expression}}` in a prompt: find the holes, in one pass. What goes into them is the caller's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENERS, CLOSERS = "([{", ")]}"
STRING_PREFIX = re.compile(r"(?:^|[^\w])(?:[rbfu]|rb|br|rf|fr)$", re.IGNORECASE)
LONGEST = 500  # characters in a hole; keeps hostile text linear
CONVERSION = re.compile(r"!([rsa])\s*$")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{{...}}`: `raw` with its braces, `source` what stands between them, trimmed.

    `expression`, `conversion` ("r", "s", "a" or "") and `spec` are `source` taken apart as an
    f-string would: `{{price!r:>8}}` is `price`, `r`, `>8`.
    """

    raw: str
    source: str
    expression: str
    conversion: str
    spec: str


def pieces(text: str) -> list[str | Placeholder]:
    """Split a template into literal text and holes, left to right, each character read once.

    Quotes and brackets inside a hole are respected, so `{{d["}}"]}}` is one hole. An empty `{{}}`
    and a `{{` that never closes stay text. Joining the text and each hole's `raw` gives back the
    template.

    >>> pieces("Dear {{name}}, you owe {{due[0]:.2f}}.")[1].expression
    'name'
    """
    found: list[str | Placeholder] = []
    literal = position = 0
    while (start := text.find("{{", position)) >= 0:
        end = closing(text, start + 2)
        if end < 0:
            position = start + 2
            continue
        position = end + 2
        source = text[start + 2 : end].strip()
        if source:
            if start > literal:
                found.append(text[literal:start])
            found.append(Placeholder(text[start:position], source, *parts(source)))
            literal = position
    if literal < len(text):
        found.append(text[literal:])
    return found


def placeholders(text: str) -> list[Placeholder]:
    """The holes of a template alone, in order."""
    return [piece for piece in pieces(text) if isinstance(piece, Placeholder)]


def closing(text: str, start: int) -> int:
    """Where the `}}` of a hole stands; -1 when there is none.

    Brackets or quotes that do not balance (`{{size (cm}}`) end at the first `}}` instead, unless
    another hole opens before it.
    """
    depth, window = 0, min(len(text), start + LONGEST)
    for index, char in code(text, start, window):
        if char in OPENERS:
            depth += 1
        elif char == "}" and depth == 0:
            if text.startswith("}}", index):
                return index
            break
        elif char in CLOSERS:
            depth = max(depth - 1, 0)
    first = text.find("}}", start, window)
    return -1 if text.find("{{", start, max(first, start)) >= 0 else first


def parts(source: str) -> tuple[str, str, str]:
    """A hole's source as (expression, conversion, format spec)."""
    depth, end = 0, len(source)
    for index, char in code(source, 0, len(source)):
        if char in OPENERS:
            depth += 1
        elif char in CLOSERS:
            depth -= 1
        elif char == ":" and depth == 0 and not source.startswith(":=", index):
            end = index
            break
    expression, spec = source[:end], source[end + 1 :]
    conversion = CONVERSION.search(expression)
    if conversion:
        return expression[: conversion.start()].strip(), conversion[1], spec
    return expression.strip(), "", spec


def code(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    """The (index, character) pairs of `text[start:end]` that stand outside string literals."""
    index = start
    while index < end:
        char = text[index]
        if char in "'\"" and opens_string(text, start, index):
            after = string_end(text, index, end)
            if after > 0:
                index = after
                continue
        yield index, char
        index += 1


def opens_string(text: str, start: int, index: int) -> bool:
    """Whether a quote begins a string, rather than being an apostrophe inside a name."""
    before = text[start:index]
    if not before or not (before[-1].isalnum() or before[-1] in "_)]"):
        return True
    return STRING_PREFIX.search(before) is not None


def string_end(text: str, index: int, end: int) -> int:
    """The index after a string literal, or -1 when it does not close."""
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
