"""Markdown that is still being written, block by block: what is finished is rendered once.

A block is closed when the first whole line of another one stands behind it, so that nothing
written later can change it; the items of a list are blocks of their own. An unclosed formula,
which may yet swallow what follows, keeps everything open up to the next blank line. To make that
hold, a block is read for itself: reference definitions (`[1]: https://...`) are shown as written
instead of reaching back into earlier blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..text import printable
from .render import outline, render_block


@dataclass(frozen=True, slots=True)
class Block:
    """A top-level piece of a text."""

    html: str  # sanitised
    closed: bool  # for ever: nothing changes it any more
    key: int  # its position among the blocks


@dataclass(frozen=True, slots=True)
class _Piece:
    """Lines of the source that make one block."""

    first: int
    end: int  # the line after the last
    start: int | None = None  # the number of an item of a numbered list


class IncrementalRenderer:
    """Renders a Markdown text that grows.

    >>> from helix_nb.markdown import IncrementalRenderer
    >>> renderer = IncrementalRenderer()
    >>> [block.closed for block in renderer.feed("# Title\\n\\nSome *te")]
    [False, False]
    >>> [block.html for block in renderer.feed("# Title\\n\\nSome *text*\\n\\nmore\\n")]
    ['<h1>Title</h1>', '<p>Some <em>text</em></p>', '<p>more</p>']
    """

    def __init__(self, *, highlight: bool = True) -> None:
        self.highlight = highlight
        self._reset()

    def _reset(self) -> None:
        self._closed: list[Block] = []
        self._open: list[Block] = []
        self._done = ""  # the source of the closed blocks
        self._tail = ""  # the source of the open ones
        self._lines = ""  # the complete lines of the tail, when it was last searched for final blocks
        self._number: int | None = None  # of the item that the open part begins with
        self._rendered: dict[tuple[str, int | None, bool], str] = {}  # the open blocks' sources and HTML

    @property
    def closed(self) -> Sequence[Block]:
        """The closed blocks, in order."""
        return self._closed

    @property
    def open(self) -> Sequence[Block]:
        """The open blocks after the closed ones, as they stand."""
        return self._open

    @property
    def blocks(self) -> list[Block]:
        """All blocks so far, in order."""
        return [*self._closed, *self._open]

    def feed(self, text: str) -> list[Block]:
        """Take the whole text so far; return the blocks that are new or changed.

        Blocks after the last one in `blocks` are gone. A text that does not continue the earlier
        one starts over.
        """
        text = printable(text)
        if not text.startswith(self._done):
            self._reset()
        tail = text[len(self._done) :]
        if tail == self._tail:
            return []
        before = len(self._closed), self._open
        self._advance(tail)
        return self._changes(*before)

    def finish(self) -> list[Block]:
        """Close what is open, coloured now; return the blocks that changed."""
        before = len(self._closed), self._open
        for piece, source in self._pieces(self._tail):
            self._closed.append(self._block(piece, source, closed=True))
        self._done, self._tail, self._lines, self._open = self._done + self._tail, "", "", []
        return self._changes(*before)

    def _changes(self, closed: int, before: list[Block]) -> list[Block]:
        """Return the blocks that differ from those that were open when so many were closed."""
        now = [*self._closed[closed:], *self._open]
        return [block for at, block in enumerate(now) if at >= len(before) or before[at] != block]

    def _advance(self, tail: str) -> None:
        """Close the pieces that nothing can change any more, and render the rest as it stands."""
        lines = tail[: tail.rfind("\n") + 1]
        closed = self._close(lines) if lines != self._lines else 0
        self._done, tail, self._lines = self._done + tail[:closed], tail[closed:], lines[closed:]
        self._tail = tail
        open_now = self._pieces(tail)
        self._open = [
            self._block(piece, source, closed=False, at=at) for at, (piece, source) in enumerate(open_now)
        ]
        needed = {(source, piece.start, False) for piece, source in open_now}
        self._rendered = {key: html for key, html in self._rendered.items() if key in needed}

    def _close(self, lines: str) -> int:
        """Close the pieces of these lines that are final; return how many characters that took."""
        pieces = self._pieces(lines)
        final = _count_final(lines, [piece for piece, _ in pieces])
        for piece, source in pieces[:final]:
            self._closed.append(self._block(piece, source, closed=True))
        if not final:
            return 0
        piece = pieces[final][0]
        self._number = piece.start
        return len("".join(lines.splitlines(keepends=True)[: piece.first]))

    def _block(self, piece: _Piece, source: str, *, closed: bool, at: int = 0) -> Block:
        key = (source, piece.start, self.highlight and closed and ("```" in source or "~~~" in source))
        if key not in self._rendered:
            self._rendered[key] = render_block(source, highlight=key[2], start=piece.start)
        return Block(self._rendered[key], closed, len(self._closed) + at)

    def _pieces(self, source: str) -> list[tuple[_Piece, str]]:
        """Cut a source that begins with a block into its blocks."""
        lines = source.split("\n")
        pieces = _cut(source, self._number)
        return [(piece, "\n".join(lines[piece.first : piece.end])) for piece in pieces]


def _cut(source: str, number: int | None) -> list[_Piece]:
    """Return the top-level blocks of a source; the items of a list are blocks of their own."""
    pieces: list[_Piece] = []
    for token in outline(source):
        if token.level == 0 and token.map and token.nesting >= 0:
            if token.type == "ordered_list_open":
                begin = token.attrGet("start")
                number = number if number is not None and not pieces else int(1 if begin is None else begin)
            else:
                number = None
            if not token.type.endswith("_list_open"):
                pieces.append(_Piece(token.map[0], token.map[1]))
        elif token.level == 1 and token.type == "list_item_open" and token.map:
            pieces.append(_Piece(token.map[0], token.map[1], number))
            number = None if number is None else number + 1
    return pieces


def _count_final(source: str, pieces: list[_Piece]) -> int:
    """Return how many pieces nothing written later can change."""
    lines = source.split("\n")
    final = (at for at in range(len(pieces) - 1, 0, -1) if not _in_formula(lines, pieces[at].first))
    return next(final, 0)


def _in_formula(lines: list[str], number: int) -> bool:
    """Return whether an unclosed formula may have begun in the lines above, up to a blank one."""
    above = itertools.takewhile(str.strip, reversed(lines[:number]))
    return any(line.lstrip().startswith(("$$", "\\[", "\\begin{")) for line in above)
