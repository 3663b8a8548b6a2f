"""The facts under an answer and the totals of a conversation; "-" where nobody said."""

from __future__ import annotations

from collections.abc import Iterable

from ...replies import Reply
from ...text import count_of
from .protocol import Fact, Strip

UNKNOWN = "-"
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}


def facts_of(reply: Reply) -> list[Fact]:
    """Model, tokens in and out, time to first text, tokens per second, cost."""
    usage = reply.usage
    return [
        _fact("{}", reply.model or reply.model_requested, "The model", "The server did not say which model"),
        _fact("in {}", _count(usage.prompt_tokens), "Tokens in", "The server did not count them"),
        _fact("out {}", _count(usage.completion_tokens), "Tokens out", "The server did not count them"),
        _fact("first {}", _seconds(reply.time_to_first_token_ms), "Time to first text", "No text came"),
        _fact("{} tok/s", _speed(reply), "Tokens per second", "Too few tokens, or nobody counted them"),
        _fact("cost {}", money(reply.cost, reply.currency), "Cost", "No price is known for this model"),
    ]


def _fact(pattern: str, value: str | None, tip: str, unknown: str) -> Fact:
    return {"v": pattern.format(value or UNKNOWN), "tip": tip if value else unknown}


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _seconds(ms: float | None) -> str | None:
    if ms is None:
        return None
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _speed(reply: Reply) -> str | None:
    tokens, whole, first = reply.usage.completion_tokens, reply.duration_ms, reply.time_to_first_token_ms
    if not tokens or tokens < 2 or whole is None or first is None or whole - first < 1:
        return None
    speed = (tokens - 1) / (whole - first) * 1000
    return f"{speed:.1f}" if speed < 10 else f"{speed:,.0f}"


def money(amount: float | None, currency: str | None) -> str | None:
    """An amount with enough digits to see it, or None when it is unknown."""
    if amount is None:
        return None
    digits = 2 if amount == 0 or amount >= 1 else 4 if amount >= 0.001 else 6
    symbol = _SYMBOLS.get(currency or "USD")
    return f"{symbol}{amount:.{digits}f}" if symbol else f"{amount:.{digits}f} {currency}"


def totals_of(replies: Iterable[Reply]) -> dict[str, str]:
    """The conversation's sums as one short line, and a tooltip that says what is unknown."""
    known = [reply for reply in replies if reply.status != "pending"]
    if not known:
        return {"text": "", "tip": ""}
    into = _sum([reply.usage.prompt_tokens for reply in known])
    out = _sum([reply.usage.completion_tokens for reply in known])
    parts = [count_of(len(known), "turn"), f"{into} in", f"{out} out", *_costs(known)]
    missing = sum(
        reply.usage.completion_tokens is None or reply.usage.prompt_tokens is None for reply in known
    )
    note = f"; {missing} of {len(known)} answers came without token counts" if missing else ""
    return {"text": " · ".join(parts), "tip": f"Tokens in and out of this conversation{note}"}


def _sum(counts: list[int | None]) -> str:
    there = [count for count in counts if count is not None]
    if not there:
        return UNKNOWN
    return f"{sum(there):,}{'+' if len(there) < len(counts) else ''}"


def _costs(replies: list[Reply]) -> list[str]:
    sums: dict[str | None, float] = {}
    for reply in replies:
        if reply.cost is not None:
            sums[reply.currency] = sums.get(reply.currency, 0.0) + reply.cost
    some = "+" if sums and any(reply.cost is None for reply in replies) else ""
    return [f"{money(amount, currency)}{some}" for currency, amount in sums.items()]


def strip_of(reply: Reply) -> Strip | None:
    """What a reader must know about an answer that is not simply whole."""
    if reply.status == "error":
        return {"level": "error", "text": reply.error or "The answer failed.", "retry": True}
    if reply.status == "truncated":
        text = "The answer was cut off before it was finished. The model will not see this turn."
        return {"level": "warn", "text": text, "retry": True}
    if reply.status == "interrupted":
        return {"level": "quiet", "text": "Stopped. The model will not see this turn.", "retry": False}
    if reply.cut:
        limit = (
            "the limit of tokens (max tokens)"
            if reply.finish_reason == "length"
            else "the endpoint's content filter"
        )
        return {"level": "warn", "text": f"The answer was cut by {limit}.", "retry": True}
    if reply.notes:
        return {"level": "quiet", "text": " ".join(reply.notes), "retry": False}
    return None
