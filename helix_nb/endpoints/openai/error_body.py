"""The text of a server's error, out of any of the shapes that servers use, as one readable sentence."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...redaction import redact
from ...text import printable

MOST_CHARACTERS = 300
_TEXT_KEYS = ("message", "detail", "msg", "error")
_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TAGS = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error as a server worded it."""

    text: str
    code: str = ""  # its words under `code`, `type` and `status`
    status: int | None = None  # the HTTP status that the body names, whatever the response's is

    @classmethod
    def of(cls, text: str) -> ErrorBody:
        """Read an error body: JSON of any known shape, an event, a page of HTML, plain text."""
        text = text.strip().removeprefix("\ufeff")
        for line in (text, *text.split("\n")):
            value = re.sub(r"^(?:data|error):\s*", "", line.strip())
            if value[:1] in ("{", "["):
                try:
                    return cls.from_json(json.loads(value, strict=False))
                except (ValueError, RecursionError):
                    continue
        return cls(_page_text(text) if _PAGE.match(text) else text)

    @classmethod
    def from_json(cls, data: Any) -> ErrorBody:
        """Read a decoded error: `{"error": ...}`, `{"detail": ...}`, `{"message": ...}`, nested or not."""
        if isinstance(data, list) and data:
            data = data[0]
        if not isinstance(data, Mapping):
            return cls(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False))
        inner = data.get("error") or data.get("errors") or data
        if isinstance(inner, bool | int | float):  # that there is one, or its number
            inner = {"code": inner, **data, "error": None}
        message = data.get("message")
        if not isinstance(inner, Mapping):
            nested = cls.from_json(inner)
            more = f": {message}" if isinstance(message, str) and message else ""
            return cls(nested.text + more, nested.code, _status(data) or nested.status)
        text: Any = next(filter(None, map(inner.get, _TEXT_KEYS)), message)
        if not isinstance(text, str):
            text = json.dumps(inner if text is None else text, ensure_ascii=False, default=str)
        words = [str(inner[key]) for key in ("code", "type", "status") if isinstance(inner.get(key), str)]
        return cls(text, " ".join(words), _status(inner) or _status(data))

    @property
    def words(self) -> str:
        """Everything that may tell what is meant."""
        return f"{self.text} {self.code}"

    @property
    def excerpt(self) -> str:
        """The text on one line, without control characters or keys, cut to a readable length."""
        text = redact(" ".join(printable(self.text).split()))
        return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1].rstrip() + "…"

    @property
    def quotation(self) -> str:
        """` It said: ...`, to be appended to a sentence; empty where the server gave no text."""
        return f" It said: {self.excerpt}" if self.excerpt else ""


def _status(data: Mapping[str, Any]) -> int | None:
    """Return a number from 400 to 599 under one of the usual names."""
    for key in ("code", "status", "status_code", "statusCode"):
        value = data.get(key)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return value
    return None


def _page_text(text: str) -> str:
    """Return the title of a page of HTML, else its text."""
    title = _TITLE.search(text[:5_000])
    return html.unescape(title[2] if title else _TAGS.sub(" ", text[:5_000]))
