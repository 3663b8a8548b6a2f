"""What a batch may use: how much at once, how much per minute, how much at all."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from ..errors import ConfigError
from .results import RowResult

FIRST_IN_FLIGHT = 4  # requests, until the first answer shows what one takes


def is_whole_number(value: Any, *, least: int) -> bool:
    """Return whether this is a whole number, numpy's too, and not below `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


@dataclass(frozen=True)
class Limits:
    """The limits of a batch; None is no limit.

    Raises:
        ConfigError: one of them is no such number.
    """

    concurrency: int | Literal["auto"] = "auto"  # requests in flight
    rpm: float | None = None  # requests per minute
    tpm: float | None = None  # tokens per minute
    max_cost: float | None = None  # in the currency of the endpoint's prices
    max_total_tokens: int | None = None  # prompts and answers together

    def __post_init__(self) -> None:
        concurrency = self.concurrency
        if concurrency != "auto" and not is_whole_number(concurrency, least=1):
            raise ConfigError(f'concurrency= is "auto" or a whole number from 1 up, not {concurrency!r}.')
        for name in ("rpm", "tpm", "max_cost", "max_total_tokens"):
            value = getattr(self, name)
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if value is not None and not (is_number and value > 0):  # NaN would be no limit at all
                raise ConfigError(f"{name}= is a number above 0, not {value!r}.")


@dataclass
class Spending:
    """Count what a run has used so far, and find whether one more request would go over its limits."""

    limits: Limits
    cost: float = 0.0
    tokens: int = 0
    answers: int = 0
    some_cost_unknown: bool = False
    some_tokens_unknown: bool = False

    @property
    def most_in_flight(self) -> float:
        """The requests that may be in flight: few until the first answer, where there is a limit to keep."""
        limited = self.limits.max_cost is not None or self.limits.max_total_tokens is not None
        return FIRST_IN_FLIGHT if limited and not self.answers else float("inf")

    def add(self, _slot: int, result: RowResult) -> None:
        """Count a finished request; one that failed without usage, or was reused, counts as nothing."""
        if result.reused or (result.status != "ok" and result.tokens is None):
            return
        self.answers += 1
        self.add_usage(result)

    def add_usage(self, result: RowResult) -> None:
        """Count what one exchange took; a row can have several."""
        self.cost += result.cost or 0.0
        self.tokens += result.tokens or 0
        self.some_cost_unknown = self.some_cost_unknown or result.cost is None
        self.some_tokens_unknown = self.some_tokens_unknown or result.tokens is None

    def reason_to_stop(self, in_flight: int) -> str | None:
        """Return why nothing more may be sent, each request in flight counted at the mean so far."""
        expected = 1 + (in_flight + 1) / self.answers if self.answers else 1.0
        max_cost, max_tokens = self.limits.max_cost, self.limits.max_total_tokens
        if max_cost is not None:
            if self.some_cost_unknown:
                return "the cost of an answer is unknown, so that max_cost= could not be kept"
            if self.answers and self.cost * expected > max_cost:
                return f"max_cost={max_cost:g} is used up: {self.cost:.6g} spent"
        if max_tokens is not None:
            if self.some_tokens_unknown:
                return "an answer came without token counts, so that max_total_tokens= could not be kept"
            if self.answers and self.tokens * expected > max_tokens:
                return f"max_total_tokens={max_tokens} is used up: {self.tokens} used"
        return None
