"""The JSON of the protocol: a whole completion, and the chunks of a streamed one, with their token counts.

Tokens are words and punctuation marks, one each:

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

LABEL = "helix_nb demo: canned text, not a model"
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")
_PER_PROMPT, _PER_MESSAGE, _PER_IMAGE, _PER_END = 3, 4, 85, 1


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
        canned, reason, ending = answer(body), "stop", _PER_END
        if canned.call:
            reason, tokens = "tool_calls", split_tokens(" ".join(canned.call))
        else:
            canned = replace(canned, text=_before_stop(canned.text, body.get("stop") or ()))
            tokens = split_tokens(canned.text)
        thought = split_tokens(canned.reasoning)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if limit and len(thought) + len(tokens) + ending > limit:
            thought = thought[:limit]
            tokens, reason, ending = tokens[: limit - len(thought)], "length", 0
            canned = CannedAnswer("" if canned.call else "".join(tokens), reasoning="".join(thought))
        spent = len(thought) + len(tokens) + ending
        prompt = prompt_tokens(body["messages"], body.get("tools") or ())
        name = body.get("model") if body.get("model") in MODELS else "demo"
        return cls(str(name), canned, reason, prompt, spent, len(thought))

    @property
    def usage(self) -> dict[str, Any]:
        """The token counts, as the protocol has them."""
        counts: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }
        if self.reasoning_tokens:
            counts["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return counts

    def whole(self) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": self.answer.text}
        if self.answer.reasoning:
            message["reasoning_content"] = self.answer.reasoning
        if self.answer.call:
            message |= {"content": None, "tool_calls": [self._call(self.answer.call[1])]}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return self._frame("chat.completion", [choice]) | {"usage": self.usage}

    def deltas(self) -> Iterator[dict[str, Any]]:
        """Yield the chunks that carry the answer: its role, then a token each."""
        yield self._chunk({"role": "assistant", "content": ""})
        for token in split_tokens(self.answer.reasoning):
            yield self._chunk({"reasoning_content": token})
        for token in split_tokens(self.answer.text):
            yield self._chunk({"content": token})
        if self.answer.call:
            yield self._chunk({"tool_calls": [{"index": 0} | self._call("")]})
            for token in split_tokens(self.answer.call[1]):
                yield self._chunk({"tool_calls": [{"index": 0, "function": {"arguments": token}}]})

    def closing(self, include_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield the chunk that says why the answer ended, and the one with the usage if it was asked for."""
        yield self._chunk({}, self.finish_reason)
        if include_usage:
            yield self._frame("chat.completion.chunk", []) | {"usage": self.usage}

    def _call(self, arguments: str) -> dict[str, Any]:
        assert self.answer.call is not None
        function = {"name": self.answer.call[0], "arguments": arguments}
        return {"id": f"call_{self.id[-8:]}", "type": "function", "function": function}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self._frame("chat.completion.chunk", [choice])

    def _frame(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        frame = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return frame | {"system_fingerprint": LABEL, "choices": choices}


def model_list() -> dict[str, Any]:
    """Return the body of `/v1/models`."""
    return {"object": "list", "data": [model_entry(name) for name in MODELS]}


def model_entry(name: str) -> dict[str, Any]:
    """Return one model as `/v1/models` lists it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "helix_nb", "description": LABEL}


def split_tokens(text: str) -> list[str]:
    """Cut text into tokens with the white space before them; joined, they are the text again.

    >>> split_tokens("Paris, of course.")
    ['Paris', ',', ' of', ' course', '.']
    """
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Count the words and punctuation marks of a text.

    >>> count_tokens("The capital of France is Paris.")
    7
    """
    return sum(1 for token in split_tokens(text) if not token.isspace())


def prompt_tokens(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> int:
    """Count what a conversation costs, offered tools included."""
    tool_tokens = count_tokens(json.dumps(list(tools))) if tools else 0
    return _PER_PROMPT + tool_tokens + sum(_PER_MESSAGE + _message_tokens(message) for message in messages)


def _message_tokens(message: Mapping[str, Any]) -> int:
    content, calls = message.get("content"), message.get("tool_calls") or ()
    parts = [{"text": content or ""}] if isinstance(content, str) or content is None else content
    texts = [f"{call['function']['name']} {call['function']['arguments']}" for call in calls]
    images = [part for part in parts if part.get("type") == "image_url"]
    texts += [part["text"] for part in parts if part.get("type") != "image_url"]
    return _PER_IMAGE * len(images) + sum(map(count_tokens, texts))


def _before_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first of the stop strings."""
    places = [text.index(stop) for stop in stops if stop and stop in text]
    return text[: min(places)] if places else text
