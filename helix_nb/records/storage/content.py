"""What is stored of prompts and answers: without keys, attachments once, all of it or none."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import warn
from ...messages import json_default
from ...redaction import redact
from .location import is_off

_DATA_URL = re.compile(r"data:([\w.+/-]*);base64,([A-Za-z0-9+/=]+)\Z")
_REFERENCE = "helix_nb:attachment"
_ATTACHED_TEXT = "text/vnd.helix-nb.attachment"  # beside the types of data: URLs


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """What may be stored of prompts and answers: no text at all, or each after the user's own redaction."""

    text: bool = True
    redact: Callable[[str], str] | None = None

    def clean(self, text: str | None) -> str | None:
        """Return a text as it may be stored; None where it may not be, and where the redaction fails."""
        if text is None or not self.text:
            return None
        text = storable(text)
        if self.redact is None:
            return text
        try:
            cleaned = self.redact(text)
            if not isinstance(cleaned, str):
                raise TypeError(f"it returned {type(cleaned).__name__}, not text")
            return storable(cleaned)
        except Exception as failure:  # noqa: BLE001 - the user's function; what it refuses is not stored
            warn(
                f"The log's redact function failed ({type(failure).__name__}: {failure}): text was left out."
            )
            return None

    def attachment(self, text: str) -> tuple[str, bytes] | None:
        """Return the MIME type and the bytes of an attached text or a data: URL; None for other texts."""
        if text.startswith("<attachment "):
            return _ATTACHED_TEXT, (self.clean(text) or "").encode("utf-8", "replace")
        url = _DATA_URL.match(text) if text.startswith("data:") else None
        if url is None:
            return None
        mime, encoded = url.groups()
        try:
            data = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return None
        # What would not come back letter for letter stays a text.
        return (mime, data) if base64.b64encode(data).decode() == encoded else None


_policy = ContentPolicy(text=not is_off(os.environ.get("HELIX_NB_LOG_TEXT", "")))


def content_policy() -> ContentPolicy:
    """Return the policy that holds now, for every log of this process."""
    return _policy


def set_content_policy(policy: ContentPolicy) -> None:
    """Store prompts and answers by this policy from now on."""
    global _policy
    _policy = policy


def storable(text: str) -> str:
    """Return a text without keys, and without the lone surrogates that SQLite cannot hold."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return redact(text)


def hash_of(text: str | bytes) -> bytes:
    """Return the BLAKE2b hash of a text, 16 bytes."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.blake2b(data, digest_size=16).digest()


def store_attachments(connection: sqlite3.Connection, number: int, data: Any, policy: ContentPolicy) -> Any:
    """Store the attachments inside JSON data once each; return the data with references, texts cleaned.

    `number` is the exchange that they belong to.
    """
    if isinstance(data, Mapping):
        return {key: store_attachments(connection, number, value, policy) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [store_attachments(connection, number, value, policy) for value in data]
    if not isinstance(data, str):
        return data
    attachment = policy.attachment(data)
    if attachment is None:
        return policy.clean(data)
    digest = hash_of(data)
    connection.execute("INSERT OR IGNORE INTO attachments VALUES (?, ?, ?)", (digest, *attachment))
    connection.execute("INSERT OR IGNORE INTO attached VALUES (?, ?)", (number, digest))
    return {_REFERENCE: digest.hex()}


def load_attachments(connection: sqlite3.Connection, data: Any) -> Any:
    """Return JSON data with the stored attachments in place of their references."""
    if isinstance(data, list):
        return [load_attachments(connection, value) for value in data]
    if not isinstance(data, dict):
        return data
    if set(data) != {_REFERENCE}:
        return {key: load_attachments(connection, value) for key, value in data.items()}
    digest = bytes.fromhex(data[_REFERENCE])
    row = connection.execute("SELECT mime, data FROM attachments WHERE hash = ?", (digest,)).fetchone()
    if row is None:
        return ""
    mime, content = row
    if mime == _ATTACHED_TEXT:
        return bytes(content).decode()
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


# JSON text; numpy and pandas values become numbers and lists, what JSON does not know its str().
to_json: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, default=json_default).encode
