"""The faults the demo endpoint plays, each under a model name of its own.

| model          | what happens                                                                           |
|----------------|----------------------------------------------------------------------------------------|
| demo-truncates | half of the answer, then the end: no finish reason, no usage                            |
| demo-429       | 429 with `Retry-After: 1` for a prompt's first request; its next request is answered    |
| demo-stalls    | five tokens, then silence until the client leaves (not streamed: silence)               |
| demo-fails     | always 500 quoting an upstream 400, as Helix reports a request refused for good         |
| demo-flaky     | of eight prompts one meets a 429, one a 500 that passes, one a truncated answer, chosen |
|                | by the prompt's hash; the next request with that prompt is answered                     |

After a prompt has been answered, the same prompt meets its fault again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

Fault = Literal["truncates", "429", "stalls", "fails", "502"]
MODELS = ("demo", "demo-truncates", "demo-429", "demo-stalls", "demo-fails", "demo-flaky")
FAILS = (
    "error, status code: 400, status: 400 Bad Request, "
    "message: the model demo-fails refuses every request: a fault played by the demo endpoint"
)
PASSING = (
    "error, status code: 502, status: 502 Bad Gateway, "
    "message: the model demo-flaky failed this once: a fault played by the demo endpoint"
)
BUSY = "too many requests for now: a fault played by the demo endpoint; the next request is answered"


_LASTING: dict[Any, Fault] = {"demo-truncates": "truncates", "demo-stalls": "stalls", "demo-fails": "fails"}
# The faults of a model that pass, and of how many prompts one meets each of them.
_PASSING: dict[Any, tuple[tuple[Fault, ...], int]] = {
    "demo-429": (("429",), 1),
    "demo-flaky": (("429", "502", "truncates"), 8),
}


class Faults:
    """Remembers which prompts have met their fault and are owed an answer."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    def of(self, body: Mapping[str, Any]) -> Fault | None:
        """Return the fault that this request meets, or None."""
        model = body.get("model")
        if model in _LASTING:
            return _LASTING[model]
        if model not in _PASSING:
            return None
        faults, prompts = _PASSING[model]
        key = hashlib.sha256(json.dumps([model, body["messages"]], sort_keys=True).encode()).hexdigest()
        number = int(key[:8], 16) % prompts
        if number >= len(faults) or key in self._met:
            self._met.discard(key)
            return None
        self._met.add(key)
        return faults[number]
