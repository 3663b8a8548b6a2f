"""Keep a model's inline `<think>...</think>` apart from its answer, while both arrive in pieces."""

from __future__ import annotations

from ...text import partial_match

OPEN, CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Pieces of content go in, pieces of answer and of reasoning come out.

    A tag counts only before the answer has begun; later it is text. An unclosed `<think>` makes
    everything after it reasoning; a lone `</think>` at the start is dropped.

    >>> ThinkSplitter().feed("<think>hm</think>Paris")
    ('Paris', 'hm')
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = "before"
        self._tagged = False
        self._thought = False
        self._opening = False
        self._another = False

    def feed(self, piece: str) -> tuple[str, str]:
        """Return (answer, reasoning) that are certain by now."""
        if self._state == "answer":
            return piece, ""
        self._held += piece
        answer = reasoning = ""
        while True:
            state = self._state
            if state == "inside":
                reasoning += self._inside()
            else:
                answer += self._before()
            if self._state in (state, "answer"):
                return answer, reasoning

    def flush(self) -> tuple[str, str]:
        """Return what was held back: nothing more will come."""
        held, self._held = self._held, ""
        state, self._state = self._state, "answer"
        if state == "inside":
            return "", self._apart(held.rstrip())
        return held.lstrip() if self._tagged else held, ""

    def _before(self) -> str:
        """Drop tags that open or wrongly close; anything else begins the answer."""
        while True:
            body = self._held.lstrip()
            if body.startswith(CLOSE):
                self._held, self._tagged = body[len(CLOSE) :], True
            elif body.startswith(OPEN):
                self._held, self._tagged = body[len(OPEN) :], True
                self._state, self._opening, self._another = "inside", True, self._thought
                return ""
            elif OPEN.startswith(body) or CLOSE.startswith(body):
                return ""
            else:
                answer = body if self._tagged else self._held
                self._held, self._state = "", "answer"
                return answer

    def _inside(self) -> str:
        """Return reasoning up to the closing tag, or up to what might become one."""
        if self._opening:
            body = self._held.lstrip()
            while body.startswith(OPEN):
                body = body[len(OPEN) :].lstrip()
            self._held = body
            if OPEN.startswith(body):
                return ""
            self._opening = False
        end = self._held.find(CLOSE)
        if end >= 0:
            thought, self._held = self._held[:end].rstrip(), self._held[end + len(CLOSE) :]
            self._state = "before"
        else:
            size = len(self._held[: len(self._held) - partial_match(self._held, [CLOSE])].rstrip())
            thought, self._held = self._held[:size], self._held[size:]
        return self._apart(thought)

    def _apart(self, thought: str) -> str:
        """A piece of reasoning, with a line end before it where it begins another thought."""
        if not thought:
            return ""
        lead = "\n" if self._another else ""
        self._another, self._thought = False, True
        return lead + thought
