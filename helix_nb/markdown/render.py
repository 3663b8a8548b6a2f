"""Markdown to washed HTML: the parser, what each token looks like, and links that say where they go."""

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
_MARK = re.compile("[0-9a-f]{24}x[0-9]+x")  # where a formula goes; the text cannot guess its 24 digits


def render(text: str, *, highlight: bool = True) -> str:
    """Cleaned Markdown as washed HTML, formulas with their delimiters."""
    text, rest = text[:LONGEST], text[LONGEST:]
    html: str = parser().render(text, {"highlight": highlight})
    if rest:
        html += f"<pre><code>{escapeHtml(rest)}</code></pre>"
    return sanitize(html).strip()


def render_block(source: str, *, highlight: bool = True, start: int | None = None) -> str:
    """One block of cleaned Markdown as washed HTML, formulas as MathML that was washed alone."""
    if len(source) > LONGEST:
        return render(source, highlight=highlight)
    made: dict[str, str] = {}
    env = {"highlight": highlight, "mathml": made, "mark": secrets.token_hex(12), "start": start}
    html = sanitize(parser(references=False).render(source, env)).strip()
    return _MARK.sub(lambda match: made.get(match[0], match[0]), html) if made else html


def outline(source: str) -> list[Token]:
    """The block structure of a source; what is inside paragraphs is not read."""
    return _outliner().parse(source)


def fences(text: str) -> list[tuple[str, str]]:
    """The fenced code of a Markdown text as (language, code), in lists and quotes too."""
    found = [token for token in outline(text) if token.type == "fence"]
    return [((token.info.split() or [""])[0], token.content) for token in found]


@lru_cache(maxsize=1)
def _outliner() -> MarkdownIt:
    made = _parser(references=False)
    made.core.ruler.enableOnly(["normalize", "block"])
    return made


@lru_cache(maxsize=2)
def parser(references: bool = True) -> MarkdownIt:
    """The parser that `render` (with references) and `render_block` (without) share."""
    return _parser(references)


def _parser(references: bool) -> MarkdownIt:
    """CommonMark with tables and strikethrough, without raw HTML."""
    made = MarkdownIt("commonmark", {"html": False, "maxNesting": 24}).enable(["table", "strikethrough"])
    made.disable(["html_block", "html_inline"] if references else ["html_block", "html_inline", "reference"])
    formulas.add_rules(made)
    made.validateLink = is_acceptable  # type: ignore[method-assign]  # the parser's own hook
    made.core.ruler.push("honest_links", defuse_links)
    for name, rule in (("text", _text), ("fence", _fence), ("code_block", _fence), ("math_inline", _math)):
        made.add_render_rule(name, rule)
    for name, rule in (
        ("math_block", _math_block),
        ("th_open", _cell),
        ("td_open", _cell),
        ("ordered_list_open", _list),
    ):
        made.add_render_rule(name, rule)
    return made


def _text(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return formulas.text(tokens[at].content)


def _fence(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    token = tokens[at]
    language = language_of(token.info)
    code = highlight_code(token.content, language if env["highlight"] else None)
    name = f' class="language-{language}"' if language else ""
    return f"<pre><code{name}>{code}</code></pre>\n"


def _math(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    token, made = tokens[at], env.get("mathml")
    if made is None:
        return formulas.source(token.content, token.markup)
    mathml = formulas.mathml(token.content, token.markup)
    if mathml is None:
        return formulas.code(token.content, token.markup)
    mark = f"{env['mark']}x{len(made)}x"
    made[mark] = mathml
    return mark


def _math_block(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f"<p>{_math(_, tokens, at, options, env)}</p>\n"


def _cell(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """The alignment of a column as an attribute: no style gets past the allowlist."""
    side = str(tokens[at].attrGet("style") or "").removeprefix("text-align:")
    return f'<{tokens[at].tag} align="{side}">' if side else f"<{tokens[at].tag}>"


def _list(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A list that goes on from an earlier block keeps counting."""
    start = tokens[at].attrGet("start")
    if at == 0 and env.get("start") is not None:
        start = env["start"]
    return "<ol>\n" if start in (None, 1) else f'<ol start="{start}">\n'
