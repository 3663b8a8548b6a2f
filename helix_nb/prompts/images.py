"""Images for a prompt: turns a path, URL, bytes, PIL image or matplotlib figure into a content part."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigError

MAX_BYTES = 7_000_000  # as base64 it must fit into the 10 MiB that endpoints take
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # of a PIL image


def image_part(source: Any) -> dict[str, Any]:
    """Return the content part that shows a model an image.

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
        data, name = _read_file(Path(source).expanduser()), f"The image {os.fspath(source)!r}"
    elif isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "The image"
    else:
        data, name = _draw_png(source), f"The {type(source).__name__}"
    if len(data) > MAX_BYTES:
        raise _too_large_error(name, len(data))
    image_format = _image_format(data)
    if image_format is None:
        raise ConfigError(f"{name} is not a PNG, JPEG, GIF or WebP file.")
    return _part(f"data:image/{image_format};base64,{base64.b64encode(data).decode('ascii')}")


def _part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _read_file(path: Path) -> bytes:
    """Return the bytes of a file, unless there are too many."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise _too_large_error(f"The image {str(path)!r}", size)
            return file.read(MAX_BYTES + 1)
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


def _too_large_error(name: str, size_bytes: int) -> ConfigError:
    return ConfigError(f"{name} has {size_bytes / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f} MB can be sent.")


def _image_format(data: bytes) -> str | None:
    """Return the format that the first bytes of an image show, because a file's name may lie."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def _draw_png(source: Any) -> bytes:
    """Draw a PIL image, a matplotlib figure, or the figure of axes as PNG."""
    figure = getattr(source, "figure", source)
    if hasattr(figure, "savefig"):
        return _save(lambda file: figure.savefig(file, format="png", bbox_inches="tight"), source)
    if any(cls.__module__.startswith("PIL.") for cls in type(source).__mro__):
        image = source if source.mode in _PNG_MODES else source.convert("RGB")
        return _save(lambda file: image.save(file, format="PNG"), source)
    raise ConfigError(
        f"An image is a path, URL, bytes, PIL image or matplotlib figure, not {type(source).__name__}."
    )


def _save(save: Callable[[io.BytesIO], object], source: Any) -> bytes:
    file = io.BytesIO()
    try:
        save(file)
    except Exception as problem:  # noqa: BLE001 - a foreign library draws here
        raise ConfigError(f"The {type(source).__name__} cannot be drawn: {problem}.") from None
    return file.getvalue()
