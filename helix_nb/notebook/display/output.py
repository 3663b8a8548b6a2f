"""The one output of a cell: updated while an answer streams, made once at its end, or printed.

Every frame of a live output holds the whole answer, so its pace keeps a long one from flooding the
wire: see `frame_interval_s`. A slow model gets a slower pace too (1/20 of the time it has streamed,
at most 1 s), so that an answer costs about 20 times its size at any speed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from IPython.core.displaypub import CapturingDisplayPublisher

from ...replies import quiet_line_html
from ...runtime.front_end import front_end_listens
from ...text import printable
from .render import Frame

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

DisplayMode = Literal["live", "final", "terminal"]

MIN_INTERVAL_S = 0.05
MAX_INTERVAL_S = 1.0
BYTES_PER_S = 40_000
SLOW_SHARE = 1 / 20  # of the time that a slow model has streamed: how long its frame stands


def display_mode(shell: InteractiveShell, *, streaming: bool = True) -> DisplayMode:
    """Return how an answer can be shown in this shell.

    "live" updates one output while it streams; "final" shows one output at the end: nobody
    watches (nbclient, nbval, papermill, nbconvert, `%%capture`), the host is Colab, whose updates are
    untested, `HELIX_NB_DISPLAY=final` says so, or the answer is not `streaming`; "terminal" prints
    plain text.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return "terminal"
    if isinstance(shell.display_pub, CapturingDisplayPublisher):
        return "final"
    if "google.colab" in sys.modules or os.environ.get("HELIX_NB_DISPLAY") == "final":
        return "final"
    return "live" if streaming and front_end_listens(kernel) else "final"


def output_for(shell: InteractiveShell, *, streaming: bool = True) -> Output:
    """Make the output of the running cell, of the kind that its shell can show."""
    outputs = {"live": LiveOutput, "final": Output, "terminal": TerminalOutput}
    return outputs[display_mode(shell, streaming=streaming)]()


def frame_interval_s(last_bytes: int) -> float:
    """Return how long a frame of so many bytes stands before the next: max(50 ms, bytes / 40,000 s).

    Prototyped for cells and panel alike: 2,000 tokens took 28.9 MB when each one was sent at once.
    """
    return max(MIN_INTERVAL_S, last_bytes / BYTES_PER_S)


class Output:
    """One display, made when the answer has ended; live ones and terminals show it before, too."""

    takes_html = True  # else it shows the text of a frame alone
    opened = False  # whether something stands there that wants a last frame

    def pause_s(self) -> float:
        """Return the seconds until it takes another frame; 0 where it takes one now."""
        return MAX_INTERVAL_S

    def show(self, frame: Frame) -> None:
        """Show a frame that is not the last one."""

    def show_status(self, line: str) -> None:
        """Show what is waited for, before anything has arrived."""

    def finish(self, frame: Frame, facts: Mapping[str, object]) -> None:
        """Show the last frame, as HTML and as text, with the facts as metadata."""
        self._publish({"text/html": frame.html, "text/plain": frame.text}, {"helix_nb": facts})

    def _publish(self, data: Mapping[str, str], metadata: Mapping[str, object]) -> None:
        _publish(data, metadata)


class LiveOutput(Output):
    """One display that each frame updates."""

    def __init__(self) -> None:
        self._display_id = uuid4().hex
        self._due_s = time.monotonic()
        self._first_s: float | None = None  # when the first frame was shown

    def pause_s(self) -> float:
        """Return the seconds until another frame may be shown."""
        return max(self._due_s - time.monotonic(), 0.0)

    def show(self, frame: Frame) -> None:
        """Show a frame as HTML alone; the last one, which has text too, will replace it."""
        self._publish({"text/html": frame.html}, {})
        now_s = time.monotonic()
        self._first_s = self._first_s or now_s
        slow_s = min((now_s - self._first_s) * SLOW_SHARE, MAX_INTERVAL_S)
        self._due_s = now_s + max(frame_interval_s(len(frame.html.encode())), slow_s)

    def show_status(self, line: str) -> None:
        """Show a quiet line where the answer will stand."""
        self._publish({"text/html": quiet_line_html(line)}, {})

    def _publish(self, data: Mapping[str, str], metadata: Mapping[str, object]) -> None:
        _publish(data, metadata, transient={"display_id": self._display_id}, update=self.opened)
        self.opened = True


class TerminalOutput(Output):
    """An answer printed as it arrives, without control characters; a status could not be taken back."""

    takes_html = False

    def __init__(self) -> None:
        self._due_s = 0.0
        self._exchange_id: str | None = None
        self._printed = 0  # characters of the text of that exchange

    def pause_s(self) -> float:
        """Return the seconds until more may be printed."""
        return max(self._due_s - time.monotonic(), 0.0)

    def show(self, frame: Frame) -> None:
        """Print what is new of the answer's text."""
        self._print_more(frame)
        sys.stdout.flush()
        self._due_s = time.monotonic() + MIN_INTERVAL_S

    def finish(self, frame: Frame, facts: Mapping[str, object]) -> None:
        """Print the rest of the text, and the lines about the answer."""
        self._print_more(frame)
        lines = "\n".join([*frame.above, *frame.below])
        sys.stdout.write(printable("\n" * bool(self._printed) + lines) + "\n")
        sys.stdout.flush()

    def _print_more(self, frame: Frame) -> None:
        if self._printed and frame.exchange_id != self._exchange_id:  # the answer to a tool's result
            sys.stdout.write("\n")
            self._printed = 0
        self._exchange_id = frame.exchange_id
        answer = printable(frame.answer)
        sys.stdout.write(answer[self._printed :])
        self._printed = max(self._printed, len(answer))


def _publish(
    data: Mapping[str, str],
    metadata: Mapping[str, object],
    *,
    transient: dict[str, str] | None = None,
    update: bool = False,
) -> None:
    from IPython.display import publish_display_data

    publish_display_data(data, metadata, transient=transient, update=update)  # type: ignore[no-untyped-call]
