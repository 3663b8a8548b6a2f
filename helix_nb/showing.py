"""What is said under an answer wherever it is shown: notes, and that it is not a whole one."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .markdown import plain, to_html

if TYPE_CHECKING:
    from .messages import Reply

QUIET = "font-size:85%;opacity:.65;margin-top:.4em"
ENDS = {
    "interrupted": "interrupted",
    "truncated": "ended before it was finished",
    "error": "failed",
    "pending": "not finished",
}
CUTS = {"length": "cut at max_tokens", "content_filter": "cut by the content filter"}


def shortfall(reply: Reply) -> str:
    """Why an answer is not a whole one, in words; an empty text where it is."""
    return ENDS.get(reply.status, CUTS.get(reply.finish_reason or "", ""))


def quiet(line: str) -> str:
    """A line under an answer, as HTML."""
    return f'<div style="{QUIET}">{escape(plain(line))}</div>'


def bundle(reply: Reply) -> dict[str, str]:
    """A Reply on its own: half an answer does not look like one."""
    below = [line for line in (*reply.notes, reply.error or shortfall(reply)) if line]
    html = to_html(reply.text) + "".join(map(quiet, below))
    text = "\n".join([*([reply.text] if reply.text or not below else []), *below])
    return {"text/html": html, "text/plain": plain(text)}
