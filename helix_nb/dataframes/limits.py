"""What a batch may use: how much at once, how much per minute, how much at all."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from ..errors import ConfigError
from .results import RowResult


def is_whole_number(value: Any, *, least: int) -> bool:
    """Whether this is a whole number, numpy's too, and not below `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


@dataclass(frozen=True)
class Limits:
    """`concurrency` is requests in flight, `rpm` and `tpm` requests and tokens per minute.

    `max_cost` is in the currency of the endpoint's prices, `max_total_tokens` counts prompts and
    answers together; None is no limit.
    """

    concurrency: int | Literal["auto"] = "auto"
    rpm: float | None = None
    tpm: float | None = None
    max_cost: float | None = None
    max_total_tokens: int | None = None

    def __post_init__(self) -> None:
        amount = self.concurrency
        if amount != "auto" and not is_whole_number(amount, least=1):
            raise ConfigError(f'concurrency= is "auto" or a whole number from 1 up, not {amount!r}.')
        for name in ("rpm", "tpm", "max_cost", "max_total_tokens"):
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if value is not None and not (number and value > 0):  # NaN would be no limit at all
                raise ConfigError(f"{name}= is a number above 0, not {value!r}.")


@dataclass
class Spending:
    """What a run has used so far, and whether one more request would go over its limits."""

    limits: Limits
    cost: float = 0.0
    tokens: int = 0
    answers: int = 0
    unpriced: bool = False
    uncounted: bool = False

    @property
    def most_in_flight(self) -> float:
        """Few at once until the first answer shows what one costs, where there is a limit to keep."""
        limited = self.limits.max_cost is not None or self.limits.max_total_tokens is not None
        return 4 if limited and not self.answers else float("inf")

    def add(self, outcome: RowResult) -> None:
        """Count a finished request; one that failed without usage counts as nothing."""
        if outcome.status != "ok" and outcome.tokens is None:
            return
        self.answers += 1
        self.use(outcome)

    def use(self, outcome: RowResult) -> None:
        """Count what one exchange took; a row can have several."""
        self.cost += outcome.cost or 0.0
        self.tokens += outcome.tokens or 0
        self.unpriced = self.unpriced or outcome.cost is None
        self.uncounted = self.uncounted or outcome.tokens is None

    def exhausted(self, in_flight: int) -> str | None:
        """Why nothing more may be sent, counting those in flight at the mean so far; None if it may."""
        expected = 1 + (in_flight + 1) / self.answers if self.answers else 1.0
        most, most_tokens = self.limits.max_cost, self.limits.max_total_tokens
        if most is not None:
            if self.unpriced:
                return "the cost of an answer is unknown, so that max_cost= could not be kept"
            if self.answers and self.cost * expected > most:
                return f"max_cost={most:g} is used up: {self.cost:.6g} spent"
        if most_tokens is not None:
            if self.uncounted:
                return "an answer came without token counts, so that max_total_tokens= could not be kept"
            if self.answers and self.tokens * expected > most_tokens:
                return f"max_total_tokens={most_tokens} is used up: {self.tokens} used"
        return None
