"""The corpus through the pipeline, judged by an HTML5 parser and an allowlist of its own."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import html5lib
import pytest
from attacks import ATTACKS
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_nb.markdown import IncrementalRenderer, blocks, to_html
from helix_nb.markdown.style import CODE, LAYOUT

XHTML, MATHML = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/1998/Math/MathML}"
_TEXT = """
    h1 h2 h3 h4 h5 h6 p br hr blockquote ul ol li table thead tbody tr th td pre code em strong s a span
"""
_MATH = """
    math mrow mi mn mo mtext mspace mfrac msqrt mroot mstyle msub msup msubsup munder mover munderover mtable
    mtr mtd mpadded mphantom menclose mmultiscripts mprescripts none
"""
TEXT, MATH = set(_TEXT.split()), set(_MATH.split())
ATTRIBUTES = {
    ("a", "href"): re.compile(r"(https?://|mailto:)[^\s\"<>\\]+", re.I),
    ("a", "rel"): re.compile("noopener noreferrer"),
    ("a", "target"): re.compile("_blank"),
    ("ol", "start"): re.compile("[0-9]{1,9}"),
    ("th", "align"): re.compile("left|right|center"),
    ("td", "align"): re.compile("left|right|center"),
    ("code", "class"): re.compile("language-[a-z0-9+-]{1,12}"),
    ("span", "class"): re.compile("[a-z][a-z0-9]{0,2}"),
}
MATH_ATTRIBUTE = re.compile("[a-z]+"), re.compile(r"[#\w.+ -]{1,200}")
FORBIDDEN_MATH = {
    "href",
    "xlink:href",
    "style",
    "class",
    "id",
    "name",
    "src",
    "actiontype",
    "altimg",
    "definitionurl",
}
MACROS = re.compile(
    r"\\(href|url|class|cssId|style|data|html\w*|require|unicode|mmlToken|bbox|enclose|includegraphics|def|let|newcommand"
    r"|renewcommand|newenvironment|toggle|texttip|label|ref|eqref|rule|kern|raise)(?![A-Za-z])|url\s*\("
)
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def audit(html: str, *, mathml: bool) -> None:
    """Fail on anything in a fragment that is not plain text markup."""
    assert not UNSEEN.search(html)
    tree = html5lib.parseFragment(html, container="div")
    assert not (tree.text or "").strip()
    for element in tree.iter():
        if element is tree:
            continue
        assert isinstance(element.tag, str), "a comment"
        if element.tag.startswith(MATHML):
            assert mathml
            _audit_math(element)
        else:
            _audit_text(element)


def _audit_text(element) -> None:
    tag = element.tag.removeprefix(XHTML)
    assert tag in TEXT, tag
    for name, value in element.attrib.items():
        pattern = ATTRIBUTES.get((tag, name))
        assert pattern and pattern.fullmatch(value), (tag, name, value)
    if tag == "a":
        assert urlsplit(element.attrib["href"]).scheme.lower() in ("http", "https", "mailto")
        assert element.attrib["rel"] == "noopener noreferrer"
        assert "@" not in urlsplit(element.attrib["href"]).netloc


def _audit_math(element) -> None:
    assert element.tag.removeprefix(MATHML) in MATH, element.tag
    for child in element:
        assert child.tag.startswith(MATHML), "HTML inside a formula"
    for name, value in element.attrib.items():
        assert name not in FORBIDDEN_MATH
        assert MATH_ATTRIBUTE[0].fullmatch(name), name
        assert MATH_ATTRIBUTE[1].fullmatch(value), value


def audit_typesetting(html: str) -> None:
    r"""Fail on a text that MathJax would take for a formula and that the pipeline did not check as one.

    MathJax reads each run of text outside `pre` and `code` that no tag interrupts.
    """
    tree = html5lib.parseFragment(html, container="div")
    outer = [element for element in tree.iter() if element.tag in (f"{XHTML}pre", f"{XHTML}code")]
    skipped = {inner for element in outer for inner in element.iter()}
    runs = [element.text for element in tree.iter() if element not in skipped]
    runs += [element.tail for element in tree.iter() if element not in skipped or element in outer]
    for run in filter(None, runs):
        if "$" in run or "\\" in run:
            lone = run in ("$", "\\")
            formula = re.fullmatch(r"\$.+\$|\\\(.+\\\)|\\\[.+\\\]|\\begin\{.+\}", run, re.DOTALL)
            assert lone or (formula and not MACROS.search(run)), run


def inside(html: str) -> str:
    """The fragment without our own element and style, which must be the first and only one."""
    for style in (LAYOUT, LAYOUT + CODE):
        start = f'<div class="helix-nb"><style>{style}</style>'
        if html.startswith(start):
            assert html.endswith("</div>")
            return html[len(start) : -len("</div>")]
    raise AssertionError(html[:200])


def check(text: str) -> None:
    """Both renderings of a text, whole."""
    for highlight in (True, False):
        html = inside(to_html(text, highlight=highlight))
        audit(html, mathml=False)
        audit_typesetting(html)
    for block in blocks(text):
        audit(block.html, mathml=True)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_comes_out_as_text(name):
    """Each attack renders to text markup alone, in a cell and in the panel."""
    check(ATTACKS[name])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_harmless_while_it_streams(name):
    """Every growing prefix of an attack is as harmless as the whole."""
    growing = IncrementalRenderer()
    text = ATTACKS[name]
    step = 1 + len(text) // 60
    for end in range(0, len(text) + 1, step):
        html = inside(to_html(text[:end], highlight=False))
        audit(html, mathml=False)
        audit_typesetting(html)
        for block in growing.feed(text[:end]):
            audit(block.html, mathml=True)


def test_attacks_do_not_combine():
    """All attacks in one text, in both orders, with and without blank lines between, stay harmless."""
    for texts in (list(ATTACKS.values()), list(ATTACKS.values())[::-1]):
        check("\n\n".join(texts))
        check("".join(texts))


SNIPPETS = st.sampled_from(sorted(ATTACKS.values()))
_MARKS = r"$ $$ \( \) \[ \] ` ``` > - 1. | |-| [ ]( ) * < > & &# ; \ ! { } \href{javascript:x}{y} \text{ http://x.y"
MARKS = st.sampled_from([*_MARKS.split(), "\n", "\n\n", "\n> ", "\n- ", "\n1. ", "\x1b[", "\t", "    ", " "])


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.one_of(MARKS, st.text(max_size=8), SNIPPETS.map(lambda text: text[:40])), max_size=30).map(
        "".join
    )
)
def test_any_text_comes_out_as_text(text):
    """No mix of Markdown's marks, formulas and attacks makes anything but text markup."""
    check(text)


def test_our_style_fetches_nothing():
    """The one style that is added after washing loads nothing and reaches nothing outside our element."""
    assert not re.search(r"url|@import|expression|http|//|<", LAYOUT + CODE)
    for selectors in re.findall(r"([^{}]+)\{", LAYOUT + CODE):
        assert all(selector.startswith(".helix-nb") for selector in selectors.split(","))
