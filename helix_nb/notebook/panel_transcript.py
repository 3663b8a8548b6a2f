"""The conversation as a finished document: static safe HTML for the saved notebook, and Markdown.

The HTML reads well where its style is stripped (GitHub), needs no kernel, and holds nothing that
differs between two runs with the same answers: no ids, no times.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..config import redact
from ..markdown import plain
from ..messages import Reply
from .panel_facts import UNKNOWN, money, strip_of
from .panel_turns import Item

# The last rule hides what JupyterLab writes in place of a widget whose kernel has gone.
_STYLE = (
    ".helix-transcript{border-left:3px solid var(--jp-border-color2,#ccc);padding:0 0 0 1em}"
    ".helix-transcript .hx-said{white-space:pre-wrap}"
    ".helix-transcript .hx-about{color:var(--jp-ui-font-color2,#666)}"
    ".jp-OutputArea:has(.helix-transcript) .jp-OutputArea-output.jupyter-widgets{display:none}"
)


def html_of(items: Sequence[Item]) -> str:
    """The transcript as one safe HTML fragment."""
    from ..markdown.style import CODE, LAYOUT

    turns = [_turn_html(item) for item in items if not item.pending]
    body = "<hr>".join(turns) or '<p class="hx-about">A chat panel; nothing was said yet.</p>'
    return f'<div class="helix-nb helix-transcript"><style>{LAYOUT}{CODE}{_STYLE}</style>{body}</div>'


def _turn_html(item: Item) -> str:
    from ..markdown.formulas import text
    from ..markdown.render import render

    said = text(redact(plain(item.prompt))).replace("\n", "<br>")
    files = "".join(f"<br><em>[{text(plain(file.name))}]</em>" for file in item.files)
    answer = render(plain(item.reply.text))
    return (
        f'<p><strong>You</strong></p><p class="hx-said">{said}{files}</p>'
        f"<p><strong>{text(_who(item.reply))}</strong></p>{answer}"
        f'<p class="hx-about"><small>{text(_about(item.reply))}</small></p>'
    )


def markdown_of(items: Sequence[Item]) -> str:
    """The transcript as Markdown, the answers as they were written."""
    parts = ["# Conversation"]
    for item in items:
        if not item.pending:
            files = "".join(f"\n\n*[{plain(file.name)}]*" for file in item.files)
            parts += ["## You", redact(plain(item.prompt)) + files]
            parts += [f"## {_who(item.reply)}", plain(item.reply.text), f"*{_about(item.reply)}*"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _who(reply: Reply) -> str:
    return plain(reply.model or reply.model_requested or reply.endpoint or "Answer")


def _about(reply: Reply) -> str:
    """Endpoint, tokens and cost, and what went wrong."""
    usage = reply.usage
    counts = [UNKNOWN if n is None else f"{n:,}" for n in (usage.prompt_tokens, usage.completion_tokens)]
    facts = [reply.endpoint, f"{counts[0]} in, {counts[1]} out", money(reply.cost, reply.currency)]
    strip = strip_of(reply)
    problem = [strip["text"]] if strip is not None and strip["level"] != "quiet" else []
    if reply.status == "interrupted":
        problem = ["stopped"]
    return plain(" · ".join(part for part in (*facts, *problem) if part))
