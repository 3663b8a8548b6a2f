"""An answer on its way to the screen: closed blocks go out once, the open tail as what changed, at a pace.

The tail's HTML mostly grows at its end, so a step says how much of the last one to keep and what
to add. A view that missed a step notices by `seq` and asks for a snapshot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ...markdown import IncrementalRenderer
from ...replies import Reply
from ...runtime.loop import background_loop
from ...text import common_prefix, printable
from ..display.output import MIN_INTERVAL_S, frame_interval_s
from .protocol import AnswerView, Step

READ_S = 0.002  # for the reader to take in what has arrived, before it is shown
CPU_SHARE = 0.1  # of the loop's time that rendering may take: every other answer waits for it


class Rendering:
    """One answer, rendered as it grows. Only the background loop uses it."""

    def __init__(self) -> None:
        self._begin_anew()
        self._seq = 0

    def _begin_anew(self) -> None:
        self._renderer = IncrementalRenderer()
        self._text = self._thinking = self._tail = ""
        self._closed: list[str] = []
        self._finished = False

    def step(self, reply: Reply, *, final: bool = False) -> Step | None:
        """Take in the Reply so far and return what changed since the step before, or None."""
        step: Step = {}
        if not reply.text.startswith(self._text) or not reply.reasoning.startswith(self._thinking):
            self._begin_anew()
            step["reset"] = True
        self._add_thinking(reply, step)
        if reply.text != self._text or (final and not self._finished):
            self._add_text(reply, step, final)
        if not step:
            return None
        self._seq += 1
        step["t"], step["seq"] = "stream", self._seq
        return step

    def _add_thinking(self, reply: Reply, step: Step) -> None:
        if more := reply.reasoning[len(self._thinking) :]:
            step["think"], self._thinking = printable(more), reply.reasoning

    def _add_text(self, reply: Reply, step: Step, final: bool) -> None:
        self._text, self._finished = reply.text, final
        self._renderer.feed(reply.text)
        if final:
            self._renderer.finish()
        if new_blocks := [block.html for block in self._renderer.closed[len(self._closed) :]]:
            step["blocks"] = new_blocks
            self._closed += new_blocks
        tail = "".join([block.html for block in self._renderer.open])
        if tail != self._tail:
            same = common_prefix(self._tail, tail)
            step["tail"] = {"keep": utf16_length(tail[:same]), "add": tail[same:]}
            self._tail = tail

    def answer_view(self) -> AnswerView:
        """Return the answer as it stands, for a view that comes late."""
        return {
            "blocks": list(self._closed),
            "tail": self._tail,
            "seq": self._seq,
            "thinking": printable(self._thinking),
        }


def utf16_length(text: str) -> int:
    """Return the length of a text as JavaScript counts it."""
    return len(text) + sum(character > "\uffff" for character in text)


def step_size(step: Step) -> int:
    """Return how many characters of HTML a step brings."""
    return sum(map(len, step.get("blocks", ()))) + len(step.get("tail", {"add": ""})["add"])


class Pace:
    """How often the steps of one answer go out; its reader rests in between. Used on the background loop.

    What arrives meanwhile is then taken in at once, with the step: waking up for each token would
    cost more than the rest of the panel does.

    Args:
        step: shows what is new, and returns how large that was.
    """

    def __init__(self, step: Callable[[], int]) -> None:
        self._step = step
        self._due_s = 0.0
        self._scheduled: asyncio.TimerHandle | None = None
        self._resting: asyncio.Future[None] | None = None

    def request_step(self, *, final: bool = False) -> None:
        """Have what is new shown when the next step is due; the end of an answer at once."""
        if final and self._scheduled:
            self._scheduled.cancel()
        if final or not self._scheduled:
            at_s = background_loop().time() if final else self._due_s
            self._scheduled = background_loop().call_at(at_s, self._wake_reader)

    def rest(self) -> asyncio.Future[None] | None:
        """Return what the reader waits for before it reads on; None where no step is due soon."""
        loop = background_loop()
        if not (self._scheduled and 0 < self._due_s - loop.time() <= MIN_INTERVAL_S):
            return None
        if self._resting is None or self._resting.done():
            self._resting = loop.create_future()
        return self._resting

    def _wake_reader(self) -> None:
        """Let the reader take in what has arrived, and then show all of it."""
        self._due_s = 0.0
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)
        self._scheduled = background_loop().call_later(READ_S, self._take_step)

    def _take_step(self) -> None:
        self._scheduled = None
        begun_s = time.thread_time()
        size = self._step()
        self._due_s = background_loop().time() + step_interval_s(size, time.thread_time() - begun_s)


def step_interval_s(last_bytes: int, cpu_s: float) -> float:
    """Return how long to wait after a step: slow connections and long open blocks get fewer, larger ones."""
    return max(frame_interval_s(last_bytes), cpu_s / CPU_SHARE)
