"""How the demo endpoint counts tokens: words and punctuation marks, one each.

- A prompt costs 3 tokens, and each of its messages 4 (its role and its frame) plus its words and
  punctuation marks; an image costs 85; offered tools cost their JSON text.
- An answer costs its words and punctuation marks, and 1 for saying that it has ended; one cut by
  `max_tokens` has not ended and costs exactly `max_tokens`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")
_PER_PROMPT, _PER_MESSAGE, _PER_IMAGE = 3, 4, 85


def pieces(text: str) -> list[str]:
    """Cut text into tokens with the white space before them; joined, they are the text again.

    >>> pieces("Paris, of course.")
    ['Paris', ',', ' of', ' course', '.']
    """
    return _PIECE.findall(text)


def count(text: str) -> int:
    """Count the words and punctuation marks of a text.

    >>> count("The capital of France is Paris.")
    7
    """
    return sum(1 for piece in pieces(text) if not piece.isspace())


def prompt_tokens(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> int:
    """Count what a conversation costs, offered tools included."""
    offered = count(json.dumps(list(tools))) if tools else 0
    return _PER_PROMPT + offered + sum(_PER_MESSAGE + _message(message) for message in messages)


def _message(message: Mapping[str, Any]) -> int:
    content, calls = message.get("content"), message.get("tool_calls") or ()
    called = sum(count(call["function"]["name"] + " " + call["function"]["arguments"]) for call in calls)
    if isinstance(content, str) or content is None:
        return called + count(content or "")
    return called + sum(_PER_IMAGE if p.get("type") == "image_url" else count(p["text"]) for p in content)
