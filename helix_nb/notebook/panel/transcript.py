"""The displays beside a panel that hold its conversation for whoever reads the notebook without a kernel.

A front end renders a display anew, formulas and all, whenever it changes: in one display, a
conversation of 200 messages would hold its page up for a third of a second after every answer. So
a live front end gets a few displays, and after an answer only the last one changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from ..display.transcript import STYLE, TranscriptTurn, markdown_document, render_answer, turn_html
from .items import TurnItem

MAX_PAGES = 6  # displays of a transcript where somebody watches; what is not used yet is empty
PAGE_LENGTH = 12_000  # characters on a page, as long as they suffice

# The last rule hides what JupyterLab writes in place of a widget whose kernel has gone.
_PAGE_STYLE = (
    ".helix-transcript{border-left:3px solid var(--jp-border-color2,#ccc);padding:0 0 0 1em}"
    ".helix-transcript:empty{display:none}"
    ".jp-OutputArea:has(.helix-transcript) .jp-OutputArea-output.jupyter-widgets{display:none}"
)


class TranscriptPages:
    """The displays of one panel's transcript. Calls must not overlap."""

    def __init__(self) -> None:
        self._name = f"helix-transcript-{secrets.token_hex(8)}"
        self._shown: list[dict[str, str]] = []
        self._answers: dict[str, str] = {}  # each answer that is shown, and its HTML

    def show(self, items: Sequence[TurnItem], pages: int) -> None:
        """Display the conversation in the running cell."""
        self._shown = self._bundles(items, pages)
        for number, bundle in enumerate(self._shown):
            self._publish(number, bundle, update=False)

    def update(self, items: Sequence[TurnItem]) -> None:
        """Bring up to date what is displayed; where nothing is, do nothing."""
        before, self._shown = self._shown, self._bundles(items, len(self._shown))
        for number, bundle in enumerate(self._shown):
            if bundle != before[number]:
                self._publish(number, bundle, update=True)

    def _bundles(self, items: Sequence[TurnItem], pages: int) -> list[dict[str, str]]:
        """Render the pages; an answer that was shown before is not rendered again."""
        before, self._answers = self._answers, {}

        def answer_html(answer: str) -> str:
            html = self._answers[answer] = before.get(answer) or render_answer(answer)
            return html

        return bundles(items, pages, answer_html)

    def _publish(self, number: int, bundle: dict[str, str], *, update: bool) -> None:
        from IPython.display import display

        show: Callable[..., Any] = display
        show(bundle, raw=True, display_id=f"{self._name}-{number}", update=update)


def bundles(
    items: Sequence[TurnItem], pages: int, answer_html: Callable[[str], str] = render_answer
) -> list[dict[str, str]]:
    """Render a transcript in so many parts; the first has the style, and the last ones may be empty."""
    turns = [item.transcript_turn() for item in items if not item.pending]
    dealt = _deal(turns, pages) if pages else []
    return [
        {
            "text/html": _page_html(page, answer_html, first=not number),
            "text/plain": _page_markdown(page, first=not number),
        }
        for number, page in enumerate(dealt)
    ]


def markdown_of(items: Sequence[TurnItem]) -> str:
    """Write the transcript as Markdown."""
    return _page_markdown([item.transcript_turn() for item in items if not item.pending], first=True)


def _deal(turns: Sequence[TranscriptTurn], pages: int) -> list[list[TranscriptTurn]]:
    """Deal turns to pages in order, so that a new turn changes only the last page in use, mostly."""
    room: float = PAGE_LENGTH if pages > 1 else float("inf")
    while True:
        dealt: list[list[TranscriptTurn]] = [[]]
        left = room
        for turn in turns:
            size = len(turn.prompt) + len(turn.reply.text)
            if dealt[-1] and size > left:
                dealt.append([])
                left = room
            dealt[-1].append(turn)
            left -= size
        if len(dealt) <= pages:
            return dealt + [[] for _ in range(pages - len(dealt))]
        room *= 1.5


def _page_html(turns: Sequence[TranscriptTurn], answer_html: Callable[[str], str], *, first: bool) -> str:
    from ...markdown.style import CODE, LAYOUT

    body = "<hr>".join([turn_html(turn, answer_html) for turn in turns])
    if first:
        body = body or '<p class="hx-about">A chat panel; nothing was said yet.</p>'
        body = f"<style>{LAYOUT}{CODE}{STYLE}{_PAGE_STYLE}</style>{body}"
    elif body:
        body = f"<hr>{body}"
    return f'<div class="helix-nb helix-transcript">{body}</div>'


def _page_markdown(turns: Sequence[TranscriptTurn], *, first: bool) -> str:
    return markdown_document(["# Conversation"] if first else [], turns)
