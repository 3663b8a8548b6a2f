"""What a user attaches to a message: text files join the prompt, images go beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...messages import Message
from ...prompts.images import MAX_BYTES
from ...redaction import redact
from ...text import printable
from .protocol import FileView

MAX_SHOWN_BYTES = 300_000  # larger images are shown by name, not sent back to every view
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class File:
    """An attachment: a text file or an image."""

    name: str
    text: str | None = None  # of a text file
    data: bytes | None = None  # of an image
    mime: str = ""
    url: str | None = None  # of an image that is elsewhere

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self.data if self.data is not None else (self.text or "").encode())

    @property
    def label(self) -> str:
        """Its name as shown."""
        return redact(printable(self.name))

    def view(self) -> FileView:
        """Return the attachment for a view; nothing in it makes a browser fetch anything."""
        view: FileView = {"name": self.label, "size": self.size}
        if self.data is not None and self.mime in _IMAGES and len(self.data) <= MAX_SHOWN_BYTES:
            view["url"] = f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"
        return view


def received_files(files: Sequence[Mapping[str, Any]], buffers: Sequence[Any]) -> tuple[File, ...]:
    """Return the attachments of a message from a view; their bytes are its buffers, in order.

    In the message itself a text would grow by what JSON escapes, beyond what Jupyter lets through.

    Raises:
        ConfigError: together they are larger than what can be sent.
    """
    contents = iter(buffers or ())
    attachments = tuple(_received_file(entry, bytes(next(contents, b""))) for entry in files)
    if sum(file.size for file in attachments) > MAX_BYTES:
        raise ConfigError(f"The attachments are larger than {MAX_BYTES / 1e6:.0f} MB; nothing was sent.")
    return attachments


def _received_file(entry: Mapping[str, Any], data: bytes) -> File:
    name, mime = str(entry.get("name") or "file"), str(entry.get("mime") or "")
    if entry.get("text"):
        return File(name, text=data.decode("utf-8-sig", "replace"), mime=mime)
    return File(name, data=data, mime=mime)


def file_at(path: str | Path) -> File:
    """Read an image or a text file to attach; ConfigError where it is neither, or cannot be read."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    mime = guess_type(path.name)[0] or ""
    if mime.startswith("image/"):
        return File(path.name, data=data, mime=mime)
    try:
        return File(path.name, text=data.decode("utf-8-sig"), mime=mime)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is neither an image nor text in UTF-8.") from None


def prompt_with(text: str, files: Sequence[File]) -> str:
    """Return the prompt to send: what was typed, then each text file in a fence that it cannot close."""
    parts = [text] if text.strip() else []
    for file in files:
        if file.text is not None:
            longest = max((len(run) for run in re.findall(r"`{3,}", file.text)), default=2)
            fence = "`" * (longest + 1)
            parts.append(f"File {file.name}:\n{fence}\n{file.text.rstrip()}\n{fence}")
    return "\n\n".join(parts)


def images_of(files: Sequence[File]) -> list[Any]:
    """Return what goes out as images."""
    return [file.data if file.data is not None else file.url for file in files if file.text is None]


def prompt_of(message: Message) -> tuple[str, tuple[File, ...]]:
    """Take a user's message apart again: its text, and its images as attachments."""
    if not isinstance(message.content, tuple):
        return message.text, ()
    urls = [part["image_url"]["url"] for part in message.content if part.get("type") == "image_url"]
    return message.text, tuple(_image(url, number) for number, url in enumerate(urls, 1))


def _image(url: str, number: int) -> File:
    data_url = _DATA_URL.fullmatch(url)
    if data_url is None:
        return File("image" if url.startswith("data:") else url, url=url)
    return File(f"image {number}", data=base64.b64decode(data_url[2]), mime=data_url[1])
