"""What a user attaches to a message: text files join the prompt, images go beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...messages import Message
from ...prompts.images import MAX_BYTES
from ...redaction import redact
from ...text import printable
from .protocol import FileView

SHOWN_BYTES = 300_000  # larger images are shown by name, not sent back to every view
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class File:
    """An attachment: a text file (`text`) or an image (`data`, or only a `url` of one)."""

    name: str
    text: str | None = None
    data: bytes | None = None
    mime: str = ""
    url: str | None = None

    @property
    def size(self) -> int:
        return len(self.data if self.data is not None else (self.text or "").encode())

    @property
    def label(self) -> str:
        """Its name, to show."""
        return redact(printable(self.name))

    def view(self) -> FileView:
        """The attachment as shown; nothing here makes a browser fetch anything."""
        shown: FileView = {"name": self.label, "size": self.size}
        if self.data is not None and self.mime in _IMAGES and len(self.data) <= SHOWN_BYTES:
            shown["url"] = f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"
        return shown


def received(files: Sequence[Mapping[str, Any]], buffers: Sequence[Any]) -> tuple[File, ...]:
    """The attachments of a message from a view, whose binary buffers they are, in order.

    In the message itself a text would grow by what JSON escapes, beyond what Jupyter lets through.
    """
    rest = iter(buffers or ())
    made = []
    for entry in files:
        name, mime, data = (
            str(entry.get("name") or "file"),
            str(entry.get("mime") or ""),
            bytes(next(rest, b"")),
        )
        if entry.get("text"):
            made.append(File(name, text=data.decode("utf-8-sig", "replace"), mime=mime))
        else:
            made.append(File(name, data=data, mime=mime))
    if sum(file.size for file in made) > MAX_BYTES:
        raise ConfigError(f"The attachments are larger than {MAX_BYTES / 1e6:.0f} MB; nothing was sent.")
    return tuple(made)


def prompt_with(text: str, files: Sequence[File]) -> str:
    """The prompt that is sent: what was typed, then each text file in a fence that it cannot close."""
    parts = [text] if text.strip() else []
    for file in files:
        if file.text is not None:
            longest = max((len(run) for run in re.findall(r"`{3,}", file.text)), default=2)
            fence = "`" * (longest + 1)
            parts.append(f"File {file.name}:\n{fence}\n{file.text.rstrip()}\n{fence}")
    return "\n\n".join(parts)


def images_of(files: Sequence[File]) -> list[Any]:
    """What goes out as images."""
    return [file.data if file.data is not None else file.url for file in files if file.text is None]


def prompt_of(message: Message) -> tuple[str, tuple[File, ...]]:
    """A user's message taken apart again: its text, and its images as attachments."""
    if not isinstance(message.content, tuple):
        return message.text, ()
    urls = [part["image_url"]["url"] for part in message.content if part.get("type") == "image_url"]
    return message.text, tuple(_image(url, number) for number, url in enumerate(urls, 1))


def _image(url: str, number: int) -> File:
    found = _DATA_URL.fullmatch(url)
    if found is None:
        return File("image" if url.startswith("data:") else url, url=url)
    return File(f"image {number}", data=base64.b64decode(found[2]), mime=found[1])
