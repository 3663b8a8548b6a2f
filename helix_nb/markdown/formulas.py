r"""Formulas in Markdown: found before anything else reads them, checked, and shown in one of three ways.

In a cell a formula keeps its delimiters and Jupyter's MathJax typesets it; in the panel it becomes
MathML; and one that uses a macro which could do more than draw is shown as code. MathJax reads
every text of an output, so what only looks like a formula is kept from it (`escape_text`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from markdown_it.common.utils import escapeHtml

from ..text import printable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:equation|multline|gather|align|alignat|flalign|eqnarray|[pbBvV]?matrix|cases)\*?)\}"
)
_LONGEST_INLINE, _LONGEST, _MOST_LINES, _MOST_CLOSERS, _DEEPEST = 2_000, 8_000, 50, 8, 60

# Macros that carry links, styles, ids, classes or attributes, load code, or outlive their formula.
_UNSAFE = re.compile(
    r"\\(?:href|url|class|cssId|style|data|html[A-Za-z]*|require|unicode|mmlToken|bbox|enclose|texttip|mathtip"
    r"|toggle|tooltip|includegraphics|image|def|edef|gdef|xdef|let|futurelet|(?:re)?new[A-Za-z]*|provide[A-Za-z]*"
    r"|Newextarrow|Declare[A-Za-z]*|definecolor|csname|catcode|input|include|write|special|loop|(?:eq)?ref|cite"
    r"|[rR]ule|Space|[mh]?kern|[mh]skip|raise|lower|raisebox|move(?:left|right)|[bx]?cancel(?:to)?\s*\["
    r"|begin\s*\{\s*(?:html|empheq|prooftree)\*?\s*\})(?![A-Za-z])"
)
_COLOUR = re.compile(r"\\(?:text|math|page|row|column|cell)?f?color(?:box)?(?![A-Za-z])")
_COLOUR_NAME = r"\s*(?:\[\w+\]\s*)?(?:\{[#\w.,! -]*\}\s*)"
_ONE_COLOUR, _FRAME_AND_COLOUR = re.compile(_COLOUR_NAME), re.compile(f"(?:{_COLOUR_NAME}){{2}}")
_PRICE = re.compile(r"\d[\d.,]*[kKmMbB]?[,;:.]?\s+[A-Za-z]{2,}")  # "$10 for both, 12$", but not "$2 x$"
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")


def is_drawable(tex: str) -> bool:
    """Return whether a formula can do nothing but draw, and is of a size that draws in good time."""
    if len(tex) > _LONGEST or _UNSAFE.search(tex):
        return False
    if not all(_takes_colour_names(tex, macro) for macro in _COLOUR.finditer(tex)):
        return False
    return _has_balanced_braces(tex) and _depth(tex) <= _DEEPEST


def _takes_colour_names(tex: str, macro: re.Match[str]) -> bool:
    """Return whether the colours that a macro is given are names or numbers; `\\fcolorbox` takes two."""
    pattern = _FRAME_AND_COLOUR if "fcolor" in macro[0] else _ONE_COLOUR
    return pattern.match(tex, macro.end()) is not None


def _has_balanced_braces(tex: str) -> bool:
    """Return whether the braces match in number, as MathJax wants before it takes something for a formula."""
    return tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")


def _depth(tex: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"\\begin|\\end|\\left|\\right(?![a-z])|(?<!\\)[{}]", tex):
        depth += 1 if bracket in ("{", r"\begin", r"\left") else -1
        deepest = max(deepest, depth)
    return deepest


def escape_text(content: str) -> str:
    r"""Return text as HTML, with each `$` and `\` in a span of its own, where MathJax finds no formula.

    Control characters are dropped once more, because entities may have put them back.
    """
    return re.sub(r"[$\\]", lambda match: f"<span>{match[0]}</span>", escapeHtml(printable(content)))


def with_delimiters(tex: str, markup: str) -> str:
    """Return a formula with its delimiters, for MathJax; as code if it could do more than draw."""
    if not is_drawable(tex):
        return as_code(tex, markup)
    opener, closer = _delimiters(markup)
    return f"<span>{opener}{escapeHtml(_LABEL.sub('', tex))}{closer}</span>"


def as_code(tex: str, markup: str) -> str:
    """Return a formula shown as what was written."""
    opener, closer = _delimiters(markup)
    return f"<code>{escapeHtml(opener + tex + closer)}</code>"


@lru_cache(maxsize=512)
def mathml(tex: str, markup: str) -> str | None:
    """Return a formula as sanitised MathML, or None if it does not parse or could do more than draw."""
    if len(tex) > _LONGEST_INLINE or not is_drawable(tex):
        return None
    from latex2mathml.converter import convert

    from .sanitize import sanitize_mathml

    try:
        html = convert(_LABEL.sub("", tex), display="block" if _is_display(markup) else "inline")
    except Exception:  # noqa: BLE001 - a parser of hostile text: whatever it raises, the source is shown
        return None
    return sanitize_mathml(html)


def _delimiters(markup: str) -> tuple[str, str]:
    return next((pair for pair in _DELIMITERS if pair[0] == markup), ("", ""))


def _is_display(markup: str) -> bool:
    return markup in ("$$", r"\[", "")


def add_rules(parser: MarkdownIt) -> None:
    """Teach a Markdown parser to keep formulas whole."""
    parser.inline.ruler.before("escape", "math_inline", _inline)
    parser.block.ruler.before(
        "fence", "math_block", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )


def _inline(state: StateInline, silent: bool) -> bool:
    """Find one formula inside a paragraph, as a rule of the parser."""
    src, start = state.src, state.pos
    pair = next((pair for pair in _DELIMITERS if src.startswith(pair[0], start)), None)
    if pair is None:
        return False
    begin = start + len(pair[0])
    end = _dollar_end(src, begin) if pair[0] == "$" else src.find(pair[1], begin, begin + _LONGEST)
    if end < 0 or not src[begin:end].strip():
        return False
    if not silent:
        token = state.push("math_inline", "", 0)
        token.content, token.markup = src[begin:end], pair[0]
    state.pos = end + len(pair[1])
    return True


def _dollar_end(src: str, begin: int) -> int:
    """Return where the formula after one `$` ends, or -1: prices, shell variables and code are none."""
    before, after = src[begin - 2 : begin - 1], src[begin : begin + 1]
    if before == "$" or before.isdigit() or not after or after.isspace():
        return -1
    end = src.find("$", begin, begin + _LONGEST_INLINE)
    for _ in range(_MOST_CLOSERS):
        if end < 0 or (not _is_escaped(src, end) and _has_balanced_braces(src[begin:end])):
            break
        end = src.find("$", end + 1, begin + _LONGEST_INLINE)
    if end < 0 or src[end - 1].isspace() or "`" in src[begin:end] or _PRICE.match(src, begin):
        return -1
    return -1 if re.match(r"[\d${]|[A-Z_]{2}", src[end + 1 : end + 3]) else end


