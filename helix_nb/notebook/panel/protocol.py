"""What the panel's kernel half and its views say to each other, as custom messages.

Kernel to view: `t` names the message, `to` the one view it is for (else all). HTML is only ever in
`blocks` and `tail`, and only as the Markdown pipeline made it. View to kernel: `do` names the action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from ..display.facts import Fact, Strip

# -- what messages are made of


class ToolUse(TypedDict):
    """A function the model had called, and what it got."""

    name: str
    arguments: str
    result: str | None


class FileView(TypedDict):
    """An attachment as shown."""

    name: str
    size: int  # bytes
    url: NotRequired[str]  # a data URL, where it is a small image


class AnswerView(TypedDict, total=False):
    """An answer as shown; `blocks`, `tail`, `seq` and `thinking` only where the whole of it is sent."""

    status: str
    who: str
    blocks: list[str]
    tail: str
    seq: int
    thinking: str
    thought: str  # the heading of the thinking
    waits: str  # what a local model does before it answers
    tools: list[ToolUse]
    source: str  # the answer as it was written
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


class SettingsView(TypedDict):
    """What a view shows of endpoint, model and parameters."""

    who: str
    place: dict[str, str]  # `text` and its tooltip `tip`
    greeting: dict[str, str]  # `title` and `text` of an empty conversation
    ideas: list[str]
    settings: dict[str, Any]
    endpoints: list[dict[str, str]]


class State(SettingsView):
    """What a view shows besides the turns."""

    busy: bool
    title: str
    totals: dict[str, str]
    height: str


class ModelChoice(TypedDict):
    """A model of the picker."""

    id: str
    about: str


class ThreadChoice(TypedDict):
    """A conversation of the log, to open."""

    id: str
    title: str
    about: str


# -- kernel to view


class Snapshot(TypedDict):
    """The conversation as it stands; a view that gets it needs nothing from before."""

    t: Literal["snapshot"]
    to: NotRequired[str | None]
    turns: list[TurnView]  # the newest
    more: int  # how many earlier ones there are
    state: State


class EarlierTurns(TypedDict):
    """Turns before those that a view has."""

    t: Literal["older"]
    to: str | None
    turns: list[TurnView]
    more: int


class TurnMessage(TypedDict):
    """A new turn, or another state of one."""

    t: Literal["turn"]
    turn: TurnView


class Step(TypedDict, total=False):
    """One step of a stream: what closed, what the open part became, what more was thought."""

    t: Literal["stream"]
    id: str
    seq: int
    reset: bool
    blocks: list[str]
    tail: Tail
    think: str


class Waits(TypedDict):
    """What a local model does before it answers."""

    t: Literal["waits"]
    id: str
    text: str


class Dropped(TypedDict):
    """Turns that are gone."""

    t: Literal["drop"]
    ids: list[str]


class StateMessage(State):
    """The state, where it changed."""

    t: Literal["state"]


class NoticeAction(TypedDict):
    """A button beside a notice."""

    label: str
    send: ViewRequest


class Notice(TypedDict):
    """A sentence above the composer."""

    t: Literal["notice"]
    level: Literal["info", "error"]
    text: str
    action: NoticeAction | None


class Models(TypedDict):
    """The models of an endpoint."""

    t: Literal["models"]
    to: str | None
    endpoint: str | None
    items: list[ModelChoice]
    note: str


class Threads(TypedDict):
    """Recent conversations of the log."""

    t: Literal["threads"]
    to: str | None
    items: list[ThreadChoice]


class Draft(TypedDict):
    """A text for the composer."""

    t: Literal["draft"]
    to: str | None
    text: str


class Download(TypedDict):
    """A file for the user to keep."""

    t: Literal["file"]
    to: str | None
    name: str
    text: str


ViewMessage = (
    Snapshot
    | EarlierTurns
    | TurnMessage
    | Step
    | Waits
    | Dropped
    | StateMessage
    | Notice
    | Models
    | Threads
    | Draft
    | Download
)


# -- view to kernel


class ViewRequest(TypedDict, total=False):
    """What a view asks for; it comes from a browser, so any member may be missing."""

    do: str
    view: str  # which view asks
    id: str  # of a turn
    before: str  # of a turn
    text: str
    files: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    endpoint: str | None
    search: str
    thread: str
