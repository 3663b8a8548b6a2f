"""What a batch shows while it runs: a bar where somebody watches, else one line at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..runtime.front_end import running_kernel, somebody_watches
from .results import RowResult

REDRAW_EVERY_S = 0.2


class Progress:
    """Counts of one batch, shown by tqdm. `mode` is "bar", "line" or "off".

    A bar is made and closed on the caller's thread and moved from the background loop. Where no
    front end listens (nbclient, a pipe) the line holds counts only, so that it never changes.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.rows = self.failed = self.reused = self.tokens = 0
        self.cost: float | None = None
        self._bar: Any = None

    @classmethod
    def for_front_end(cls, *, show: bool) -> Progress:
        """Return the progress that suits where this runs."""
        return cls("off" if not show else "bar" if somebody_watches() else "line")

    def tell(self, sentence: str) -> None:
        """Print a sentence, from the caller's thread."""
        if self.mode != "off":
            print(sentence, file=sys.stdout if running_kernel() is not None else sys.stderr)

    def begin(self, total_rows: int) -> None:
        """Show the bar, as far along as what is reused."""
        if self.mode == "bar":
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total_rows, initial=self.rows, unit="row", mininterval=REDRAW_EVERY_S)

    def add(self, result: RowResult, *, rows: int, in_flight: int) -> None:
        """Count a finished request and the rows that it answers."""
        self.rows += rows
        self.failed += rows * (result.status != "ok")
        if result.reused:
            self.reused += rows
        else:
            self.add_usage(result)
        if self._bar is not None:
            self._bar.set_postfix_str(self._counts(in_flight), refresh=False)
            self._bar.update(rows)

    def add_usage(self, result: RowResult) -> None:
        """Count what an answer took."""
        self.tokens += result.tokens or 0
        self.cost = self.cost if result.cost is None else (self.cost or 0.0) + result.cost

    def describe(self, text: str) -> None:
        """Show what the batch waits for, next to the bar."""
        if self._bar is not None:
            self._bar.set_description_str(text)

    def _counts(self, in_flight: int) -> str:
        counts = {
            f"{self.failed} failed": self.failed,
            f"{self.reused} reused": self.reused,
            f"{self.tokens:,} tokens": self.tokens,
            f"cost {self.cost or 0:.4g}": self.cost is not None,
            f"{in_flight} in flight": in_flight,
        }
        return ", ".join(text for text, shown in counts.items() if shown)

    def end(self) -> None:
        """Leave the bar with what was done; nothing is in flight or waited for any more."""
        if self._bar is not None:
            self._bar.set_description_str("", refresh=False)
            self._bar.set_postfix_str(self._counts(0), refresh=False)
            self._bar.close()
            self._bar = None


def summarize(statuses: Sequence[str], *, reused: int, duplicates: int) -> str:
    """Return the counts of a finished batch in one line that is the same in every run."""
    counts = {status: statuses.count(status) for status in ("ok", "truncated", "error", "skipped")}
    by_status = [f"{count} {status}" for status, count in counts.items() if count or status == "ok"]
    not_sent = [f"{count} {name}" for name, count in (("reused", reused), ("shared", duplicates)) if count]
    line = f"{len(statuses)} rows: {', '.join(by_status)}"
    return f"{line} ({', '.join(not_sent)})" if not_sent else line
