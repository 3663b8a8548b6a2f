"""One request inside the worker: its prompt as tokens, its sampling, and its answer as it grows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mlx_lm.sample_utils import make_logits_processors, make_sampler

from ...sections import Kind, Marks, Sections
from ..request import INSTRUCTION
from .download import ServingError, first_line
from .load import Loaded

MAX_TOKENS = 4096  # where the request names no limit; the answer is then shown as cut
_PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")


class Generation:
    """A request under way. Token counts are exact at every moment."""

    def __init__(self, job_id: str, wire: Mapping[str, Any], loaded: Loaded) -> None:
        self.id = job_id
        _check(wire, loaded)
        messages, self.prompt = _rendered(wire, loaded)
        self.wire = {**loaded.sampling, **wire, "messages": messages}
        self.seed: int | None = wire.get("seed")
        self.max_tokens = _limit(wire, loaded, len(self.prompt))
        self.cached_tokens = self.completion_tokens = self.reasoning_tokens = 0
        self._tokenizer = loaded.tokenizer
        self._tools = wire.get("tools")
        self._calls = 0
        self._text = loaded.tokenizer.detokenizer
        marks = _marks(loaded.tokenizer, tools=bool(self._tools))
        self._sections = Sections(marks, wire.get("stop") or (), thinking=self._opened())

    @property
    def usage(self) -> list[int]:
        """Prompt, completion, cached and reasoning tokens."""
        return [len(self.prompt), self.completion_tokens, self.cached_tokens, self.reasoning_tokens]

    @property
    def stopped(self) -> bool:
        """Whether a stop string came."""
        return self._sections.stopped

    def sampler(self) -> Any:
        """How the next token is chosen; equal settings share one sampler, called once for the batch."""
        get = self.wire.get
        return _sampler(get("temperature", 0.0), get("top_p", 0.0), get("min_p", 0.0), get("top_k", 0))

    def processors(self) -> list[Any]:
        """What changes the logits first: penalties and biases."""
        penalties = {name: self.wire[name] for name in _PENALTIES if name in self.wire}
        bias = {int(token): value for token, value in (self.wire.get("logit_bias") or {}).items()}
        made: list[Any] = make_logits_processors(logit_bias=bias or None, **penalties)
        return made

    def boundary(self) -> int:
        """How much of the prompt the next turn will repeat: all but what only asks for an answer."""
        without = _template(self.wire, self._tokenizer, generation=False)
        same = (i for i, (a, b) in enumerate(zip(self.prompt, without, strict=False)) if a != b)
        return next(same, min(len(self.prompt), len(without)))

    def _opened(self) -> bool:
        """Whether what asks for an answer opens the model's thoughts; a message may speak of the mark."""
        if not self._tokenizer.has_thinking:
            return False
        start: int = self._tokenizer.rfind_think_start(self.prompt)
        end: int = self._tokenizer.rfind_think_end(self.prompt)
        return start > end and start >= self.boundary()

    def token(self, token: int, finish_reason: str | None) -> dict[str, Any]:
        """Take a token in and return what it brought, as an event's fields."""
        self.completion_tokens += 1
        self.reasoning_tokens += self._sections.thinking
        if finish_reason != "stop":  # the token that ends an answer is no text
            self._text.add_token(token)
        if finish_reason is not None:
            self._text.finalize()
        pieces = self._sections.feed(self._text.last_segment)
        if finish_reason is not None:
            pieces += self._sections.flush()
        return self._fields(pieces)

    def finish_reason(self, reason: str | None) -> str | None:
        """The reason to report: tool calls are a reason of their own."""
        return "tool_calls" if self._calls and reason == "stop" else reason

    def _fields(self, pieces: list[tuple[Kind, str]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for kind, text in pieces:
            calls = self._parsed(text) if kind == "tool" else None
            if calls is not None:
                fields.setdefault("tool_calls", []).extend(calls)
            else:
                name = "reasoning" if kind == "reasoning" else "text"
                fields[name] = fields.get(name, "") + (self._as_written(text) if kind == "tool" else text)
        return fields

    def _parsed(self, text: str) -> list[dict[str, Any]] | None:
        """The tool calls in a section of the answer; None when nobody can read them."""
        try:
            found = self._tokenizer.tool_parser(text, self._tools)
            found = found if isinstance(found, list) else [found]
            calls = [self._call(call, self._calls + number) for number, call in enumerate(found)]
        except Exception:  # noqa: BLE001 - each model's parser fails in its own ways
            return None
        self._calls += len(calls)
        return calls

    @staticmethod
    def _call(call: Mapping[str, Any], index: int) -> dict[str, Any]:
        arguments = call.get("arguments", {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        wire = {"index": index, "id": str(call.get("id") or f"call_{uuid.uuid4().hex[:12]}")}
        return wire | {"name": str(call["name"]), "arguments": written}

    def _as_written(self, text: str) -> str:
        return f"{self._tokenizer.tool_call_start}{text}{self._tokenizer.tool_call_end or ''}"


@lru_cache(maxsize=64)
def _sampler(temperature: float, top_p: float, min_p: float, top_k: int) -> Any:
    return make_sampler(temp=temperature, top_p=top_p, min_p=min_p, top_k=top_k)


def _check(wire: Mapping[str, Any], loaded: Loaded) -> None:
    """Refuse what this model does not have."""
    if wire.get("tools") and not loaded.tokenizer.has_tool_calling:
        raise ServingError(f"{loaded.name} cannot call tools: its chat template knows none.", "BadRequest")
    if wire.get("top_k", 0) >= loaded.vocabulary:
        raise ServingError(f"top_k is below {loaded.vocabulary} for {loaded.name}.", "BadRequest")
    if any(not 0 <= int(token) < loaded.vocabulary for token in wire.get("logit_bias") or {}):
        raise ServingError(f"logit_bias names a token that {loaded.name} does not have.", "BadRequest")


def _rendered(wire: Mapping[str, Any], loaded: Loaded) -> tuple[list[Any], list[int]]:
    """The messages as the model's own template takes them, and the prompt it makes of them.

    Some templates know no system message. A schema's instruction then goes to the last question;
    what the user wrote as a system message does not, without being asked.
    """
    try:
        prompt = _template(wire, loaded.tokenizer, generation=True)
    except Exception as error:
        folded, prompt = _without_system(wire, loaded.tokenizer)
        if not prompt or not wire["messages"][0]["content"].startswith(INSTRUCTION):
            what = f"The chat template of {loaded.name} refuses these messages: {first_line(error)}."
            hint = " It takes no system message: put that text into the prompt." if prompt else ""
            raise ServingError(what + hint, "BadRequest") from error
        return folded, prompt
    if not prompt:
        raise ServingError(
            f"The chat template of {loaded.name} makes nothing of these messages.", "BadRequest"
        )
    return wire["messages"], prompt


def _without_system(wire: Mapping[str, Any], tokenizer: Any) -> tuple[list[Any], list[int]]:
    """The same with the system message's text at the end of the last question; no prompt if that fails."""
    first, *rest = wire["messages"]
    asked = next((i for i in reversed(range(len(rest))) if rest[i]["role"] == "user"), None)
    if first["role"] != "system" or asked is None:
        return [], []
    rest[asked] = {**rest[asked], "content": f"{rest[asked]['content']}\n\n{first['content']}"}
    try:
        return rest, _template({**wire, "messages": rest}, tokenizer, generation=True)
    except Exception:  # noqa: BLE001 - the first refusal is the one to tell
        return [], []


def _template(wire: Mapping[str, Any], tokenizer: Any, *, generation: bool) -> list[int]:
    options = dict(wire.get("chat_template_kwargs") or {})
    if "enable_thinking" in wire:
        options["enable_thinking"] = wire["enable_thinking"]
    tokens = tokenizer.apply_chat_template(
        wire["messages"], tools=wire.get("tools"), add_generation_prompt=generation, **options
    )
    return list(tokens)


def _limit(wire: Mapping[str, Any], loaded: Loaded, prompt_tokens: int) -> int:
    asked = int(wire.get("max_tokens", MAX_TOKENS))
    if loaded.context_length is None:
        return asked
    left = loaded.context_length - prompt_tokens
    if left < 1:
        most = f"{loaded.name} takes {loaded.context_length:,}"
        raise ServingError(
            f"The prompt is {prompt_tokens:,} tokens long and {most}: shorten it.", "BadRequest"
        )
    return min(asked, left)


def _marks(tokenizer: Any, *, tools: bool) -> Marks:
    called = (tokenizer.tool_call_start, tokenizer.tool_call_end or None) if tools else (None, None)
    return Marks(tokenizer.think_start, tokenizer.think_end, *called)
