"""The facts about an answer in words: one quiet line under a cell, single facts and sums in the panel.

What nobody reported is called unknown, or "-" where space is short; it is never shown as 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

from ...replies import Reply, Usage, incomplete_reason
from ...text import count_of, shorten

UNKNOWN = "-"
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
_UNSEEN = "The model will not see this turn."  # only an exchange that ends `ok` joins its Chat


class Fact(TypedDict):
    """A fact about an answer: the text shown, "-" in it where unknown, and its tooltip."""

    v: str
    tip: str


class Strip(TypedDict):
    """The line under an answer that is not a whole one, or has something to say."""

    level: Literal["error", "warn", "quiet"]
    text: str
    retry: bool  # whether the line offers to ask again


def quiet_line(reply: Reply, extra: Sequence[str] = ()) -> str:
    """Join endpoint, model, tokens, cost and what it lacks; never times or ids, so that reruns look the same.

    >>> from helix_nb.replies import Reply, Usage
    >>> quiet_line(Reply(endpoint="demo", model="demo", status="ok", usage=Usage(24, 8, 32)))
    'demo · demo · 24 tokens in, 8 out'
    """
    model, tokens = reply.model or reply.model_requested, token_counts(reply.usage)
    return join_facts(reply.endpoint, model, tokens, cost_text(reply), incomplete_reason(reply), *extra)


def join_facts(*facts: str | None) -> str:
    """Join those facts that are known to one line, whatever line breaks a server put into a name."""
    return " ".join(" · ".join(fact for fact in facts if fact).split())


def token_counts(usage: Usage) -> str:
    """Return the tokens of one exchange in words; what is unknown is called unknown."""
    known_in, known_out = usage.prompt_tokens is not None, usage.completion_tokens is not None
    if known_in and known_out:
        return f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"
    if usage.total_tokens is not None:
        return f"{usage.total_tokens:,} tokens"
    if known_in or known_out:
        count, way = (usage.prompt_tokens, "in") if known_in else (usage.completion_tokens, "out")
        return f"{count:,} tokens {way}"
    return "tokens unknown"


def cost_text(reply: Reply) -> str | None:
    """Return the cost of one exchange as text, or None where it is unknown."""
    return None if reply.cost is None else money(reply.cost, reply.currency)


def money(amount: float, currency: str | None) -> str:
    """Return an amount with its currency, and with enough digits to see it.

    >>> money(0.0123, "USD"), money(4.2e-7, "EUR"), money(3, "CHF")
    ('$0.0123', '€0.00000042', '3.00 CHF')
    """
    if amount == 0 or abs(amount) >= 1:
        digits = 2
    else:
        digits = 4 if abs(amount) >= 0.001 else max(6, 1 - math.floor(math.log10(abs(amount))))
    symbol = _SYMBOLS.get(currency or "")
    return f"{symbol}{amount:.{digits}f}" if symbol else f"{amount:.{digits}f} {currency or ''}".strip()


def call_line(name: str, arguments: str, result: str | None) -> str:
    """Return a tool call and what it got as one line, both shortened."""
    arrow = "" if result is None else f" → {_shortened(result)}"
    return f"called {name}({_shortened(arguments)}){arrow}"


def _shortened(text: str) -> str:
    return shorten(" ".join(text.split()), 120)


def why_not_whole(reply: Reply) -> str:
    """Return why an answer is not a whole one as a sentence; an empty text where it is."""
    reason = incomplete_reason(reply)
    return reply.error or (f"{reason[0].upper()}{reason[1:]}." if reason else "")


def strip_of(reply: Reply) -> Strip | None:
    """Return what a reader must know about an answer that has ended; None where it is simply whole."""
    sentence = why_not_whole(reply)
    if reply.status == "error":
        return {"level": "error", "text": sentence, "retry": True}
    if reply.status == "truncated":
        return {"level": "warn", "text": f"{sentence} {_UNSEEN}", "retry": True}
    if reply.status == "interrupted":
        return {"level": "quiet", "text": f"{sentence} {_UNSEEN}", "retry": False}
    if reply.cut:
        return {"level": "warn", "text": sentence, "retry": True}
    return {"level": "quiet", "text": " ".join(reply.notes), "retry": False} if reply.notes else None


def facts_of(reply: Reply) -> list[Fact]:
    """Return model, tokens in and out, time to first text, tokens per second and cost, for the panel."""
    usage, model = reply.usage, reply.model or reply.model_requested
    first_ms = reply.time_to_first_token_ms
    return [
        _fact("{}", model, "The model", "The server did not say which model"),
        _fact("in {}", _count(usage.prompt_tokens), "Tokens in", "The server did not count them"),
        _fact("out {}", _count(usage.completion_tokens), "Tokens out", "The server did not count them"),
        _fact("first {}", _duration(first_ms), "Time to first text", "No text came"),
        _fact("{} tok/s", _speed(reply), "Tokens per second", "Too few tokens, or nobody counted them"),
        _fact("cost {}", cost_text(reply), "Cost", "No price is known for this model"),
    ]


def _fact(pattern: str, value: str | None, tip: str, tip_if_unknown: str) -> Fact:
    return {"v": pattern.format(value or UNKNOWN), "tip": tip if value else tip_if_unknown}


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _duration(ms: float | None) -> str | None:
    if ms is None:
        return None
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _speed(reply: Reply) -> str | None:
    """Return the tokens per second after the first one."""
    tokens, duration_ms, first_ms = (
        reply.usage.completion_tokens,
        reply.duration_ms,
        reply.time_to_first_token_ms,
    )
    if not tokens or tokens < 2 or duration_ms is None or first_ms is None or duration_ms - first_ms < 1:
        return None
    speed = (tokens - 1) / (duration_ms - first_ms) * 1000
    return f"{speed:.1f}" if speed < 10 else f"{speed:,.0f}"


def totals_of(replies: Iterable[Reply]) -> dict[str, str]:
    """Return the sums of a conversation as one short line, with a tooltip that says what is unknown."""
    ended = [reply for reply in replies if reply.status != "pending"]
    if not ended:
        return {"text": "", "tip": ""}
    tokens_in = [reply.usage.prompt_tokens for reply in ended]
    tokens_out = [reply.usage.completion_tokens for reply in ended]
    uncounted = sum(None in counts for counts in zip(tokens_in, tokens_out, strict=True))
    note = f"; {uncounted} of {len(ended)} answers came without token counts" if uncounted else ""
    sums = (f"{_sum(tokens_in)} in", f"{_sum(tokens_out)} out", *_costs(ended))
    return {
        "text": " · ".join([count_of(len(ended), "turn"), *sums]),
        "tip": f"Tokens in and out of this conversation{note}",
    }


def _sum(counts: list[int | None]) -> str:
    """Add up what is known; a + says that more is not."""
    known = [count for count in counts if count is not None]
    if not known:
        return UNKNOWN
    return f"{sum(known):,}{'+' if len(known) < len(counts) else ''}"


def _costs(replies: list[Reply]) -> list[str]:
    """Add up the known costs of each currency; a + says that more is unknown."""
    sums: dict[str | None, float] = {}
    for reply in replies:
        if reply.cost is not None:
            sums[reply.currency] = sums.get(reply.currency, 0.0) + reply.cost
    more = "+" if any(reply.cost is None for reply in replies) else ""
    return [f"{money(amount, currency)}{more}" for currency, amount in sums.items()]


def metadata_facts(reply: Reply, **more: str | None) -> dict[str, object]:
    """Return the known facts about an answer for the metadata of its output; no key is ever among them."""
    usage = reply.usage
    facts: dict[str, object] = {
        "exchange_id": reply.exchange_id,
        "endpoint": reply.endpoint,
        "base_url": reply.base_url,
        "model": reply.model,
        "model_requested": reply.model_requested,
        "status": reply.status,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost": reply.cost,
        "currency": reply.currency,
        "duration_ms": reply.duration_ms,
        "time_to_first_token_ms": reply.time_to_first_token_ms,
        "started_at": reply.started_at.isoformat() if reply.started_at else None,
        "response_id": reply.response_id,
        "attempts": reply.attempts,
        "error_type": reply.error_type,
    }
    return {name: value for name, value in (facts | more).items() if value is not None}
