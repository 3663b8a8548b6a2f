"""An answer while it arrives: deltas go in, a Reply comes out at any moment."""

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

KEEP_EVERY_S = 2.0
_FACTS = (
    *("finish_reason", "usage", "model", "response_id", "http_status", "cost", "currency"),
    *("replay_of", "endpoint"),
)
_facts_of = attrgetter(*_FACTS)
_NO_FACTS = _facts_of(Delta())


class ReplyBuilder:
    """The Reply so far of one exchange. Only the background loop writes to it; anyone may read `reply()`."""

    def __init__(self, request: Request, connection: Connection) -> None:
        self.request = request
        self.finished = False
        self._final: Reply | None = None
        self._started = time.monotonic()
        self._kept = self._started
        self._text, self._reasoning = _Text(), _Text()
        self._calls: dict[tuple[int, int], ToolCall] = {}  # by their index, and how many had it before
        self._facts: dict[str, Any] = {  # fields of the Reply; a Reply itself is made when somebody looks
            "exchange_id": new_id(),
            "model_requested": request.model,
            "endpoint": connection.name,
            "base_url": connection.base_url,
            "started_at": datetime.now(UTC),
            "attempts": 0,
        }

    @property
    def has_content(self) -> bool:
        """Whether any of the answer arrived; from then on nothing may be sent again."""
        return bool(self._text or self._reasoning or self._calls)

    def attempt(self) -> None:
        """Count one try at sending the request."""
        self._facts["attempts"] += 1

    def add(self, delta: Delta) -> Delta:
        """Take in one step and return it as it may be shown, without any known key."""
        if self.request.schema is not None and "tools" not in self.request.params:
            delta = _answer_of_forced_call(delta)
        text = self._text.feed(delta.text, last=delta.finished)
        reasoning = self._reasoning.feed(delta.reasoning, last=delta.finished or bool(delta.text))
        if delta.text or delta.reasoning or delta.tool_calls:
            self._first_token()
        for call in delta.tool_calls:
            self._add_call(call)
        self._add_facts(delta)
        if text == delta.text and reasoning == delta.reasoning:
            return delta
        return delta._replace(text=text, reasoning=reasoning)

    def due(self) -> bool:
        """Whether the partial text of a long stream should be kept in the log now."""
        now = time.monotonic()
        if now - self._kept < KEEP_EVERY_S or not self.has_content:
            return False
        self._kept = now
        return True

    def close(self, status: Status, error: HelixError | None = None) -> Reply:
        """Set how the exchange ended, and return the final Reply."""
        self._text.feed("", last=True)
        self._reasoning.feed("", last=True)
        ended_ms = (time.monotonic() - self._started) * 1000
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
        """The Reply so far; the same one again once it is closed."""
        if self._final is not None:
            return self._final
        calls = tuple(ToolCall(*map(_clean, astuple(self._calls[index]))) for index in sorted(self._calls))
        return Reply(text=str(self._text), reasoning=str(self._reasoning), tool_calls=calls, **self._facts)

    def _price(self) -> None:
        facts = self._facts
        model = facts.get("model") or facts["model_requested"]
        usage = facts.get("usage", Usage())
        cost = cost_of(facts["base_url"], model, usage, facts.get("cost"), facts.get("currency"))
        facts.update(zip(("cost", "currency", "cost_source"), cost, strict=True))

    def _first_token(self) -> None:
        if "first_token_at" not in self._facts and self.request.stream:
            elapsed_ms = (time.monotonic() - self._started) * 1000
            self._facts.update(first_token_at=datetime.now(UTC), time_to_first_token_ms=elapsed_ms)

    def _add_call(self, piece: ToolCallDelta) -> None:
        before = [key for key in self._calls if key[0] == piece.index]
        key = before[-1] if before else (piece.index, 0)
        so_far = self._calls.get(key, ToolCall("", "", ""))
        if so_far.id and piece.id and piece.name and piece.id != so_far.id:  # nobody numbered the calls
            key, so_far = (piece.index, len(before)), ToolCall("", "", "")
        self._calls[key] = ToolCall(
            piece.id or so_far.id, piece.name or so_far.name, so_far.arguments + piece.arguments
        )

    def _add_facts(self, delta: Delta) -> None:
        self.finished = self.finished or delta.finished
        if (facts := _facts_of(delta)) != _NO_FACTS:
            for name, value in zip(_FACTS, facts, strict=True):
                if value is not None:
                    self._facts[name] = _clean(value) if isinstance(value, str) else value
        if delta.note:
            notes = self._facts.get("notes", ())
            self._facts["notes"] = notes if delta.note in notes else (*notes, _clean(delta.note))


def _answer_of_forced_call(delta: Delta) -> Delta:
    """Where a schema went out as a forced tool call, that call's arguments are the answer."""
    arguments = "".join(call.arguments for call in delta.tool_calls)
    return delta._replace(text=delta.text + arguments, tool_calls=()) if delta.tool_calls else delta


def _clean(text: str) -> str:
    return redact(_whole(text))


def _whole(text: str) -> str:
    """Join surrogates to characters, and replace half ones: no front end and no file takes those."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class _Text:
    """Text that grows by pieces, cleaned of keys and joined to characters even when split over pieces."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._filter = KeyFilter()
        self._any = False
        self._half = ""  # of a character: the second half comes with the next piece

    def feed(self, piece: str, *, last: bool) -> str:
        if not piece and not last:
            return ""
        self._any = self._any or bool(piece)
        piece, self._half = self._half + piece, ""
        if not last and "\ud800" <= piece[-1:] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        piece = _whole(piece)
        shown = (self._filter.feed(piece) if piece else "") + (self._filter.flush() if last else "")
        if shown:
            self._pieces.append(shown)
        return shown

    def __bool__(self) -> bool:
        return self._any

    def __str__(self) -> str:
        return "".join(self._pieces)
