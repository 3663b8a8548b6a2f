"""Builds a Reply from deltas as they arrive; it can be read at any moment."""

from __future__ import annotations

import time
from dataclasses import astuple
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from ..config.connection import Connection
from ..errors import HelixError
from ..messages import Request
from ..origin import new_id
from ..records.pricing import cost_of
from ..redaction import KeyFilter, redact
from ..replies import Delta, Reply, Status, ToolCall, ToolCallDelta, Usage

SAVE_EVERY_S = 2.0  # the partial text of a long stream
_FACT_NAMES = (
    *("finish_reason", "usage", "model", "response_id", "http_status", "cost", "currency"),
    *("replay_of", "endpoint"),
)
_facts_of = attrgetter(*_FACT_NAMES)
_NO_FACTS = _facts_of(Delta())


class ReplyBuilder:
    """Build the Reply of one exchange on the background loop; any thread may call `reply()`."""

    def __init__(self, request: Request, connection: Connection) -> None:
        self.request = request
        self.finished = False  # the endpoint said that the answer is complete
        self._final: Reply | None = None
        self._started_s = self._saved_s = time.monotonic()
        self._text, self._reasoning = _GrowingText(), _GrowingText()
        self._calls: dict[tuple[int, int], ToolCall] = {}  # by their index, and how many had it before
        self._facts: dict[str, Any] = {  # fields of the Reply, which is made only when it is read
            "exchange_id": new_id(),
            "model_requested": request.model,
            "endpoint": connection.name,
            "base_url": connection.base_url,
            "started_at": datetime.now(UTC),
            "attempts": 0,
        }

    @property
    def has_content(self) -> bool:
        """Whether any of the answer has arrived; from then on the request may not be sent again."""
        return bool(self._text or self._reasoning or self._calls)

    @property
    def tokens_used(self) -> int | None:
        """The tokens of this try as reported: 0 where nothing arrived, None where they are unknown."""
        arrived = self.has_content or self.finished
        return self._facts.get("usage", Usage()).total_tokens if arrived else 0

    def count_attempt(self) -> None:
        """Count one try at sending the request."""
        self._facts["attempts"] += 1

    def add(self, delta: Delta) -> Delta:
        """Take in a delta and return it as it may be shown, without any known key."""
        if self.request.schema is not None and "tools" not in self.request.params:
            delta = _read_forced_call(delta)
        text = self._text.feed(delta.text, last=delta.finished)
        reasoning = self._reasoning.feed(delta.reasoning, last=delta.finished or bool(delta.text))
        if delta.text or delta.reasoning or delta.tool_calls:
            self._note_first_token()
        for call in delta.tool_calls:
            self._add_call(call)
        self._add_facts(delta)
        if text == delta.text and reasoning == delta.reasoning:
            return delta
        return delta._replace(text=text, reasoning=reasoning)

    def is_save_due(self) -> bool:
        """Return whether the log should save the partial text now; True at most every SAVE_EVERY_S."""
        now_s = time.monotonic()
        if now_s - self._saved_s < SAVE_EVERY_S or not self.has_content:
            return False
        self._saved_s = now_s
        return True

    def close(self, status: Status, error: HelixError | None = None) -> Reply:
        """Set how the exchange ended, and return the final Reply."""
        self._text.feed("", last=True)
        self._reasoning.feed("", last=True)
        ended_ms = (time.monotonic() - self._started_s) * 1000
        self._facts.update(status=status, ended_at=datetime.now(UTC), duration_ms=ended_ms)
        if error is not None:
            self._facts.update(error_type=type(error).__name__, error=str(error))
            if error.status_code is not None:
                self._facts["http_status"] = error.status_code
        self._price()
        self._final = self.reply()
        if error is not None:
            error.reply = self._final
        return self._final

    def reply(self) -> Reply:
        """Return the Reply so far; once it is closed, always the same one."""
        if self._final is not None:
            return self._final
        calls = tuple(ToolCall(*map(_clean, astuple(call))) for _, call in sorted(self._calls.items()))
        return Reply(text=str(self._text), reasoning=str(self._reasoning), tool_calls=calls, **self._facts)

    def _price(self) -> None:
        facts = self._facts
        model = facts.get("model") or facts["model_requested"]
        usage = facts.get("usage", Usage())
        cost = cost_of(facts["base_url"], model, usage, facts.get("cost"), facts.get("currency"))
        facts.update(zip(("cost", "currency", "cost_source"), cost, strict=True))

    def _note_first_token(self) -> None:
        if "first_token_at" not in self._facts and self.request.stream:
            elapsed_ms = (time.monotonic() - self._started_s) * 1000
            self._facts.update(first_token_at=datetime.now(UTC), time_to_first_token_ms=elapsed_ms)

    def _add_call(self, piece: ToolCallDelta) -> None:
        earlier = [key for key in self._calls if key[0] == piece.index]
        key = earlier[-1] if earlier else (piece.index, 0)
        if earlier and _begins_unnumbered_call(piece, self._calls[key]):
            key = (piece.index, len(earlier))
        call = self._calls.get(key, ToolCall("", "", ""))
        self._calls[key] = ToolCall(
            piece.id or call.id, piece.name or call.name, call.arguments + piece.arguments
        )

    def _add_facts(self, delta: Delta) -> None:
        self.finished = self.finished or delta.finished
        if (facts := _facts_of(delta)) != _NO_FACTS:
            for name, value in zip(_FACT_NAMES, facts, strict=True):
                if value is not None:
                    self._facts[name] = _clean(value) if isinstance(value, str) else value
        if delta.note:
            notes = self._facts.get("notes", ())
            self._facts["notes"] = notes if delta.note in notes else (*notes, _clean(delta.note))


def _begins_unnumbered_call(piece: ToolCallDelta, call: ToolCall) -> bool:
    """Return whether a piece begins another call, because some servers give all calls index 0."""
    return bool(call.id and piece.id and piece.name) and piece.id != call.id


def _read_forced_call(delta: Delta) -> Delta:
    """Make the arguments of a tool call the text: a schema went out as a forced tool call."""
    arguments = "".join(call.arguments for call in delta.tool_calls)
    return delta._replace(text=delta.text + arguments, tool_calls=()) if delta.tool_calls else delta


def _clean(text: str) -> str:
    return redact(_join_surrogates(text))


def _join_surrogates(text: str) -> str:
    """Join surrogates to characters, and replace lone ones, because no front end and no file takes those."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class _GrowingText:
    """Text that grows by pieces; keys and characters that are split over pieces are put together first."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._filter = KeyFilter()
        self._fed = False  # any text, shown or held back
        self._high_surrogate = ""  # of a character whose other half comes with the next piece

    def feed(self, piece: str, *, last: bool) -> str:
        """Take in a piece and return the text that can be shown now."""
        if not piece and not last:
            return ""
        self._fed = self._fed or bool(piece)
        piece, self._high_surrogate = self._high_surrogate + piece, ""
        if not last and "\ud800" <= piece[-1:] <= "\udbff":
            piece, self._high_surrogate = piece[:-1], piece[-1]
        piece = _join_surrogates(piece)
        shown = (self._filter.feed(piece) if piece else "") + (self._filter.flush() if last else "")
        if shown:
            self._pieces.append(shown)
        return shown

    def __bool__(self) -> bool:
        return self._fed

    def __str__(self) -> str:
        return "".join(self._pieces)
