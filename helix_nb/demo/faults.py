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


class Faults:
    """Remembers which prompts have met their fault and are owed an answer."""

    def __init__(self) -> None:
        self.met: set[str] = set()

    def of(self, body: Mapping[str, Any]) -> Fault | None:
        """The fault this request meets, or None."""
        model = body.get("model")
        steady: dict[Any, Fault] = {
            "demo-truncates": "truncates",
            "demo-stalls": "stalls",
            "demo-fails": "fails",
        }
        if model in steady:
            return steady[model]
        key = hashlib.sha256(json.dumps([model, body["messages"]], sort_keys=True).encode()).hexdigest()
        passing: dict[Any, tuple[Fault, ...]] = {
            "demo-429": ("429",),
            "demo-flaky": ("429", "502", "truncates"),
        }
        kinds, of = passing.get(model, ()), 1 if model == "demo-429" else 8
        place = int(key[:8], 16) % of
        if place >= len(kinds) or key in self.met:
            self.met.discard(key)
            return None
        self.met.add(key)
        return kinds[place]
