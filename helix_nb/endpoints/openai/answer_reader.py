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
from ..sections import Kind, Marks, Sections
from .chunks import choice_of, cost_of, pieces_of, usage_of
from .error_body import ErrorBody
from .errors import stream_error, unreadable_error, web_page_error
from .sse import MAX_EVENT_BYTES, Event, Stray

_INLINE_THOUGHTS = Marks("<think>", "</think>")
_HTML = re.compile(r"\s*<(?:!doctype|html)\b", re.IGNORECASE)
_ERROR_WORDS = re.compile(r"\berror|\bfail", re.IGNORECASE)
_ERROR_KEYS = ("message", "detail", "msg", "errors")
# Of a text without spaces around it; not strict: servers let a raw \x0b or tab into a string.
_decode = json.JSONDecoder(strict=False).raw_decode


class AnswerReader:
    """Reads one answer: `read` each event, then `close`; the deltas that they return may raise HelixError."""

    def __init__(self, connection: Connection, url: str, model: str | None) -> None:
        self._connection, self._url, self._model = connection, url, model
        self._sections = Sections(_INLINE_THOUGHTS)
        self._stray: list[str] = []  # lines outside the format that may be parts of one JSON body
        self._stray_size = 0
        self._begun = False
        self._names: dict[str, str] = {}  # the model and the id, as the server said them last
        self.finished = False  # the answer is complete; token counts may follow
        self.done = False  # `[DONE]` came: what follows is no part of the answer

    def read(self, event: Event | Stray) -> Iterable[Delta]:
        """Return what one event adds to the answer."""
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
        yield from self._flush()

    def _read_event(self, event: Event) -> Iterable[Delta]:
        text = event.data.strip()
        if text == "[DONE]":
            self.done = self.finished = True
            return self._flush(finished=True)
        if text in ("", "null"):
            return ()
        data = _json(text)
        if isinstance(data, dict):
            return self._read_object(data, failed=event.name == "error")
        if data is None and "\n" in text:  # events without the blank line between them
            return (delta for line in text.split("\n") for delta in self.read(event._replace(data=line)))
        return () if event.cut else self._fail(text)

    def _read_object(self, data: Mapping[str, Any], *, failed: bool) -> Iterable[Delta]:
        if failed or _is_error(data):
            return self._raise(ErrorBody.from_json(data))
        choice = choice_of(data)
        reason = choice.get("finish_reason") or None
        unstreamed = isinstance(choice.get("message"), dict) and not isinstance(choice.get("delta"), dict)
        ends = (unstreamed or reason is not None) and reason != "error"
        self.finished = self.finished or ends
        delta = self._delta(data, choice, reason, ends=ends)
        if reason != "error":
            return (delta,)
        error_body = ErrorBody.from_json(choice.get("error") or {"message": "finish_reason: error"})
        return chain((delta,), self._raise(error_body))

    def _delta(self, data: Mapping[str, Any], choice: Mapping[str, Any], reason: Any, *, ends: bool) -> Delta:
        pieces = pieces_of(choice)
        usage, cost = (usage_of(data), cost_of(data)) if data.get("usage") else (None, None)
        text, thought = pieces.text, ""
        if not self._sections.settled:
            sections = self._sections.feed(text)
            text, thought = _texts(sections + self._sections.flush() if ends else sections)
        delta = Delta(
            text=text,
            reasoning=pieces.reasoning + thought,
            tool_calls=pieces.tool_calls,
            finish_reason=reason if isinstance(reason, str) else None,
            finished=ends,
            usage=usage,
            model=self._new_name(data, "model"),
            response_id=self._new_name(data, "id"),
            cost=cost,
            currency=None if cost is None else "USD",  # what OpenRouter and its like mean by usage.cost
        )
        self._begun = self._begun or bool(delta.text or delta.reasoning or delta.tool_calls)
        return delta

    def _new_name(self, data: Mapping[str, Any], key: str) -> str | None:
        """Return the name that the server gives itself or its answer, where it is another than before."""
        name = data.get(key)
        if not isinstance(name, str) or not name or self._names.get(key) == name:
            return None
        self._names[key] = name
        return name

    def _read_stray(self, text: str) -> Iterator[Delta]:
        """Read a line outside the format: of a JSON body over several lines, or an error in words."""
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

    def _fail(self, text: str) -> Iterator[Delta]:
        """Yield held back text, then raise what words outside any JSON answer mean."""
        yield from self._flush()
        error = stream_error(self._connection, ErrorBody.of(text), self._model, begun=self._begun)
        if isinstance(error, StreamFailed) and error.status_code is None and not _ERROR_WORDS.search(text):
            error = unreadable_error(self._connection, text)
        raise error

    def _raise(self, error_body: ErrorBody) -> Iterator[Delta]:
        """Yield held back text, then raise what the server reported."""
        yield from self._flush()
        raise stream_error(self._connection, error_body, self._model, begun=self._begun)

    def _flush(self, *, finished: bool = False) -> Iterator[Delta]:
        text, reasoning = _texts(self._sections.flush())
        self._begun = self._begun or bool(text or reasoning)
        if text or reasoning or finished:
            yield Delta(text=text, reasoning=reasoning, finished=finished)


def _texts(sections: Iterable[tuple[Kind, str]]) -> tuple[str, str]:
    """Return the answer and the reasoning of some sections."""
    answer = reasoning = ""
    for kind, text in sections:
        if kind == "answer":
            answer += text
        else:
            reasoning += text
    return answer, reasoning


def _json(text: str) -> Any:
    """Return decoded JSON; None for null and for what is not JSON."""
    try:
        data, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return data if end == len(text) else None


def _is_error(data: Mapping[str, Any]) -> bool:
    if data.get("error") or "error" in (data.get("object"), data.get("type")):
        return True
    return "choices" not in data and any(key in data for key in _ERROR_KEYS)
