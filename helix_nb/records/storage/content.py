"""What is stored of the words: cleaned of keys, attachments once, all of it or none."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import warn
from ...messages import json_default
from ...redaction import redact

_DATA_URL = re.compile(r"data:([\w.+/-]*);base64,([A-Za-z0-9+/=]+)\Z")
_REFERENCE = "helix_nb:attachment"
_ATTACHED_TEXT = "text/vnd.helix-nb.attachment"  # beside the types of data: URLs


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """What may be stored of the words: none of them, or each after the user's own redaction."""

    text: bool = True
    redact: Callable[[str], str] | None = None

    def clean(self, text: str | None) -> str | None:
        """A text as it may be stored: no keys, no lone surrogates, the user's redaction applied."""
        if text is None or not self.text:
            return None
        text = plain(text)
        if self.redact is None:
            return text
        try:
            cleaned = self.redact(text)
            if not isinstance(cleaned, str):
                raise TypeError(f"it returned {type(cleaned).__name__}, not text")
            return plain(cleaned)
        except Exception as failure:  # noqa: BLE001 - the user's function; what it refuses is not stored
            warn(
                f"The log's redact function failed ({type(failure).__name__}: {failure}): text was left out."
            )
            return None


def plain(text: str) -> str:
    """A text without keys that SQLite can hold."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return redact(text)


def hash_of(text: str | bytes) -> bytes:
    """BLAKE2b, 16 bytes."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.blake2b(data, digest_size=16).digest()


def with_references(connection: sqlite3.Connection, number: int, data: Any, keeping: ContentPolicy) -> Any:
    """JSON data with data: URLs and attached texts stored once and referred to, every other text cleaned."""
    if isinstance(data, Mapping):
        return {key: with_references(connection, number, value, keeping) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [with_references(connection, number, value, keeping) for value in data]
    if not isinstance(data, str):
        return data
    attachment = _attachment(data, keeping)
    if attachment is None:
        return keeping.clean(data)
    digest = hash_of(data)
    connection.execute("INSERT OR IGNORE INTO attachments VALUES (?, ?, ?)", (digest, *attachment))
    connection.execute("INSERT OR IGNORE INTO attached VALUES (?, ?)", (number, digest))
    return {_REFERENCE: digest.hex()}


def _attachment(text: str, keeping: ContentPolicy) -> tuple[str, bytes] | None:
    if text.startswith("<attachment "):
        return _ATTACHED_TEXT, (keeping.clean(text) or "").encode("utf-8", "replace")
    found = _DATA_URL.match(text) if text.startswith("data:") else None
    if found is None:
        return None
    try:
        data = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return None
    return (found[1], data) if base64.b64encode(data).decode() == found[2] else None


def with_attachments(connection: sqlite3.Connection, data: Any) -> Any:
    """JSON data with the stored attachments in place of their references."""
    if isinstance(data, list):
        return [with_attachments(connection, value) for value in data]
    if not isinstance(data, dict):
        return data
    if set(data) != {_REFERENCE}:
        return {key: with_attachments(connection, value) for key, value in data.items()}
    digest = bytes.fromhex(data[_REFERENCE])
    found = connection.execute("SELECT mime, data FROM attachments WHERE hash = ?", (digest,)).fetchone()
    if found is None:
        return ""
    if found[0] == _ATTACHED_TEXT:
        return bytes(found[1]).decode()
    return f"data:{found[0]};base64,{base64.b64encode(found[1]).decode()}"


def to_json(data: Any) -> str:
    """JSON text; numpy and pandas values become numbers and lists, what JSON does not know its str()."""
    return _encoded(data)


_encoded = json.JSONEncoder(ensure_ascii=False, default=json_default).encode
