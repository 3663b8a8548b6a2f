"""What became of one request of a batch: its answer or its error, in a few bytes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from ..errors import HelixError
from ..replies import Reply


@dataclass(frozen=True, slots=True)
class RowResult:
    """The part of a Reply that a frame keeps; None is unknown. `reused` came out of the log."""

    status: str
    text: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    exchange_id: str | None = None
    parsed: Any = None
    cost: float | None = None
    currency: str | None = None
    duration_ms: float | None = None
    reused: bool = False

    @property
    def tokens(self) -> int | None:
        """Tokens in and out together; None when neither is known."""
        known = [count for count in (self.prompt_tokens, self.completion_tokens) if count is not None]
        return sum(known) if known else None


def answered(reply: Reply, *, reused: bool = False) -> RowResult:
    """An exchange that ended well; `reply.parsed` is its validated object."""
    return _of(reply, status=reply.status, text=reply.text, parsed=reply.parsed, reused=reused)


def failed(error: HelixError) -> RowResult:
    """An exchange that did not; whatever text arrived stays."""
    reply = error.reply or Reply()
    status = "truncated" if reply.status == "truncated" else "error"
    return _of(reply, status=status, text=reply.text or None, error=f"{type(error).__name__}: {error}")


def _of(reply: Reply, **facts: Any) -> RowResult:
    return RowResult(
        finish_reason=reply.finish_reason and sys.intern(reply.finish_reason),
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        exchange_id=reply.exchange_id,
        cost=reply.cost,
        currency=reply.currency,
        duration_ms=reply.duration_ms,
        **facts,
    )
