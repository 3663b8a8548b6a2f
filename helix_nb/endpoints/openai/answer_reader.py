"""Events of an answer to Deltas, for every way that servers spell them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ...config.connection import Connection
from ...errors import StreamFailed
from ...replies import Delta
from .chunks import choice_of, cost_of, pieces_of, usage_of
from .error_body import ErrorBody
from .errors import stream_error, unreadable_error, web_page_error
from .sse import MAX_EVENT_BYTES, Event, Stray
from .thinking import ThinkSplitter

_HTML = re.compile(r"\s*<(?:!doctype|html)\b", re.IGNORECASE)
# Of a text without spaces around it; not strict: servers let a raw \x0b or tab into a string.
_decoded = json.JSONDecoder(strict=False).raw_decode
_ERROR_KEYS = ("message", "detail", "msg", "errors")


class AnswerReader:
    """Reads one answer: `read` each event, then `close`. Both raise HelixError.

    `finished` is true once the answer is complete, `done` from `[DONE]` on: whatever follows that
    is no part of the answer. `waited_s` is for whoever waits in between.
    """

    def __init__(self, connection: Connection, url: str, model: str | None) -> None:
        self._connection, self._url, self._model = connection, url, model
        self._thinking = ThinkSplitter()
        self._stray: list[str] = []
        self._stray_size = 0
        self._begun = False
        self._known: dict[str, str] = {}
        self.finished = False
        self.done = False
        self.waited_s = 0.0

    def read(self, event: Event | Stray) -> Iterable[Delta]:
        """What one event adds to the answer; going through it may raise."""
        if self.done:
            return ()
        if isinstance(event, Stray):
            return self._read_stray(event.text)
        if self._stray:
            return self._fail("\n".join(self._stray))
        return self._read_event(event)

    def close(self, *, cut: bool = False) -> Iterator[Delta]:
        """Yield what is left at the end of the bytes; `cut` when the connection broke."""
        text = "\n".join(self._stray).strip()
        unfinished = cut or (text.startswith("{") and not text.endswith("}"))
        if text and not self.done and not unfinished:
            yield from self._fail(text)
        yield from self._rest()

    def _read_stray(self, text: str) -> Iterator[Delta]:
        """Take lines outside the format: one JSON body over several lines, or an error in words."""
        self._stray.append(text)
        self._stray_size += len(text)
        first = self._stray[0].strip()
        if first == "[DONE]":
            yield from self._read_event(Event(first))
        elif first[:1] not in ("{", "[") or self._stray_size > MAX_EVENT_BYTES:
            if _HTML.match(text) and not self._begun:
                raise web_page_error(self._connection, self._url)
            yield from self._fail(text)
        elif len(self._stray) == 1 or text in ("}", "]"):
            data = _json("\n".join(self._stray).strip())
            if isinstance(data, dict):
                self._stray.clear()
                yield from self._read_object(data, failed="choices" not in data)

    def _read_event(self, event: Event) -> Iterable[Delta]:
        text = event.data.strip()
        if text == "[DONE]":
            self.done = self.finished = True
            return self._rest(finished=True)
        if text in ("", "null"):
            return ()
        data = _json(text)
        if isinstance(data, dict):
            return self._read_object(data, failed=event.name == "error")
        if data is None and "\n" in text:  # events without the blank line between them
            return (delta for line in text.split("\n") for delta in self.read(event._replace(data=line)))
        return () if event.cut else self._fail(text)

    def _read_object(self, data: Mapping[str, Any], *, failed: bool) -> Iterable[Delta]:
        says_error = bool(data.get("error")) or "error" in (data.get("object"), data.get("type"))
        if failed or says_error or ("choices" not in data and any(key in data for key in _ERROR_KEYS)):
            return self._raise(ErrorBody.from_json(data))
        choice = choice_of(data)
        reason = choice.get("finish_reason") or None
        whole = isinstance(choice.get("message"), dict) and not isinstance(choice.get("delta"), dict)
        ends = (whole or reason is not None) and reason != "error"
        self.finished = self.finished or ends
        delta = self._delta(data, choice, reason, ends=ends)
        if reason != "error":
            return (delta,)
        complaint = ErrorBody.from_json(choice.get("error") or {"message": "finish_reason: error"})
        return chain((delta,), self._raise(complaint))

    def _delta(self, data: Mapping[str, Any], choice: Mapping[str, Any], reason: Any, *, ends: bool) -> Delta:
        pieces = pieces_of(choice)
        usage, cost = (usage_of(data), cost_of(data)) if data.get("usage") else (None, None)
        text, thought = self._thinking.feed(pieces.text)
        if ends:
            rest, rest_thought = self._thinking.flush()
            text, thought = text + rest, thought + rest_thought
        delta = Delta(
            text=text,
            reasoning=pieces.reasoning + thought,
            tool_calls=pieces.tool_calls,
            finish_reason=reason if isinstance(reason, str) else None,
            finished=ends,
            usage=usage,
            model=self._new(data, "model"),
            response_id=self._new(data, "id"),
            cost=cost,
            currency=None if cost is None else "USD",  # what OpenRouter and its like mean by usage.cost
        )
        self._begun = self._begun or bool(delta.text or delta.reasoning or delta.tool_calls)
        return delta

    def _new(self, data: Mapping[str, Any], name: str) -> str | None:
        """A name the server gives itself or its answer, where it says another one than before."""
        value = data.get(name)
        if not isinstance(value, str) or not value or self._known.get(name) == value:
            return None
        self._known[name] = value
        return value

    def _fail(self, text: str) -> Iterator[Delta]:
        """Yield held back text, then raise what words outside any JSON answer mean."""
        yield from self._rest()
        error = stream_error(self._connection, ErrorBody.of(text), self._model, begun=self._begun)
        if isinstance(error, StreamFailed) and error.status_code is None and not _sounds_like_error(text):
            error = unreadable_error(self._connection, text)
        raise error

    def _raise(self, complaint: ErrorBody) -> Iterator[Delta]:
        """Yield held back text, then raise what the server reported."""
        yield from self._rest()
        raise stream_error(self._connection, complaint, self._model, begun=self._begun)

    def _rest(self, *, finished: bool = False) -> Iterator[Delta]:
        text, reasoning = self._thinking.flush()
        self._begun = self._begun or bool(text or reasoning)
        if text or reasoning or finished:
            yield Delta(text=text, reasoning=reasoning, finished=finished)


def _json(text: str) -> Any:
    """Decoded JSON; None for null and for what is not JSON."""
    try:
        data, end = _decoded(text)
    except (ValueError, RecursionError):
        return None
    return data if end == len(text) else None


def _sounds_like_error(text: str) -> bool:
    return re.search(r"\berror|\bfail", text, re.IGNORECASE) is not None
