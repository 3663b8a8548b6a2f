"""The conversation as a finished document: static safe HTML for the saved notebook, and Markdown.

The HTML reads well where its style is stripped (GitHub), needs no kernel, and holds nothing that
differs between two runs with the same answers: no ids, no times.

A front end renders a display anew, formulas and all, whenever it changes: in one display, a
conversation of 200 messages would hold its page up for a third of a second after every answer. So
a live front end gets a few displays, and after an answer only the last one changes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from ...redaction import redact
from ...replies import Reply
from ...text import printable
from .facts import UNKNOWN, money, strip_of
from .items import Item

PAGES = 6  # displays of a transcript where somebody watches; what is not used yet is empty
PAGE = 12_000  # characters on a page, as long as they suffice

# The last rule hides what JupyterLab writes in place of a widget whose kernel has gone.
_STYLE = (
    ".helix-transcript{border-left:3px solid var(--jp-border-color2,#ccc);padding:0 0 0 1em}"
    ".helix-transcript:empty{display:none}"
    ".helix-transcript .hx-said{white-space:pre-wrap}"
    ".helix-transcript .hx-about{color:var(--jp-ui-font-color2,#666)}"
    ".jp-OutputArea:has(.helix-transcript) .jp-OutputArea-output.jupyter-widgets{display:none}"
)


class Transcript:
    """The displays beside a panel that hold its conversation. Calls must not overlap."""

    def __init__(self) -> None:
        self._name = f"helix-transcript-{secrets.token_hex(8)}"
        self._shown: list[dict[str, str]] = []

    def show(self, items: Sequence[Item], pages: int) -> None:
        """Display the conversation in the running cell."""
        self._shown = bundles(items, pages)
        for number, bundle in enumerate(self._shown):
            self._publish(number, bundle, update=False)

    def update(self, items: Sequence[Item]) -> None:
        """Bring up to date what is displayed; where nothing is, do nothing."""
        shown = self._shown
        now = bundles(items, len(shown))
        for number, bundle in enumerate(now):
            if bundle != shown[number]:
                self._publish(number, bundle, update=True)
        self._shown = now

    def _publish(self, number: int, bundle: dict[str, str], *, update: bool) -> None:
        from IPython.display import display

        show: Callable[..., Any] = display
        show(bundle, raw=True, display_id=f"{self._name}-{number}", update=update)


def bundles(items: Sequence[Item], pages: int) -> list[dict[str, str]]:
    """The transcript in so many parts; the first has the style, and the last ones may be empty."""
    whole = [item for item in items if not item.pending]
    dealt = _dealt(whole, pages) if pages else []
    return [
        {"text/html": _page_html(page, first=not at), "text/plain": _page_markdown(page, first=not at)}
        for at, page in enumerate(dealt)
    ]


def _dealt(items: Sequence[Item], pages: int) -> list[list[Item]]:
    """Turns dealt to pages in order, so that a new turn changes only the last page in use, mostly."""
    room: float = PAGE if pages > 1 else float("inf")
    while True:
        dealt: list[list[Item]] = [[]]
        left = room
        for item in items:
            size = len(item.prompt) + len(item.reply.text)
            if dealt[-1] and size > left:
                dealt.append([])
                left = room
            dealt[-1].append(item)
            left -= size
        if len(dealt) <= pages:
            return dealt + [[] for _ in range(pages - len(dealt))]
        room *= 1.5


def _page_html(items: Sequence[Item], *, first: bool) -> str:
    from ...markdown.style import CODE, LAYOUT

    body = "<hr>".join([_turn_html(item) for item in items])
    if first:
        said = body or '<p class="hx-about">A chat panel; nothing was said yet.</p>'
        body = f"<style>{LAYOUT}{CODE}{_STYLE}</style>{said}"
    elif body:
        body = f"<hr>{body}"
    return f'<div class="helix-nb helix-transcript">{body}</div>'


def _turn_html(item: Item) -> str:
    from ...markdown.formulas import text

    said = text(redact(printable(item.prompt))).replace("\n", "<br>")
    files = "".join(f"<br><em>[{text(file.label)}]</em>" for file in item.files)
    return (
        f'<p><strong>You</strong></p><p class="hx-said">{said}{files}</p>'
        f"<p><strong>{text(_who(item.reply))}</strong></p>{_answer_html(item)}"
        f'<p class="hx-about"><small>{text(_about(item.reply))}</small></p>'
    )


def _answer_html(item: Item) -> str:
    """The answer, rendered once; its headings stay out of the notebook's table of contents."""
    from ...markdown.render import render

    answer = item.reply.text
    if item.transcribed is None or item.transcribed[0] != answer:
        html = re.sub("<h([1-6])>", r'<h\1 class="jp-toc-ignore">', render(printable(answer)))
        item.transcribed = answer, html
    return item.transcribed[1]


def markdown_of(items: Sequence[Item]) -> str:
    """The transcript as Markdown, the answers as they were written."""
    return _page_markdown([item for item in items if not item.pending], first=True)


def _page_markdown(items: Sequence[Item], *, first: bool) -> str:
    parts = ["# Conversation"] if first else []
    for item in items:
        files = "".join(f"\n\n*[{file.label}]*" for file in item.files)
        parts += ["## You", redact(printable(item.prompt)) + files]
        parts += [f"## {_who(item.reply)}", printable(item.reply.text), f"*{_about(item.reply)}*"]
    return "\n\n".join(part for part in parts if part) + "\n" * bool(parts)


def _who(reply: Reply) -> str:
    return printable(reply.model or reply.model_requested or reply.endpoint or "Answer")


def _about(reply: Reply) -> str:
    """Endpoint, tokens and cost, and what went wrong."""
    usage = reply.usage
    counts = [UNKNOWN if n is None else f"{n:,}" for n in (usage.prompt_tokens, usage.completion_tokens)]
    facts = [reply.endpoint, f"{counts[0]} in, {counts[1]} out", money(reply.cost, reply.currency)]
    strip = strip_of(reply)
    problem = [strip["text"]] if strip is not None and strip["level"] != "quiet" else []
    if reply.status == "interrupted":
        problem = ["stopped"]
    return printable(" · ".join(part for part in (*facts, *problem) if part))
