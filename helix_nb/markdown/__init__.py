r"""Text of a model, made safe to show: HTML for cells and the panel, plain text for terminals.

    text -> parse (CommonMark without raw HTML) -> sanitize (one allowlist, nh3) -> add our own style

Nothing a model writes reaches a page by another way. In cells formulas keep their delimiters, for
Jupyter to typeset; in the panel they become MathML, sanitised on its own. Importing this loads none
of the parsers. Inside, imports run incremental > render > formulas, links > sanitize > highlight; style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..text import printable

if TYPE_CHECKING:
    from .incremental import Block, IncrementalRenderer

__all__ = ["Block", "IncrementalRenderer", "blocks", "fences", "to_html"]


def to_html(text: str, *, highlight: bool = True) -> str:
    r"""Render Markdown as one safe HTML fragment, `<div class="helix-nb">...</div>`.

    Formulas (`$ $`, `$$ $$`, `\( \)`, `\[ \]`, amsmath environments) keep their delimiters for
    Jupyter to typeset. Images become links: nothing in the fragment makes a browser fetch
    anything. `highlight=False` leaves code uncoloured, for the frames of a stream. Never raises on
    any text.

    >>> from helix_nb.markdown import to_html
    >>> "<em>safe</em> &lt;script&gt;" in to_html("*safe* <script>alert(1)</script>")
    True
    """
    from .render import render
    from .style import with_style

    return with_style(render(printable(text), highlight=highlight))


def blocks(text: str, *, highlight: bool = True) -> list[Block]:
    """Render a finished Markdown text block by block, formulas as MathML; all blocks are closed.

    >>> from helix_nb.markdown import blocks
    >>> [block.html for block in blocks("# Title\\n\\ntext")]
    ['<h1>Title</h1>', '<p>text</p>']
    """
    from .incremental import IncrementalRenderer

    incremental = IncrementalRenderer(highlight=highlight)
    incremental.feed(text)
    incremental.finish()
    return incremental.blocks


def fences(text: str) -> list[tuple[str, str]]:
    r"""Return the fenced code blocks of a text, also those in lists and quotes, as (language, code).

    >>> from helix_nb.markdown import fences
    >>> fences("1. Run\n\n   ```sh\n   ls\n   ```\n")
    [('sh', 'ls\n')]
    """
    from .render import fences

    return fences(text)


def __getattr__(name: str) -> Any:
    if name in ("Block", "IncrementalRenderer"):
        from . import incremental

        return getattr(incremental, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
