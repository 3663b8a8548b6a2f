"""Bytes of a `text/event-stream` to events: pure, incremental, and forgiving.

Lines end at `\\n`, `\\r\\n` or `\\r` bytes only: U+2028 and U+0085 may stand inside a JSON string.
A line that is no field of the format is not dropped, as the standard says, but kept as `Stray`:
Helix and others report errors that way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...errors import StreamFailed

MAX_EVENT_BYTES = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")


class Event(NamedTuple):
    """One event of a stream."""

    data: str
    name: str = ""
    cut: bool = False  # the bytes ended before the blank line that closes an event


class Stray(NamedTuple):
    """A line that is no field of an event stream."""

    text: str


class Splitter:
    """Splits bytes into events: `feed` them as they come, then `close`.

    However the bytes are cut, the events are the same.

    >>> splitter = Splitter()
    >>> list(splitter.feed(b'data: {"a"')), list(splitter.feed(b': 1}\\n\\n'))
    ([], [Event(data='{"a": 1}', name='', cut=False)])
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_event_bytes
        self._open = bytearray()  # the line that has not ended yet
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._first = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[Event | Stray]:
        """Yield what these bytes complete; StreamFailed when one event outgrows all bounds."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        lines = chunk.splitlines()  # of bytes, it knows these three line ends and no other
        rest = b"" if chunk.endswith((b"\n", b"\r")) or not lines else lines.pop()
        for line in lines:
            item = self._take_line(self._join_open(line))
            if isinstance(item, Stray) and (before := self._take_event()) is not None:
                yield before
            if item is not None:
                yield item
        self._after_cr = self._after_cr or chunk.endswith(b"\r")
        self._open += rest
        mark = self._first and self._open.startswith(_BOM)  # no part of the line, so not of its size
        self._check_size(len(self._open) - len(_BOM) * mark)

    def close(self) -> Iterator[Event | Stray]:
        """Yield what the end of the bytes leaves over."""
        line, item = self._join_open(b""), None
        if line and not any(field.startswith(line) for field in _FIELDS):
            item = self._take_line(line)
        yield from filter(None, (self._take_event(cut=item is None), item))

    def _join_open(self, rest: bytes) -> bytes:
        """Return the whole line of which this is the end."""
        if not self._open:
            return rest
        line = bytes(self._open) + rest
        self._open.clear()
        return line

    def _take_line(self, line: bytes) -> Event | Stray | None:
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        if not line:
            return self._take_event()
        self._check_size(len(line))
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value)
        elif field == b"event":
            self._name = _text(value)
        elif field and field not in _FIELDS and line.strip():
            return Stray(_text(line))
        return None

    def _take_event(self, *, cut: bool = False) -> Event | None:
        data, name = self._data, self._name
        if not data:
            self._name = ""
            return None
        self._data, self._data_bytes, self._name = [], 0, ""
        return Event(_text(data[0] if len(data) == 1 else b"\n".join(data)), name, cut)

    def _check_size(self, line_bytes: int) -> None:
        if self._data_bytes + line_bytes > self._max_bytes:
            raise StreamFailed(
                f"The server sent more than {self._max_bytes:,} bytes without ending an event; it was left."
            )


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
