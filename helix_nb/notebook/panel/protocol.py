"""What the panel's kernel half and its views say to each other, as custom messages.

Kernel to view: `t` names the message, `to` the one view it is for (else all). HTML is only ever in
`blocks` and `tail`, and only as the Markdown pipeline made it. View to kernel: `do` names the wish.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from ..display.facts import Fact, Strip


class ToolUse(TypedDict):
    """A function the model had called, and what it got."""

    name: str
    arguments: str
    result: str | None


class FileView(TypedDict):
    """An attachment as shown: its name, and a data URL where it is a small image."""

    name: str
    size: int
    url: NotRequired[str]


class AnswerView(TypedDict, total=False):
    """An answer as shown; `blocks`, `tail` and `seq` only where the whole of it is sent."""

    status: str
    who: str
    blocks: list[str]
    tail: str
    seq: int
    thinking: str
    thought: str
    waits: str
    tools: list[ToolUse]
    source: str
    strip: Strip | None
    facts: list[Fact]


class TurnView(TypedDict):
    """One turn: what was asked, and its answer."""

    id: str
    prompt: str
    files: list[FileView]
    answer: AnswerView


class Tail(TypedDict):
    """How the open part's HTML changed: keep so many UTF-16 units of it, then add."""

    keep: int
    add: str


class Step(TypedDict, total=False):
    """One step of a stream: what closed, what the open part became, what more was thought."""

    t: Literal["stream"]
    id: str
    seq: int
    reset: bool
    blocks: list[str]
    tail: Tail
    think: str
    thought: str


class State(TypedDict):
    """What a view shows besides the turns."""

    busy: bool
    title: str
    who: str
    place: dict[str, str]
    totals: dict[str, str]
    settings: dict[str, Any]
    endpoints: list[dict[str, str]]
    greeting: dict[str, str]
    ideas: list[str]
    height: str


ViewMessage = dict[str, Any]
