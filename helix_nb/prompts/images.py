"""Images for a prompt: a path, URL, bytes, PIL image or matplotlib figure as one content part."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

from ..errors import ConfigError

MOST_BYTES = 7_000_000  # as base64 it must fit into the 10 MiB that endpoints take
_KINDS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def image_part(source: Any) -> dict[str, Any]:
    """Make the content part that shows a model an image.

    Args:
        source: a path, an http(s) or data URL (sent as it is, never fetched here), the bytes of a
            PNG, JPEG, GIF or WebP, a PIL image, or a matplotlib figure or axes.

    Raises:
        ConfigError: it cannot be read, is none of these kinds, or is over 7 MB.

    >>> from helix_nb.prompts.images import image_part
    >>> image_part("https://example.org/cat.png")
    {'type': 'image_url', 'image_url': {'url': 'https://example.org/cat.png'}}
    """
    if isinstance(source, str) and re.match(r"(?:https?://|data:image/)", source, re.IGNORECASE):
        return _part(source)
    if isinstance(source, str | os.PathLike):
        data, name = _read(Path(source).expanduser()), f"The image {os.fspath(source)!r}"
    elif isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "The image"
    else:
        data, name = _drawn(source), f"The {type(source).__name__}"
    if len(data) > MOST_BYTES:
        raise ConfigError(
            f"{name} has {len(data) / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB can be sent."
        )
    kind = _kind(data)
    if kind is None:
        raise ConfigError(f"{name} is not a PNG, JPEG, GIF or WebP file.")
    return _part(f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}")


def _part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _read(path: Path) -> bytes:
    """The bytes of a file; one that is far too large is not read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise _too_large(f"The image {str(path)!r}", size)
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"There is no image {str(path)!r} (working directory: {_working_directory()})."
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{str(path)!r} is a directory, not an image.") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"The image {str(path)!r} cannot be read: {reason}.") from None


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return "gone"


def _too_large(name: str, size_bytes: int) -> ConfigError:
    return ConfigError(
        f"{name} has {size_bytes / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB can be sent."
    )


def _kind(data: bytes) -> str | None:
    """What an image is, by its first bytes; names lie."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for magic, kind in _KINDS if data.startswith(magic)), None)


def _drawn(source: Any) -> bytes:
    """A PIL image, a matplotlib figure or the figure of axes, as PNG."""
    figure = getattr(source, "figure", source)
    if hasattr(figure, "savefig"):
        return _saved(lambda file: figure.savefig(file, format="png", bbox_inches="tight"), source)
    if any(cls.__module__.startswith("PIL.") for cls in type(source).__mro__):
        image = (
            source if source.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else source.convert("RGB")
        )
        return _saved(lambda file: image.save(file, format="PNG"), source)
    raise ConfigError(
        f"An image is a path, URL, bytes, PIL image or matplotlib figure, not {type(source).__name__}."
    )


def _saved(save: Any, source: Any) -> bytes:
    file = io.BytesIO()
    try:
        save(file)
    except Exception as problem:  # noqa: BLE001 - a foreign library draws here; its failure is one sentence
        raise ConfigError(f"The {type(source).__name__} cannot be drawn: {problem}.") from None
    return file.getvalue()
