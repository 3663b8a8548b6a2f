"""One request inside the worker: its prompt as tokens, its sampling, and its answer as it grows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mlx_lm.sample_utils import make_logits_processors, make_sampler

from ....text import common_prefix
from ...sections import Kind, Marks, Sections
from ..request import INSTRUCTION
from .download import ServingError, first_line
from .load import LoadedModel

MAX_TOKENS = 4096  # where the request names no limit; the answer is then shown as cut
_PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")


class Generation:
    """A request under way. Token counts are exact at every moment.

    Raises:
        ServingError: the model cannot serve this request.
    """

    def __init__(self, request_id: str, wire: Mapping[str, Any], loaded: LoadedModel) -> None:
        self.id = request_id
        _check(wire, loaded)
        messages, self.prompt = _render(wire, loaded)
        self.wire = {**loaded.sampling, **wire, "messages": messages}
        self.seed: int | None = wire.get("seed")
        self.max_tokens = _token_limit(wire, loaded, len(self.prompt))
        self.cached_tokens = self.completion_tokens = self.reasoning_tokens = 0
        self._tokenizer = loaded.tokenizer
        self._tools = wire.get("tools")
        self._tool_calls = 0
        self._detokenizer = loaded.tokenizer.detokenizer
        marks = _marks(loaded.tokenizer, tools=bool(self._tools))
        self._sections = Sections(marks, wire.get("stop") or (), thinking=self._prompt_opens_thoughts())

    @property
    def usage(self) -> list[int]:
        """Prompt, completion, cached and reasoning tokens."""
        return [len(self.prompt), self.completion_tokens, self.cached_tokens, self.reasoning_tokens]

    @property
    def stopped(self) -> bool:
        """Whether a stop string came."""
        return self._sections.stopped

    def sampler(self) -> Any:
        """Return what chooses the next token; equal settings share one, called once for the batch."""
        get = self.wire.get
        return _sampler(get("temperature", 0.0), get("top_p", 0.0), get("min_p", 0.0), get("top_k", 0))

    def logits_processors(self) -> list[Any]:
        """Return what changes the logits first: penalties and biases."""
        penalties = {name: self.wire[name] for name in _PENALTIES if name in self.wire}
        bias = {int(token): value for token, value in (self.wire.get("logit_bias") or {}).items()}
        processors: list[Any] = make_logits_processors(logit_bias=bias or None, **penalties)
        return processors

    def boundary(self) -> int:
        """Return how many tokens of the prompt the next turn repeats: those before the ask for an answer."""
        return common_prefix(self.prompt, _apply_template(self.wire, self._tokenizer, generation=False))

    def add_token(self, token: int, finish_reason: str | None) -> dict[str, Any]:
        """Take a token in and return what it brought, as an event's fields."""
        self.completion_tokens += 1
        self.reasoning_tokens += self._sections.thinking
        if finish_reason != "stop":  # the token that ends an answer is no text
            self._detokenizer.add_token(token)
        if finish_reason is not None:
            self._detokenizer.finalize()
        pieces = self._sections.feed(self._detokenizer.last_segment)
        if finish_reason is not None:
            pieces += self._sections.flush()
        return self._fields(pieces)

    def finish_reason(self, reason: str) -> str:
        """Return the reason to report: tool calls are a reason of their own."""
        return "tool_calls" if self._tool_calls and reason == "stop" else reason

    def _prompt_opens_thoughts(self) -> bool:
        """Return whether the end of the prompt opens thoughts; a message may speak of the mark, too."""
        if not self._tokenizer.has_thinking:
            return False
        start: int = self._tokenizer.rfind_think_start(self.prompt)
        end: int = self._tokenizer.rfind_think_end(self.prompt)
        return start > end and start >= self.boundary()

    def _fields(self, pieces: list[tuple[Kind, str]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for kind, text in pieces:
            calls = self._parse_tool_calls(text) if kind == "tool" else None
            if calls is not None:
                fields.setdefault("tool_calls", []).extend(calls)
            else:
                name = "reasoning" if kind == "reasoning" else "text"
                fields[name] = fields.get(name, "") + (self._with_marks(text) if kind == "tool" else text)
        return fields

    def _parse_tool_calls(self, text: str) -> list[dict[str, Any]] | None:
        """Return the tool calls in a section of the answer; None where they are in no known format."""
        try:
            parsed = self._tokenizer.tool_parser(text, self._tools)
            parsed = parsed if isinstance(parsed, list) else [parsed]
            calls = [_tool_call(call, self._tool_calls + number) for number, call in enumerate(parsed)]
        except Exception:  # noqa: BLE001 - each model's parser fails in its own ways
            return None
        self._tool_calls += len(calls)
        return calls

    def _with_marks(self, text: str) -> str:
        """Return a tool call as the model wrote it."""
        return f"{self._tokenizer.tool_call_start}{text}{self._tokenizer.tool_call_end or ''}"


def _tool_call(call: Mapping[str, Any], index: int) -> dict[str, Any]:
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    call_id = str(call.get("id") or f"call_{uuid.uuid4().hex[:12]}")
    return {"index": index, "id": call_id, "name": str(call["name"]), "arguments": text}


@lru_cache(maxsize=64)
def _sampler(temperature: float, top_p: float, min_p: float, top_k: int) -> Any:
    return make_sampler(temp=temperature, top_p=top_p, min_p=min_p, top_k=top_k)


def _check(wire: Mapping[str, Any], loaded: LoadedModel) -> None:
    """Refuse what this model does not have."""
    if wire.get("tools") and not loaded.tokenizer.has_tool_calling:
        raise ServingError(f"{loaded.name} cannot call tools: its chat template knows none.", "BadRequest")
    if wire.get("top_k", 0) >= loaded.vocabulary:
        raise ServingError(f"top_k is below {loaded.vocabulary} for {loaded.name}.", "BadRequest")
    if any(not 0 <= int(token) < loaded.vocabulary for token in wire.get("logit_bias") or {}):
        raise ServingError(f"logit_bias names a token that {loaded.name} does not have.", "BadRequest")


def _render(wire: Mapping[str, Any], loaded: LoadedModel) -> tuple[list[Any], list[int]]:
    """Return the messages as the model's own template takes them, and the prompt it makes of them.

    Some templates know no system message. A schema's instruction then goes to the last question;
    what the user wrote as a system message does not, without being asked.
    """
    try:
        prompt = _apply_template(wire, loaded.tokenizer, generation=True)
    except Exception as error:
        messages, prompt = _fold_system_message(wire, loaded.tokenizer)
        if not prompt or not wire["messages"][0]["content"].startswith(INSTRUCTION):
            refusal = f"The chat template of {loaded.name} refuses these messages: {first_line(error)}."
            hint = " It takes no system message: put that text into the prompt." if prompt else ""
            raise ServingError(refusal + hint, "BadRequest") from error
        return messages, prompt
    if not prompt:
        raise ServingError(
            f"The chat template of {loaded.name} makes nothing of these messages.", "BadRequest"
        )
    return wire["messages"], prompt


def _fold_system_message(wire: Mapping[str, Any], tokenizer: Any) -> tuple[list[Any], list[int]]:
    """Return messages and prompt with the system message at the end of the last question; else [], []."""
    first, *rest = wire["messages"]
    last = next((i for i in reversed(range(len(rest))) if rest[i]["role"] == "user"), None)
    if first["role"] != "system" or last is None:
        return [], []
    rest[last] = {**rest[last], "content": f"{rest[last]['content']}\n\n{first['content']}"}
    try:
        return rest, _apply_template({**wire, "messages": rest}, tokenizer, generation=True)
    except Exception:  # noqa: BLE001 - the first refusal is the one to tell
        return [], []


def _apply_template(wire: Mapping[str, Any], tokenizer: Any, *, generation: bool) -> list[int]:
    options = dict(wire.get("chat_template_kwargs") or {})
    if "enable_thinking" in wire:
        options["enable_thinking"] = wire["enable_thinking"]
    tokens = tokenizer.apply_chat_template(
        wire["messages"], tools=wire.get("tools"), add_generation_prompt=generation, **options
    )
    return list(tokens)


def _token_limit(wire: Mapping[str, Any], loaded: LoadedModel, prompt_tokens: int) -> int:
    limit = int(wire.get("max_tokens", MAX_TOKENS))
    if loaded.context_length is None:
        return limit
    left = loaded.context_length - prompt_tokens
    if left < 1:
        most = f"{loaded.name} takes {loaded.context_length:,}"
        raise ServingError(
            f"The prompt is {prompt_tokens:,} tokens long and {most}: shorten it.", "BadRequest"
        )
    return min(limit, left)


def _marks(tokenizer: Any, *, tools: bool) -> Marks:
    tool_marks = (tokenizer.tool_call_start, tokenizer.tool_call_end or None) if tools else (None, None)
    return Marks(tokenizer.think_start, tokenizer.think_end, *tool_marks)
