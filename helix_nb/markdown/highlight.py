"""Code in colour, by Pygments' own short class names, and only for the tokens that get a colour."""

from __future__ import annotations

from functools import lru_cache
from time import thread_time
from typing import Any

from markdown_it.common.utils import escapeHtml

LONGEST = 50_000  # characters of code that are coloured
MOST_CPU_S = 1.0  # for one block, because some lexers need minutes for hostile code of that length

# A model chooses the language, and some of Pygments' 600 lexers take minutes over one hostile token.
_LANGUAGES = """
    bash c c++ clojure console cpp cs csharp css cuda dart diff docker dockerfile elixir erlang go graphql
    groovy haskell hcl html http ini java javascript js json jsonc json5 jsx julia kotlin latex lua make
    makefile markdown matlab md nginx nix objective-c objectivec ocaml patch perl php powershell proto
    protobuf ps1 py pycon python python3 r rb rs ruby rust scala scss sh shell sql swift terraform tex
    toml ts tsx typescript vim xml yaml yml zig zsh
"""
LANGUAGES = frozenset(_LANGUAGES.split())
# What Pygments calls some of these.
_LEXERS = {
    "json5": "json",
    "jsonc": "json",
    "nix": "nixos",
    "proto": "protobuf",
    "tsx": "typescript",
    "zsh": "bash",
}
_CLASSES = "k kt s se si m c o ow nf nc nb nd na nt nv ne gd gi gh gp go err"
CLASSES = frozenset(_CLASSES.split())


def language_of(info: str) -> str | None:
    """Return the language that a fence names, if it is one that we colour."""
    name = info.split(maxsplit=1)[0].lower().strip("{}.") if info.strip() else ""
    return name if name in LANGUAGES else None


def highlight_code(code: str, language: str | None) -> str:
    """Return code as escaped HTML, coloured where the language is known and the code is not huge."""
    return escapeHtml(code) if language is None or len(code) > LONGEST else _colour(code, language)


@lru_cache(maxsize=32)  # the panel shows a block, and soon after its transcript does
def _colour(code: str, language: str) -> str:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(_LEXERS.get(language, language), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escapeHtml(code)
    spans = _spans(lexer.get_tokens(code))
    return escapeHtml(code) if spans is None else "".join(spans)


def _spans(tokens: Any) -> list[str] | None:
    """Return the code with a span for neighbours of one class; None when that takes too long."""
    parts: list[str] = []
    span_class, text = "", ""
    deadline = thread_time() + MOST_CPU_S
    for kind, value in tokens:
        if thread_time() > deadline:
            return None
        token_class = _class_of(kind)
        if token_class != span_class:
            parts.append(_span(span_class, text))
            span_class, text = token_class, ""
        text += value
    parts.append(_span(span_class, text))
    return parts


def _span(name: str, text: str) -> str:
    return f'<span class="{name}">{escapeHtml(text)}</span>' if name and text else escapeHtml(text)


def _class_of(kind: Any) -> str:
    """Return the short class of the nearest token type that has a colour, or an empty text."""
    from pygments.token import STANDARD_TYPES

    while kind is not None:
        name: str = STANDARD_TYPES.get(kind, "")
        if name in CLASSES:
            return name
        kind = kind.parent
    return ""
