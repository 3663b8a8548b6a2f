"""How often an answer's steps go to the views; between two of them its reader rests.

What arrives meanwhile is then taken in at once, with the step: waking up for each token would cost
more than the rest of the panel does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ...runtime.loop import background_loop

TICK_S = 0.05
BYTES_PER_S = 40_000
READ_S = 0.002  # for the reader to take in what has arrived, before it is shown
SHARE = 0.1  # of the loop's time that rendering may take: every other answer waits for it


class Pace:
    """The pace of one answer. Only the background loop uses it.

    Args:
        step: shows what is new, and returns how large that was.
    """

    def __init__(self, step: Callable[[], int]) -> None:
        self._step = step
        self._due_s = 0.0
        self._scheduled: asyncio.TimerHandle | None = None
        self._resting: asyncio.Future[None] | None = None

    def changed(self, *, last: bool = False) -> None:
        """There is something new: have it shown when the next step is due; the last of it at once."""
        if last and self._scheduled:
            self._scheduled.cancel()
        if last or not self._scheduled:
            at_s = background_loop().time() if last else self._due_s
            self._scheduled = background_loop().call_at(at_s, self._wake)

    def rest(self) -> asyncio.Future[None] | None:
        """What the reader waits for before it reads on; None where no step is due soon."""
        loop = background_loop()
        if not (self._scheduled and 0 < self._due_s - loop.time() <= TICK_S):
            return None
        if self._resting is None or self._resting.done():
            self._resting = loop.create_future()
        return self._resting

    def _wake(self) -> None:
        """Let the reader take in what has arrived, and then show all of it."""
        self._due_s = 0.0
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)
        self._scheduled = background_loop().call_later(READ_S, self._tick)

    def _tick(self) -> None:
        self._scheduled = None
        begun_s = time.thread_time()
        size = self._step()
        self._due_s = background_loop().time() + interval_s(size, time.thread_time() - begun_s)


def interval_s(last_bytes: int, cpu_s: float) -> float:
    """How long to wait before the next step: slow connections and long open blocks get fewer, larger ones."""
    return max(TICK_S, last_bytes / BYTES_PER_S, cpu_s / SHARE)
