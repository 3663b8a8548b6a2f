"""How much of a text goes along: tokens, estimated, and a cut that never leaves half a key."""

from __future__ import annotations

import re

from ...redaction import redact

BUDGET_TOKENS = 2_000
LONGEST_KEY = 10_000  # characters
SECRETS = re.compile(r"(?<![\w-])(?:hl|sk|pk|gsk|xai|nvapi|hf|ghp)[-_][A-Za-z0-9_-]{20,}")


def tokens_of(text: str) -> int:
    """About how many tokens a text is: its UTF-8 bytes by 3.5."""
    return -(-len(text.encode("utf-8", "replace")) * 2 // 7)


def hidden(text: str) -> str:
    """A text without known keys, and without what looks like one."""
    return SECRETS.sub("[key]", redact(text))


def cut(text: str, budget: int) -> str:
    """The beginning of a text within a budget of tokens; it says when it is cut, and never cuts a key."""
    most_bytes = budget * 7 // 2
    beginning = text[: most_bytes + LONGEST_KEY]
    shown = hidden(beginning)
    if beginning == text and tokens_of(shown) <= budget:
        return shown
    kept = shown.encode("utf-8", "replace")[: max(most_bytes - 40, 0)].decode("utf-8", "ignore")
    return f"{kept}\n[cut after about {budget:,} tokens]"
