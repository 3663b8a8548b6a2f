"""What a batch shows while it runs: a bar where somebody watches, else one line at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..runtime.front_end import running_kernel, somebody_watches
from .results import RowResult
from .rows.plan import Plan

BEHIND = 0.2  # seconds between two redraws


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
    def wanted(cls, progress: bool) -> Progress:
        """The way that suits where this runs."""
        return cls("off" if not progress else "bar" if somebody_watches() else "line")

    def tell(self, sentence: str) -> None:
        """Say something in one line, from the caller's thread."""
        if self.mode != "off":
            print(sentence, file=sys.stdout if running_kernel() is not None else sys.stderr)

    def begin(self, plan: Plan) -> None:
        """Show the bar, as far along as what is reused."""
        if self.mode == "bar":
            from tqdm.auto import tqdm

            self._bar = tqdm(total=plan.asked, initial=self.rows, unit="row", mininterval=BEHIND)

    def done(self, outcome: RowResult, rows: int, in_flight: int) -> None:
        """Count a finished request and the rows that it answers."""
        self.rows += rows
        self.failed += rows * (outcome.status != "ok")
        if outcome.reused:
            self.reused += rows
        else:
            self.use(outcome)
        if self._bar is not None:
            self._bar.set_postfix_str(self._facts(in_flight), refresh=False)
            self._bar.update(rows)

    def use(self, outcome: RowResult) -> None:
        """Count what an answer took."""
        self.tokens += outcome.tokens or 0
        self.cost = self.cost if outcome.cost is None else (self.cost or 0.0) + outcome.cost

    def note(self, words: str) -> None:
        """Show what the batch waits for, next to the bar."""
        if self._bar is not None:
            self._bar.set_description_str(words)

    def _facts(self, in_flight: int) -> str:
        facts = [f"{self.failed} failed"] if self.failed else []
        facts += [f"{self.reused} reused"] if self.reused else []
        facts += [f"{self.tokens:,} tokens"] if self.tokens else []
        facts += [f"cost {self.cost:.4g}"] if self.cost is not None else []
        return ", ".join([*facts, *([f"{in_flight} in flight"] if in_flight else [])])

    def end(self) -> None:
        """Leave the bar with what was done; nothing is in flight or waited for any more."""
        if self._bar is not None:
            self._bar.set_description_str("", refresh=False)
            self._bar.set_postfix_str(self._facts(0), refresh=False)
            self._bar.close()
            self._bar = None


def summary(statuses: Sequence[str], reused: int, duplicates: int) -> str:
    """The counts of a finished batch in one line that is the same in every run."""
    counts = {name: sum(status == name for status in statuses) for name in ("truncated", "error", "skipped")}
    words = [f"{sum(status == 'ok' for status in statuses)} ok"]
    words += [f"{count} {name}" for name, count in counts.items() if count]
    also = [f"{reused} reused"] if reused else []
    also += [f"{duplicates} shared"] if duplicates else []
    return f"{len(statuses)} rows: {', '.join(words)}" + (f" ({', '.join(also)})" if also else "")
