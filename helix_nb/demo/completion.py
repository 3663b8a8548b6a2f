"""The JSON of the protocol: a whole completion, and the chunks of a streamed one.

How tokens are counted: words and punctuation marks, one each.

- A prompt costs 3 tokens, and each of its messages 4 (its role and its frame) plus its words and
  punctuation marks; an image costs 85; offered tools cost their JSON text.
- An answer costs its words and punctuation marks, and 1 for saying that it has ended; one cut by
  `max_tokens` has not ended and costs exactly `max_tokens`.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .answers import CannedAnswer, answer
from .faults import MODELS

_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")
_PER_PROMPT, _PER_MESSAGE, _PER_IMAGE = 3, 4, 85
LABEL = "helix_nb demo: canned text, not a model"


@dataclass(frozen=True)
class Completion:
    """One answer with all that is said about it."""

    model: str
    answer: CannedAnswer
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    id: str = field(default_factory=lambda: f"chatcmpl-demo-{secrets.token_hex(8)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Completion:
        """Answer a checked body, cut at its stop strings and at its token limit."""
        found, reason, ending = answer(body), "stop", 1
        if found.call:
            reason, tokens = "tool_calls", split_tokens(" ".join(found.call))
        else:
            found = replace(found, text=_stopped(found.text, body.get("stop") or ()))
            tokens = split_tokens(found.text)
        thought = split_tokens(found.reasoning)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if limit and len(thought) + len(tokens) + ending > limit:
            thought = thought[:limit]
            tokens, reason, ending = tokens[: limit - len(thought)], "length", 0
            found = CannedAnswer("" if found.call else "".join(tokens), reasoning="".join(thought))
        spent = len(thought) + len(tokens) + ending
        asked = prompt_tokens(body["messages"], body.get("tools") or ())
        name = body.get("model") if body.get("model") in MODELS else "demo"
        return cls(str(name), found, reason, asked, spent, len(thought))

    @property
    def usage(self) -> dict[str, Any]:
        counts: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }
        if self.reasoning_tokens:
            counts["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return counts

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": self.answer.text}
        if self.answer.reasoning:
            message["reasoning_content"] = self.answer.reasoning
        if self.answer.call:
            name, arguments = self.answer.call
            call = {"id": f"call_{self.id[-8:]}", "type": "function"}
            message |= {
                "content": None,
                "tool_calls": [call | {"function": {"name": name, "arguments": arguments}}],
            }
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return self._frame("chat.completion", [choice]) | {"usage": self.usage}

    def deltas(self) -> Iterator[dict[str, Any]]:
        """The chunks that carry the answer: its role, then a token each."""
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in split_tokens(self.answer.reasoning):
            yield self._chunk({"reasoning_content": piece})
        for piece in split_tokens(self.answer.text):
            yield self._chunk({"content": piece})
        if self.answer.call:
            name, arguments = self.answer.call
            call = {"index": 0, "id": f"call_{self.id[-8:]}", "type": "function"}
            yield self._chunk({"tool_calls": [call | {"function": {"name": name, "arguments": ""}}]})
            for piece in split_tokens(arguments):
                yield self._chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})

    def closing(self, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The chunk that says why the answer ended, and the one with the usage if it was asked for."""
        yield self._chunk({}, self.finish_reason)
        if include_usage:
            yield self._frame("chat.completion.chunk", []) | {"usage": self.usage}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return self._frame(
            "chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        )

    def _frame(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        frame = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return frame | {"system_fingerprint": LABEL, "choices": choices}


def model_list() -> dict[str, Any]:
    """The body of `/v1/models`."""
    return {"object": "list", "data": [model_entry(name) for name in MODELS]}


def model_entry(name: str) -> dict[str, Any]:
    """One model as `/v1/models` lists it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "helix_nb", "description": LABEL}


def _stopped(text: str, stops: Any) -> str:
    """The text before the first of the stop strings."""
    found = [text.index(stop) for stop in stops if stop and stop in text]
    return text[: min(found)] if found else text


def split_tokens(text: str) -> list[str]:
    """Cut text into tokens with the white space before them; joined, they are the text again.

    >>> split_tokens("Paris, of course.")
    ['Paris', ',', ' of', ' course', '.']
    """
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """Count the words and punctuation marks of a text.

    >>> count_tokens("The capital of France is Paris.")
    7
    """
    return sum(1 for piece in split_tokens(text) if not piece.isspace())


def prompt_tokens(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> int:
    """Count what a conversation costs, offered tools included."""
    offered = count_tokens(json.dumps(list(tools))) if tools else 0
    return _PER_PROMPT + offered + sum(_PER_MESSAGE + _message(message) for message in messages)


def _message(message: Mapping[str, Any]) -> int:
    content, calls = message.get("content"), message.get("tool_calls") or ()
    called = sum(
        count_tokens(call["function"]["name"] + " " + call["function"]["arguments"]) for call in calls
    )
    if isinstance(content, str) or content is None:
        return called + count_tokens(content or "")
    return called + sum(
        _PER_IMAGE if p.get("type") == "image_url" else count_tokens(p["text"]) for p in content
    )
