"""Markdown to sanitised HTML: the parser, what each token looks like, and links that say where they go."""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

from . import formulas
from .highlight import highlight_code, language_of
from .links import defuse_links, is_acceptable
from .sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

LONGEST = 200_000  # characters that are parsed; what is beyond is shown as it is
_MARK = re.compile("[0-9a-f]{24}x[0-9]+x")  # stands for a formula; the text cannot guess its 24 digits


def render(text: str, *, highlight: bool = True) -> str:
    """Return printable Markdown as sanitised HTML, formulas with their delimiters."""
    text, rest = text[:LONGEST], text[LONGEST:]
    html: str = _parser(references=True).render(text, {"highlight": highlight})
    if rest:
        html += f"<pre><code>{escapeHtml(rest)}</code></pre>"
    return sanitize(html).strip()


def render_block(source: str, *, highlight: bool = True, start: int | None = None) -> str:
    """Return one block of printable Markdown as sanitised HTML, formulas as MathML sanitised alone."""
    if len(source) > LONGEST:
        return render(source, highlight=highlight)
    formulas_by_mark: dict[str, str] = {}
    env = {"highlight": highlight, "mathml": formulas_by_mark, "mark": secrets.token_hex(12), "start": start}
    html = sanitize(_parser(references=False).render(source, env)).strip()
    return _MARK.sub(lambda mark: formulas_by_mark.get(mark[0], mark[0]), html) if formulas_by_mark else html


def outline(source: str) -> list[Token]:
    """Return the block structure of a source; what is inside paragraphs is not read."""
    return _outline_parser().parse(source)


def fences(text: str) -> list[tuple[str, str]]:
    """Return the fenced code of a Markdown text as (language, code), in lists and quotes too."""
    tokens = [token for token in outline(text) if token.type == "fence"]
    return [((token.info.split() or [""])[0], token.content) for token in tokens]


@lru_cache(maxsize=1)
def _outline_parser() -> MarkdownIt:
    parser = _new_parser(references=False)
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@lru_cache(maxsize=2)
def _parser(*, references: bool) -> MarkdownIt:
    return _new_parser(references=references)


def _new_parser(*, references: bool) -> MarkdownIt:
    """Make a parser of CommonMark with tables and strikethrough, without raw HTML."""
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 24}).enable(["table", "strikethrough"])
    parser.disable(["html_block", "html_inline", *([] if references else ["reference"])])
    formulas.add_rules(parser)
    parser.validateLink = is_acceptable  # type: ignore[method-assign]  # the parser's own hook
    parser.core.ruler.push("defuse_links", defuse_links)
    for token_type, rule in _RENDER_RULES.items():
        parser.add_render_rule(token_type, rule)
    return parser


def _text(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return formulas.escape_text(tokens[at].content)


def _fence(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    token = tokens[at]
    language = language_of(token.info)
    code = highlight_code(token.content, language if env["highlight"] else None)
    name = f' class="language-{language}"' if language else ""
    return f"<pre><code{name}>{code}</code></pre>\n"


def _math(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Show a formula with its delimiters in a cell, as a mark for its MathML in the panel."""
    token, by_mark = tokens[at], env.get("mathml")
    if by_mark is None:
        return formulas.with_delimiters(token.content, token.markup)
    mathml = formulas.mathml(token.content, token.markup)
    if mathml is None:
        return formulas.as_code(token.content, token.markup)
    mark = f"{env['mark']}x{len(by_mark)}x"
    by_mark[mark] = mathml
    return mark


def _math_block(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f"<p>{_math(_, tokens, at, options, env)}</p>\n"


def _cell(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Give the alignment of a column as an attribute: no style gets past the allowlist."""
    side = str(tokens[at].attrGet("style") or "").removeprefix("text-align:")
    return f'<{tokens[at].tag} align="{side}">' if side else f"<{tokens[at].tag}>"


def _list(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Keep counting in a list that goes on from an earlier block."""
    start = tokens[at].attrGet("start")
    if at == 0 and env.get("start") is not None:
        start = env["start"]
    return "<ol>\n" if start in (None, 1) else f'<ol start="{start}">\n'


_RENDER_RULES = {
    "text": _text,
    "fence": _fence,
    "code_block": _fence,
    "math_inline": _math,
    "math_block": _math_block,
    "th_open": _cell,
    "td_open": _cell,
    "ordered_list_open": _list,
}
