"""Decides how often a request is tried while nothing of its answer has arrived, and how long it waits."""

from __future__ import annotations

import random

from ..errors import HelixError, RateLimited
from ..messages import RetryPolicy

MAX_BACKOFF_S = 20.0
MAX_OVERLOAD_BACKOFFS = (
    4  # overloads that double the wait: the adaptive limit learns sooner that they are over
)
OVERLOAD_STATUSES = (503, 529)

BATCH_POLICY = RetryPolicy(
    patience_s=3600.0, refusals=100, overloads=8, adaptive=True, timeout_scope="in_flight", reload=False
)


def is_refusal(error: HelixError) -> bool:
    """Return whether a server says that it has too many requests now (429, 503, 529)."""
    return isinstance(error, RateLimited) or error.status_code in OVERLOAD_STATUSES


class Attempts:
    """Count the failed tries of one request.

    Args:
        policy: the request's own.
        retries: how many failures the endpoint's connection allows.
    """

    def __init__(self, policy: RetryPolicy, retries: int) -> None:
        self._policy, self._retries = policy, retries
        self._failures = self._refusals = self._overloads = self._overloads_alone = 0

    def count(self, error: HelixError, *, server_unreachable: bool) -> None:
        """Count one failed try; `server_unreachable` says that the server admits no request at all now."""
        if self._policy.refusals and isinstance(error, RateLimited):
            self._refusals += 1
        elif self._policy.overloads and is_refusal(error):
            self._overloads += 1
            self._overloads_alone += not server_unreachable
        else:
            self._failures += 1

    @property
    def spent(self) -> bool:
        """Whether the policy allows no further try."""
        return (
            self._failures > self._retries
            or self._refusals > self._policy.refusals
            or self._overloads_alone > max(self._retries, self._policy.overloads)
        )

    @property
    def overloaded(self) -> bool:
        """Whether any try found the server overloaded."""
        return self._overloads > 0

    def delay_s(self, error: HelixError) -> float:
        """Return the seconds to wait after `error`: what the server asks for, else exponential backoff."""
        if error.retry_after_s:  # but for 0, which a server also sends for a time that is past
            return 0.0  # because the gate is paused for that long
        tries = self._failures + self._refusals + min(self._overloads, MAX_OVERLOAD_BACKOFFS)
        longest_s = min(self._policy.backoff_s * 2 ** (tries - 1), MAX_BACKOFF_S)
        return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - jitter, not a secret