def _is_escaped(src: str, at: int) -> bool:
    slashes = at - len(src[:at].rstrip("\\")) if src[at - 1] == "\\" else 0
    return slashes % 2 == 1


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Find a formula that has lines of its own and no blank one among them, as a rule of the parser."""
    if state.is_code_block(first):
        return False
    markup, opener, closer = _opening(_line(state, first))
    end = _closing_line(state, first, last, len(opener), closer) if closer else None
    if end is None:
        return False
    if not silent:
        formula = "\n".join(_line(state, number) for number in range(first, end + 1)).rstrip()
        token = state.push("math_block", "", 0)
        token.content = formula[len(markup) : len(formula) - len(closer)] if markup else formula
        token.markup, token.map = markup, [first, end + 1]
        state.line = end + 1
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]


def _opening(line: str) -> tuple[str, str, str]:
    """Return the markup, the opener and what closes it; empty for other lines."""
    for markup, closer in (("$$", "$$"), (r"\[", r"\]")):
        if line.startswith(markup):
            return markup, markup, closer
    environment = _ENVIRONMENT.match(line)
    return ("", environment[0], f"\\end{{{environment[1]}}}") if environment else ("", "", "")


def _closing_line(state: StateBlock, first: int, last: int, skip: int, closer: str) -> int | None:
    """Return the line a formula ends with; None if text follows it there: it belongs to a paragraph."""
    for number in range(first, min(last, first + _MOST_LINES)):
        if number > first and (state.isEmpty(number) or state.sCount[number] < state.blkIndent):
            return None
        line = _line(state, number)
        at = line.find(closer, skip if number == first else 0)
        if at >= 0:
            return None if line[at + len(closer) :].strip() else number
    return None
