"""`-a`: files and live objects of the notebook as text that a model can read, within a budget."""

from __future__ import annotations

import pprint
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import ConfigError, describe_exception
from .budget import BUDGET_TOKENS, count_tokens, cut, without_keys
from .names import value_or_path
from .source_code import kind_of, source_of

MAX_FILE_BYTES = 400_000  # about 100,000 tokens
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something that goes along with a prompt, as text or as a picture."""

    name: str  # the word that stood for it
    kind: str  # "file", "DataFrame, 3 × 2", "picture", ...
    text: str = ""
    picture: Any = None

    @property
    def label(self) -> str:
        """Its name, kind and size in words, for the quiet line."""
        size = "" if self.picture is not None else f", about {count_tokens(self.text):,} tokens"
        return f"{self.name} ({self.kind}{size})"

    @property
    def part(self) -> str:
        """The text part that goes into the prompt."""
        name = self.name.replace('"', "'")
        return f'<attachment name="{name}" kind="{self.kind}">\n{self.text}\n</attachment>'


def attach(word: str, names: Mapping[str, Any], budget: int = BUDGET_TOKENS) -> Attachment:
    """Read what `-a WORD` names, within a budget of tokens; ConfigError says why it cannot be attached."""
    value = value_or_path(word, names, "-a")
    if isinstance(value, str) and value is not names.get(word) and value.startswith(("http", "data:")):
        raise ConfigError(
            f"-a reads files and variables, not URLs; fetch {word} first, or use -i for a picture."
        )
    kind, text = _read(word, value, budget)
    if kind == "picture":
        return Attachment(word, kind, picture=value)
    if not text.strip():
        raise ConfigError(f"-a: {word} is empty; nothing was sent.")
    return Attachment(word, kind, without_keys(text))


def is_picture(value: Any) -> bool:
    """Return whether a value is a PIL image, a matplotlib figure, or a picture's bytes."""
    if isinstance(value, bytes | bytearray):
        return bytes(value[:4]) in (*PICTURES, b"\xff\xd8\xff" + bytes(value[3:4]))
    modules = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    return ("PIL" in modules and hasattr(value, "save")) or (
        "matplotlib" in modules and hasattr(value, "savefig")
    )


def _read(word: str, value: Any, budget: int) -> tuple[str, str]:
    """Return the kind of a value and its text; a picture has none."""
    if isinstance(value, Path):
        return _read_file(word, value)
    if is_picture(value):
        return "picture", ""
    if isinstance(value, str):
        _refuse_large(word, value)
        return ("cell" if word.startswith("In[") else "text"), value
    if isinstance(value, bytes | bytearray):
        return "text", _decode(word, bytes(value))
    return _read_object(word, value, budget)


def _read_object(word: str, value: Any, budget: int) -> tuple[str, str]:
    if kind := kind_of(value):
        source = source_of(value)
        if source is None:
            raise ConfigError(f"-a: the source of {word} is not available; nothing was sent.")
        _refuse_large(f"the source of {word}", source)
        return kind, source
    table = next((cls.__name__ for cls in type(value).__mro__ if _is_pandas(cls)), None)
    if table is None:
        return _representation(value, budget)
    from .tables import frame_text, series_text

    return frame_text(value, budget) if table == "DataFrame" else series_text(value, budget)


def _is_pandas(cls: type) -> bool:
    return cls.__name__ in ("DataFrame", "Series") and cls.__module__.partition(".")[0] == "pandas"


def _read_file(word: str, path: Path) -> tuple[str, str]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"-a: {word} cannot be read: {error.strerror}.") from None
    if is_picture(data[:16]):
        return "picture", ""
    text = _decode(word, data)
    if path.suffix == ".ipynb":
        return "notebook", _notebook_source(word, text)
    return "file", text


def _decode(word: str, data: bytes) -> str:
    _refuse_large(word, data)
    text = _unicode(data)
    if text is None:
        raise ConfigError(
            f"-a: {word} is neither text nor a picture (PNG, JPEG, GIF, WebP); nothing was sent."
        )
    return text


def _refuse_large(word: str, data: str | bytes) -> None:
    """Refuse a text too large to be meant."""
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "replace"))
    if size > MAX_FILE_BYTES:
        most = f"{MAX_FILE_BYTES // 1000} kB"
        raise ConfigError(f"-a: {word} is larger than {most}; attach the part you mean.")


def _unicode(data: bytes) -> str | None:
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text) else text


def _notebook_source(word: str, text: str) -> str:
    import json

    try:
        cells = json.loads(text)["cells"]
        return "\n\n".join(f"# %% [{cell['cell_type']}]\n{''.join(cell['source'])}" for cell in cells)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"-a: {word} is not a notebook that can be read; nothing was sent.") from None


def _representation(value: Any, budget: int) -> tuple[str, str]:
    try:
        is_reply = type(value).__name__ == "Reply"
        text = str(value) if is_reply else pprint.pformat(_some_items(value, budget), width=100)
    except Exception as error:  # noqa: BLE001 - whatever the user's object raises becomes one sentence
        raise ConfigError(
            f"-a: the repr of that {type(value).__name__} failed with {describe_exception(error)}"
        ) from None
    return type(value).__name__, cut(text, budget)


def _some_items(value: Any, budget: int, depth: int = 4) -> Any:
    """Return of a large container as many items as could fit: each takes half a token at least."""
    kind, most = type(value), 2 * budget
    if depth and kind in (list, tuple, set, frozenset):
        return kind(_some_items(item, budget, depth - 1) for item in islice(value, most))
    if depth and kind is dict:
        return {key: _some_items(item, budget, depth - 1) for key, item in islice(value.items(), most)}
    return value
