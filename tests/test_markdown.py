"""Markdown to safe HTML: what ordinary answers look like, whole and while they grow."""

# ruff: noqa: E501 - expected HTML stands on one line

from __future__ import annotations

import html
import re
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helix_nb.markdown import IncrementalRenderer, blocks, to_html
from helix_nb.text import printable


def inside(text: str, **options) -> str:
    """The fragment of a text without our own element and style."""
    return to_html(text, **options).split("</style>", 1)[1].removesuffix("</div>")


SEEN = [
    ("a <b>x</b> &amp; &lt;", "<p>a &lt;b&gt;x&lt;/b&gt; &amp; &lt;</p>"),
    ("a *b* **c** ~~d~~ `e`", "<p>a <em>b</em> <strong>c</strong> <s>d</s> <code>e</code></p>"),
    ("# T\n\n- a\n- b", "<h1>T</h1>\n<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
    ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>'),
    ("> q\n\n---", "<blockquote>\n<p>q</p>\n</blockquote>\n<hr>"),
    ("$5 and $6", "<p><span>$</span>5 and <span>$</span>6</p>"),
    ("from $5 to $10, then 7$", "<p>from <span>$</span>5 to <span>$</span>10, then 7<span>$</span></p>"),
    ("US$5-US$7", "<p>US<span>$</span>5-US<span>$</span>7</p>"),
    ("echo $HOME/$USER ${a}/${b}", "<p>echo <span>$</span>HOME/<span>$</span>USER <span>$</span>{a}/<span>$</span>{b}</p>"),
    ("$x^2$ and $n$th", "<p><span>$x^2$</span> and <span>$n$</span>th</p>"),
    (r"$\text{if $x$ then}$", r"<p><span>$\text{if $x$ then}$</span></p>"),
    (r"$a<b$ \(c>d\)", r"<p><span>$a&lt;b$</span> <span>\(c&gt;d\)</span></p>"),
    ("$$\na\n= b\n- c\n$$", "<p><span>$$\na\n= b\n- c\n$$</span></p>"),
    ("so \\[\n1. x\n\\]", "<p>so [</p>\n<ol>\n<li>x\n]</li>\n</ol>"),
    ("so\n\\[ x_1 \\]\nis", "<p>so</p>\n<p><span>\\[ x_1 \\]</span></p>\n<p>is</p>"),
    ("\\begin{align}\na &= b\n\\end{align}", "<p><span>\\begin{align}\na &amp;= b\n\\end{align}</span></p>"),
    ("`$x$` C:\\Users", "<p><code>$x$</code> C:<span>\\</span>Users</p>"),
    (r"$x\label{e}$", "<p><span>$x$</span></p>"),
    ("```\n$x$\n```", "<pre><code>$x$\n</code></pre>"),
    ("```brainfuck\n+-<\n```", "<pre><code>+-&lt;\n</code></pre>"),
    ("```python\nx = 'a'\n```", '<pre><code class="language-python">x <span class="o">=</span> <span class="s">\'a\'</span>\n</code></pre>'),
    ("|a|b|\n|:-:|--:|\n|1|2|", '<table>\n<thead>\n<tr>\n<th align="center">a</th>\n<th align="right">b</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td align="center">1</td>\n<td align="right">2</td>\n</tr>\n</tbody>\n</table>'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), SEEN, ids=[text[:20] for text, _ in SEEN])
def test_what_ordinary_markdown_becomes(text, wanted):
    """Markdown comes out as people expect, formulas whole, prices and paths as text."""
    assert inside(text) == wanted


LINKS = [
    ("[docs](https://example.org/a?b=c#d)", "https://example.org/a?b=c#d", "docs"),
    ("<https://example.org/>", "https://example.org/", "https://example.org/"),
    ("<a@example.org>", "mailto:a@example.org", "a@example.org"),
    ("[example.org](https://www.example.org/x)", "https://www.example.org/x", "example.org"),
    ("[README.md](https://github.com/a/b)", "https://github.com/a/b", "README.md"),
    ("![a *cat*](https://example.org/cat.png)", "https://example.org/cat.png", "[image: a *cat*]"),
    ("[x][1]\n\n[1]: https://example.org/ 'title'", "https://example.org/", "x"),
]


@pytest.mark.parametrize(("text", "href", "words"), LINKS, ids=[href for _, href, _ in LINKS])
def test_links_open_apart_and_name_no_referrer(text, href, words):
    """A link keeps its address, opens in a new tab and sends no referrer; an image becomes one."""
    wanted = f'<p><a href="{html.escape(href)}" target="_blank" rel="noopener noreferrer">{words}</a></p>'
    assert inside(text) == wanted


def test_a_link_that_names_another_host_shows_where_it_leads():
    """A link whose text is another address is text, with the real one beside it."""
    assert inside("[**google.com**](https://evil.example/)") == (
        "<p><strong>google.com</strong> (https://evil.example/)</p>"
    )
    for look_alike in (
        "google\u2024com",
        "google\u3002com",
        "https:\u2215\u2215google.com",
        "ｇｏｏｇｌｅ.com",
    ):
        assert (
            inside(f"[{look_alike}](https://evil.example/)") == f"<p>{look_alike} (https://evil.example/)</p>"
        )


def test_colour_only_where_asked_and_known():
    """Streaming frames carry no colour and a fifth of the style; the last frame has both."""
    text = "```python\ndef f(): return 1\n```"
    assert '<span class="k">def</span>' in to_html(text)
    assert "<span" not in to_html(text, highlight=False)
    assert len(to_html("x")) < 800


@pytest.mark.parametrize(
    "text",
    [
        ">" * 10_000,
        "[" * 20_000,
        "*" * 50_000,
        "*_" * 10_000,
        "![](" * 5_000,
        "- " * 5_000,
        "$a" * 10_000,
        "\\(" * 10_000,
        "\\[\n" * 3_000,
        "`a" * 10_000,
        "\\begin{align}\n" * 2_000,
        "|a" * 500 + "\n" + "|-" * 500 + "\n" + "|b|\n" * 500,
        "```json\n" + "[" * 20_000,
        "$" + "{" * 900 + "}" * 900 + "$",
        "$" + r"\frac{" * 300 + "$",
        "$a" + "^a" * 900 + "$",
        "x" * 300_000,
        "\x00\ud800\udfff" * 1_000,
        "&#x" * 10_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_sizes_come_out(text):
    """Deep nesting, unclosed marks and huge texts render, in cells and in the panel."""
    assert to_html(text).startswith('<div class="helix-nb">')
    assert all(block.closed for block in blocks(text))


def test_colouring_gives_up_in_time():
    """Code that a lexer chokes on is shown without colours after a second, not after half a minute."""
    begun = time.thread_time()
    html = to_html("```perl\n" + "m{" * 24_000)
    assert time.thread_time() - begun < 5
    assert "m{m{" in html and "<span class=" not in html


def test_what_is_too_long_to_parse_is_shown_as_it_is():
    """Beyond the limit nothing is lost: it is shown as code."""
    assert inside("a\n" * 100_000 + "*last*<b>").endswith("<pre><code>*last*&lt;b&gt;</code></pre>")


PLAIN = [
    ("a\tb\nc", "a\tb\nc"),
    ("a\r\nb\rc", "a\nb\nc"),
    ("\x1b[1;31mred\x1b[0m", "red"),
    ("\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "text link"),
    ("\x9b31mred \x1bPq#0\x1b\\x \x1b(Bx \x1bcx", "red x x x"),
    ("a\x00\x07\x08\x7f\x85b", "ab"),
    ("\u202egnp.exe\u2066 \u200f", "gnp.exe "),
    ("\ud83d\ude00 \ud800", "😀 \ufffd"),
    ("żółw 漢字 👩\u200d💻", "żółw 漢字 👩\u200d💻"),
]


@pytest.mark.parametrize(("text", "wanted"), PLAIN, ids=[ascii(text)[:20] for text, _ in PLAIN])
def test_plain_keeps_what_can_be_read(text, wanted):
    """Escape sequences, control characters and direction overrides go; writing of all kinds stays."""
    assert printable(text) == wanted


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(st.characters(codec=None)))
def test_plain_is_safe_for_any_text(text):
    """Whatever comes in, nothing a terminal obeys comes out, and cleaning twice changes nothing."""
    cleaned = printable(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", cleaned)
    assert printable(cleaned) == cleaned


def test_formulas_in_the_panel_are_mathml():
    """In blocks a formula is MathML; one that does not parse or does more than draw is code."""
    made = [
        block.html for block in blocks("$x^2$\n\n$$\\frac{1}{2}$$\n\n$\\href{http://x}{y}$\n\n$\\frac{1$ a")
    ]
    assert made[0] == '<p><math display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math></p>'
    assert '<math display="block"><mrow><mfrac>' in made[1]
    assert made[2] == "<p><code>$\\href{http://x}{y}$</code></p>"
    assert "<math" not in made[3]


def test_html_in_a_formula_does_not_come_alive():
    r"""`\text{<img onerror>}` in a formula leaves no element behind but MathML's own."""
    (block,) = blocks(r"$\text{<img src=x onerror=alert(1)><script>x</script>}$")
    assert set(re.findall(r"<(\w+)", block.html)) <= {"p", "math", "mrow", "mtext", "code"}


def test_a_numbered_list_counts_on_across_its_items():
    """Each item is a block of its own, numbered as in the whole list, also when all are written 1."""
    assert [block.html for block in blocks("1. a\n1. b\n\n   c\n1. d\n\ntext\n\n5) x\n6) y")] == [
        "<ol>\n<li>a</li>\n</ol>",
        '<ol start="2">\n<li>\n<p>b</p>\n<p>c</p>\n</li>\n</ol>',
        '<ol start="3">\n<li>d</li>\n</ol>',
        "<p>text</p>",
        '<ol start="5">\n<li>x</li>\n</ol>',
        '<ol start="6">\n<li>y</li>\n</ol>',
    ]


ANSWER = """# Title

Some *text* with $x^2$ and `code`, [a](https://example.org).
Second line
===========

1. one
2. two

   more
3. three

- a
- b
  - c

| a | b |
|---|--:|
| 1 | 2 |

```python
def f():

    return 1
```
> quote
lazy

$$
y = 1
$$

\\[
z
\\]

[1]: https://example.org

    indented

    code

last"""


def test_only_new_and_changed_blocks_are_handed_out():
    """While an answer grows, blocks already closed are never sent again."""
    growing = IncrementalRenderer()
    sent: dict[int, str] = {}
    frozen: set[int] = set()
    for end in range(len(ANSWER) + 1):
        for block in growing.feed(ANSWER[:end]):
            assert block.key not in frozen
            sent[block.key] = block.html
            frozen |= {block.key} if block.closed else set()
    sent |= {block.key: block.html for block in growing.finish()}
    assert list(sent.values())[: len(growing.blocks)] == [block.html for block in blocks(ANSWER)]
    assert growing.feed(ANSWER) == []


def test_a_text_that_does_not_go_on_starts_over():
    """Feeding another text than a continuation replaces all blocks."""
    growing = IncrementalRenderer()
    growing.feed("# A\n\nb\n\nc\n")
    growing.feed("# B\n\nb")
    assert [block.html for block in growing.blocks] == ["<h1>B</h1>", "<p>b</p>"]


PIECES = [
    "text", "# h", "- a", "* b", "1. x", "2. y", "2) z", "> q", "```", "~~~py", "$$", "\\[", "\\]", "\\begin{align}", "\\end{align}",
    "| a | b |", "|---|---|", "---", "===", "    code", "  - sub", "   more", "[1]: http://x.y", "[1]", "-", "1.", "\t", "<b>",
]  # fmt: skip
LINES = st.lists(st.sampled_from([*PIECES, "", "", "\n", "\n\n"]), max_size=14).map("\n".join)


@settings(deadline=None)  # a busy machine is no failure
@given(LINES, st.data())
def test_closed_blocks_never_change(text, data):
    """The closed blocks of any prefix stand, unchanged and in place, in all that is written after."""
    growing = IncrementalRenderer()
    closed: list = []
    at = 0
    while at < len(text):
        at = data.draw(st.integers(at + 1, len(text)))
        growing.feed(text[:at])
        now = [block for block in growing.blocks if block.closed]
        assert now[: len(closed)] == closed
        closed = now
    growing.finish()
    assert growing.blocks[: len(closed)] == closed
    assert [block.key for block in growing.blocks] == list(range(len(growing.blocks)))


@settings(deadline=None)  # a busy machine is no failure
@given(LINES)
@example("$$\n- a\n- b\n$$\ntext")
@example("\\[\n# h\n\\]\ntext")
def test_growing_ends_where_the_whole_text_does(text):
    """Fed character by character or at once, the finished blocks are the same."""
    growing = IncrementalRenderer()
    for end in range(len(text) + 1):
        growing.feed(text[:end])
    growing.finish()
    assert growing.blocks == blocks(text)


@settings(deadline=None)  # a busy machine is no failure
@given(LINES)
def test_blocks_lose_no_words(text):
    """What can be read in the source can be read in the blocks."""
    words = re.findall(r"text|code|more|sub|http://x\.y|<b>", text)
    shown = html.unescape(re.sub(r"<[^>]*>", "", " ".join(block.html for block in blocks(text))))
    if not re.search(r"\$\$|\\\[|\\begin|^\|---|~~~|```", text, re.M):
        assert [word for word in words if word not in shown] == []


def test_importing_it_loads_no_parser():
    """`printable` for error lines costs neither the Markdown parser nor the sanitiser nor Pygments."""
    code = (
        "import sys; from helix_nb.errors import HelixError; HelixError('x\\x1b'); "
        "print([name for name in ('markdown_it', 'nh3', 'pygments', 'latex2mathml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
