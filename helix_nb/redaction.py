"""Replaces known keys by `[key]` in whatever is kept or shown.

`config/secrets.py` registers each key here; nothing else knows any.
"""

from __future__ import annotations

from typing import Any

from .text import partial_match

MASK = "[key]"
MIN_LENGTH = 8
# What people type where a local server wants some key; redacting these words would spoil answers.
PLACEHOLDERS = frozenset(
    {"no-key-required", "lm-studio", "not-needed", "your-api-key", "none-needed", "sk-no-key-required"}
)

_values: dict[str, None] = {}  # in the order of registration


def register_key(value: str) -> None:
    """Redact a value from now on, if it is long enough to be a key."""
    if len(value) >= MIN_LENGTH and value.lower() not in PLACEHOLDERS:
        _values[value] = None


def redact(text: str) -> str:
    """Replace every known key in a text by `[key]`."""
    if not _values:
        return text
    for key in sorted(_values, key=len, reverse=True):  # because a key may begin like a shorter one
        if key in text:
            text = text.replace(key, MASK)
    return text


def redact_strings(data: Any) -> Any:
    """Return plain JSON-like data with every string in it redacted."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, dict):
        return {redact_strings(key): redact_strings(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(redact_strings(item) for item in data)
    return data


class KeyFilter:
    """Redact text that arrives in pieces: a tail that may begin a key waits for the next piece."""

    def __init__(self) -> None:
        self._tail = ""

    def feed(self, piece: str) -> str:
        """Take in a piece and return the text that can be shown now."""
        if not _values:
            return piece
        text = redact(self._tail + piece)
        end = len(text) - partial_match(text, _values)
        self._tail = text[end:]
        return text[:end]

    def flush(self) -> str:
        """Return the text that was held back."""
        tail, self._tail = self._tail, ""
        return tail
