"""A local model's text, told apart while it streams: thinking, tool calls, answer, stop strings.

Pure: pieces of text go in, labelled pieces come out. What may be the beginning of a marker is
held back until the next piece decides, so the result does not depend on how text was cut into
tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ....text import partial_match

Kind = Literal["answer", "reasoning", "tool"]


def first_match(text: str, markers: Iterable[str]) -> tuple[int, str] | None:
    """Return the place of the marker that ends first (of several, the longest), and the marker.

    >>> first_match("a stop, a stopping", ["stopping", "stop"])
    (2, 'stop')
    """
    found = [(at + len(marker), at, marker) for marker in markers if (at := text.find(marker)) >= 0]
    if not found:
        return None
    _, at, marker = min(found)
    return at, marker


@dataclass(frozen=True)
class Marks:
    """What a model writes around its thinking and its tool calls; None where it has no such mark."""

    think_start: str | None = None
    think_end: str | None = None
    tool_start: str | None = None
    tool_end: str | None = None


class Sections:
    """Split one answer as it streams.

    A thinking mark counts only before the answer has begun; later it is text. Stop strings count
    in the answer alone, so that one of them in the model's thoughts does not end it. White space
    after thoughts and tool calls is dropped. `stopped` turns true at the first stop string.

    >>> sections = Sections(Marks("<think>", "</think>"), stop=["END"])
    >>> sections.feed("<think>hm</think> 42 E")
    [('reasoning', 'hm'), ('answer', '42 ')]
    >>> sections.feed("ND of it"), sections.stopped
    ([], True)
    """

    def __init__(self, marks: Marks, stop: Sequence[str] = (), *, thinking: bool = False) -> None:
        self.stopped = False
        self._marks, self._stop = marks, tuple(stop)
        self._state = "reasoning" if thinking else "start"
        self._strip = thinking
        self._held = ""

    @property
    def thinking(self) -> bool:
        """Whether the model is in its thoughts."""
        return self._state == "reasoning"

    def feed(self, piece: str) -> list[tuple[Kind, str]]:
        """Take a piece of text and return what is certain by now."""
        self._held += piece
        out: list[tuple[Kind, str]] = []
        while not self.stopped and self._step(out):
            pass
        return [(kind, text) for kind, text in out if text or kind == "tool"]

    def flush(self) -> list[tuple[Kind, str]]:
        """Return what was held back; the model says no more."""
        held, self._held = self._held, ""
        if self.stopped or (self._state == "start" and self._strip and not held.strip()):
            return []
        kinds: dict[str, Kind] = {"reasoning": "reasoning", "tool": "tool"}
        return [(kinds.get(self._state, "answer"), held)] if held or self._state == "tool" else []

    def _step(self, out: list[tuple[Kind, str]]) -> bool:
        """Move on by one marker; False when more text is needed."""
        if self._state == "start":
            return self._begin()
        marks = self._marks_here()
        match = first_match(self._held, marks)
        if match is not None:
            at, marker = match
            before, self._held = self._held[:at], self._held[at + len(marker) :]
            self._emit(out, before, whole=True)
            self._enter(marker)
            return True
        if self._state != "tool":  # a tool call is passed on whole
            size = len(self._held) - partial_match(self._held, marks)
            certain, self._held = self._held[:size], self._held[size:]
            self._emit(out, certain)
        return False

    def _begin(self) -> bool:
        """Before the answer: thoughts may open, white space is held until something follows it."""
        body, opening = self._held.lstrip(), self._marks.think_start
        if opening and body.startswith(opening):
            self._held, self._state, self._strip = body[len(opening) :], "reasoning", True
            return True
        if (not body and (self._strip or opening)) or (opening and opening.startswith(body)):
            return False
        self._held, self._state = body if self._strip else self._held, "answer"
        return True

    def _marks_here(self) -> tuple[str, ...]:
        marks = self._marks
        if self._state == "reasoning":
            return tuple(mark for mark in (marks.think_end, marks.tool_start) if mark)
        if self._state == "tool":
            return (marks.tool_end,) if marks.tool_end else ()
        return (*self._stop, marks.tool_start) if marks.tool_start else self._stop

    def _emit(self, out: list[tuple[Kind, str]], text: str, *, whole: bool = False) -> None:
        kind: Kind = "answer" if self._state == "answer" else "reasoning" if self.thinking else "tool"
        if text or (whole and kind == "tool"):
            out.append((kind, text))

    def _enter(self, marker: str) -> None:
        if self._state == "answer" and marker in self._stop:
            self.stopped, self._held = True, ""
        elif marker == self._marks.tool_start:
            self._state = "tool"
        else:  # thoughts or a tool call closed
            self._state, self._strip = "start", True
