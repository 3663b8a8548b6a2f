"""An answer on its way to the screen: closed blocks go out once, the open tail as what changed.

The tail's HTML mostly grows at its end, so a step says how much of the last one to keep and what
to add. A view that missed a step notices by `seq` and asks for a snapshot.
"""

from __future__ import annotations

from ...markdown import IncrementalRenderer
from ...replies import Reply
from ...text import common_prefix, printable
from .protocol import AnswerView, Step


class Rendering:
    """One answer, rendered as it grows. Only the background loop uses it."""

    def __init__(self) -> None:
        self._forget()
        self.seq = 0

    def _forget(self) -> None:
        self._growing = IncrementalRenderer()
        self._text = self._thinking = self._tail = ""
        self._closed: list[str] = []
        self._finished = False

    def step(self, reply: Reply, *, last: bool = False) -> Step | None:
        """Take the Reply so far; return what changed since the step before, or None."""
        step: Step = {}
        if not reply.text.startswith(self._text) or not reply.reasoning.startswith(self._thinking):
            self._forget()
            step["reset"] = True
        self._read(reply, step, last)
        if not step:
            return None
        self.seq += 1
        step["t"], step["seq"] = "stream", self.seq
        return step

    def _read(self, reply: Reply, step: Step, last: bool) -> None:
        if more := reply.reasoning[len(self._thinking) :]:
            step["think"], self._thinking = printable(more), reply.reasoning
        if reply.text == self._text and not (last and not self._finished):
            return
        self._text, self._finished = reply.text, last
        self._growing.feed(reply.text)
        if last:
            self._growing.finish()
        if new := [block.html for block in self._growing.closed[len(self._closed) :]]:
            step["blocks"] = new
            self._closed += new
        tail = "".join([block.html for block in self._growing.open])
        if tail != self._tail:
            same = common_prefix(self._tail, tail)
            step["tail"] = {"keep": utf16_length(tail[:same]), "add": tail[same:]}
            self._tail = tail

    def whole(self, reply: Reply) -> AnswerView:
        """The answer as it stands, for a view that comes late."""
        return {
            "blocks": list(self._closed),
            "tail": self._tail,
            "seq": self.seq,
            "thinking": printable(self._thinking),
        }


def utf16_length(text: str) -> int:
    """The length of a text as JavaScript counts it."""
    return len(text) + sum(character > "\uffff" for character in text)


def size_of(step: Step) -> int:
    """How much HTML a step brings."""
    return sum(map(len, step.get("blocks", ()))) + len(step.get("tail", {"add": ""})["add"])
