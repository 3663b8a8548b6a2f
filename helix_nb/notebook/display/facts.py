"""What is said about an answer: one quiet line under it, and the facts in the output's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...replies import Reply, Usage, incomplete_reason


def quiet_line(reply: Reply, extra: Sequence[str] = ()) -> str:
    """Endpoint, model, tokens and cost; never times or ids, so that reruns look the same.

    >>> from helix_nb.replies import Reply, Usage
    >>> quiet_line(Reply(endpoint="demo", model="demo", status="ok", usage=Usage(24, 8, 32)))
    'demo · demo · 24 tokens in, 8 out'
    """
    said = [reply.endpoint or "", reply.model or reply.model_requested or "", tokens(reply.usage)]
    said += [price(reply), incomplete_reason(reply), *extra]
    line = " · ".join(part for part in said if part)
    return " ".join(line.split())  # one, whatever a server calls its model


def tokens(usage: Usage) -> str:
    """The tokens of one exchange in words; what is unknown is called unknown."""
    known_in, known_out = usage.prompt_tokens is not None, usage.completion_tokens is not None
    if known_in and known_out:
        return f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"
    if usage.total_tokens is not None:
        return f"{usage.total_tokens:,} tokens"
    if known_in or known_out:
        count, way = (usage.prompt_tokens, "in") if known_in else (usage.completion_tokens, "out")
        return f"{count:,} tokens {way}"
    return "tokens unknown"


def price(reply: Reply) -> str:
    """The cost of one exchange, or nothing where it is unknown."""
    if reply.cost is None:
        return ""
    return f"{reply.cost:.4g} {reply.currency or ''}".strip()


def metadata(reply: Reply, **more: Any) -> dict[str, Any]:
    """The facts about an answer, for the metadata of its output; no key is ever among them."""
    usage = reply.usage
    facts = {
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
    return {"helix_nb": {name: value for name, value in (facts | more).items() if value is not None}}
