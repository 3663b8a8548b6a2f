"""An answer told apart while it streams: thoughts, tool calls, answer, stop strings.

Pure: pieces of text go in, labelled pieces come out. What may be the beginning of a marker is held
back until the next piece decides, so the result does not depend on how the text was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..text import partial_match

Kind = Literal["answer", "reasoning", "tool"]
_State = Literal["start", "opened", "reasoning", "answer", "tool"]


def first_match(text: str, markers: Iterable[str]) -> tuple[int, str] | None:
    """Return the place of the marker that ends first (of several, the longest), and the marker.

    >>> first_match("a stop, a stopping", ["stopping", "stop"])
    (2, 'stop')
    """
    matches = [(at + len(marker), at, marker) for marker in markers if (at := text.find(marker)) >= 0]
    return min(matches)[1:] if matches else None


@dataclass(frozen=True, slots=True)
class Marks:
    """What a model writes around its thoughts and its tool calls; None where it has no such mark."""

    think_start: str | None = None
    think_end: str | None = None
    tool_start: str | None = None
    tool_end: str | None = None


class Sections:
    """Splits one answer as it streams.

    Thinking marks count only before the answer has begun; later they are text. An unclosed one makes
    everything after it reasoning; a second opening one, or a closing one alone, is dropped. White
    space around thoughts and after tool calls is dropped, and a line end parts two thoughts. Stop
    strings count in the answer alone, so that one of them in the model's thoughts does not end it.

    >>> sections = Sections(Marks("<think>", "</think>"), stop=["END"])
    >>> sections.feed("<think>hm</think> 42 E")
    [('reasoning', 'hm'), ('answer', '42 ')]
    >>> sections.feed("ND of it"), sections.stopped
    ([], True)
    """

    def __init__(self, marks: Marks, stop: Sequence[str] = (), *, thinking: bool = False) -> None:
        self.stopped = False  # a stop string came
        self.settled = False  # the answer has begun and no marker can end it: all that follows is text
        self._marks, self._stop = marks, tuple(stop)
        thoughts_end, answer_ends = (marks.think_end, marks.tool_start), (*stop, marks.tool_start)
        self._markers: dict[_State, tuple[str, ...]] = {
            "reasoning": tuple(mark for mark in thoughts_end if mark),
            "answer": tuple(mark for mark in answer_ends if mark),
            "tool": (marks.tool_end,) if marks.tool_end else (),
        }
        self._state: _State = "opened" if thinking else "start"
        self._strip = thinking  # drop the white space before the answer
        self._held = ""
        self._has_thought = False
        self._separator = ""  # before the next piece of reasoning

    @property
    def thinking(self) -> bool:
        """Whether the model is in its thoughts."""
        return self._state in ("opened", "reasoning")

    def feed(self, piece: str) -> list[tuple[Kind, str]]:
        """Take a piece of text and return what is certain by now."""
        if self.settled:
            return [("answer", piece)] if piece else []
        self._held += piece
        out: list[tuple[Kind, str]] = []
        while not self.stopped and self._step(out):
            pass
        return out

    def flush(self) -> list[tuple[Kind, str]]:
        """Return what was held back, as the end of its section; whatever comes after it is answer."""
        out: list[tuple[Kind, str]] = []
        if self.thinking:
            self._held = self._held.rstrip()
        elif self._state == "start" and self._strip:
            self._held = self._held.lstrip()
        if not self.stopped:
            self._emit(out, self._held)
        self._held = ""
        self._begin_answer()
        return out

    def _step(self, out: list[tuple[Kind, str]]) -> bool:
        """Move on by one marker; False when more text is needed."""
        if self._state == "start":
            return self._find_answer()
        if self._state == "opened":
            return self._find_thought()
        markers = self._markers[self._state]
        match = first_match(self._held, markers)
        if match is not None:
            at, marker = match
            before, self._held = self._held[:at], self._held[at + len(marker) :]
            self._emit(out, before.rstrip() if self._state == "reasoning" else before)
            self._enter(marker)
            return True
        if self._state != "tool":  # a tool call is passed on whole
            certain = self._held[: len(self._held) - partial_match(self._held, markers)]
            certain = certain.rstrip() if self._state == "reasoning" else certain
            self._held = self._held[len(certain) :]
            self._emit(out, certain)
        return False

    def _find_answer(self) -> bool:
        """Skip what stands before the answer, thoughts included; False while that is undecided."""
        body = self._held.lstrip()
        marks = [mark for mark in (self._marks.think_start, self._marks.think_end) if mark]
        for mark in marks:
            if body.startswith(mark):
                self._held, self._strip = body[len(mark) :], True
                if mark == self._marks.think_start:
                    self._state, self._separator = "opened", "\n" if self._has_thought else ""
                return True
        if (not body and self._strip) or any(mark.startswith(body) for mark in marks):
            return False
        self._held = body if self._strip else self._held
        self._begin_answer()
        return True

    def _begin_answer(self) -> None:
        self._state, self.settled = "answer", not self._markers["answer"]

    def _find_thought(self) -> bool:
        """Skip white space and further opening marks before a thought; False while that is undecided."""
        self._held, mark = self._held.lstrip(), self._marks.think_start
        if mark and self._held.startswith(mark):
            self._held = self._held[len(mark) :]
            return True
        if not self._held or (mark and mark.startswith(self._held)):
            return False
        self._state = "reasoning"
        return True

    def _emit(self, out: list[tuple[Kind, str]], text: str) -> None:
        if self._state == "tool":
            out.append(("tool", text))
        elif text and self.thinking:
            out.append(("reasoning", self._separator + text))
            self._separator, self._has_thought = "", True
        elif text:
            out.append(("answer", text))

    def _enter(self, marker: str) -> None:
        """Go on with the section that a marker opens."""
        if self._state == "answer" and marker in self._stop:
            self.stopped, self._held = True, ""
        elif marker == self._marks.tool_start:
            self._state = "tool"
        else:  # thoughts or a tool call closed
            self._state, self._strip = "start", True
