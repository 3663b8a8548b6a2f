"""Known keys are replaced by `[key]` in whatever is kept or shown.

Secrets (`config/secrets.py`) say here what to replace; nothing else knows any key.
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

_values: dict[str, None] = {}


def register_key(value: str) -> None:
    """Redact this value from now on, if it is long enough to be a key."""
    if len(value) >= MIN_LENGTH and value.lower() not in PLACEHOLDERS:
        _values[value] = None


def redact(text: str) -> str:
    """Replace every known key in a text by `[key]`."""
    if not _values:
        return text
    for value in sorted(_values, key=len, reverse=True):
        if value in text:
            text = text.replace(value, MASK)
    return text


def redact_strings(data: Any) -> Any:
    """Redact every string inside plain JSON-like data."""
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
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown now."""
        if not _values:
            return piece
        text = redact(self._held + piece)
        keep = partial_match(text, _values)
        self._held = text[len(text) - keep :] if keep else ""
        return text[: len(text) - keep] if keep else text

    def flush(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held
