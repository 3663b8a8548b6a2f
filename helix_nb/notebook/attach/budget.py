"""How much of a text goes along: tokens, estimated, and a cut that never leaves half a key."""

from __future__ import annotations

import re

from ...redaction import redact

BUDGET_TOKENS = 2_000
MAX_KEY_LENGTH = 10_000  # characters
KEY_LIKE = re.compile(r"(?<![\w-])(?:hl|sk|pk|gsk|xai|nvapi|hf|ghp)[-_][A-Za-z0-9_-]{20,}")


def count_tokens(text: str) -> int:
    """Estimate how many tokens a text is: its UTF-8 bytes by 3.5."""
    return -(-len(text.encode("utf-8", "replace")) * 2 // 7)


def without_keys(text: str) -> str:
    """Return a text without known keys, and without what looks like one."""
    return KEY_LIKE.sub("[key]", redact(text))


def cut(text: str, budget: int) -> str:
    """Return the beginning of a text within a budget of tokens; it says where it was cut, never in a key."""
    most_bytes = budget * 7 // 2
    beginning = text[: most_bytes + MAX_KEY_LENGTH]
    safe = without_keys(beginning)
    if beginning == text and count_tokens(safe) <= budget:
        return safe
    shortened = safe.encode("utf-8", "replace")[: max(most_bytes - 40, 0)].decode("utf-8", "ignore")
    return f"{shortened}\n[cut after about {budget:,} tokens]"
