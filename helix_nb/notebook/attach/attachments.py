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
from .budget import BUDGET_TOKENS, cut, hidden, tokens_of
from .names import value_or_path
from .source_code import kind_of, source_of

MOST_FILE_BYTES = 400_000  # about 100,000 tokens
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")


@dataclass(frozen=True, slots=True)
class Attached:
    """One thing sent along: its name, what it is, and its text or the picture that it is."""

    name: str
    kind: str
    text: str = ""
    picture: Any = None

    @property
    def label(self) -> str:
        """How the output line names it."""
        size = "" if self.picture is not None else f", about {tokens_of(self.text):,} tokens"
        return f"{self.name} ({self.kind}{size})"

    @property
    def part(self) -> str:
        """The text as it goes into the prompt."""
        name = self.name.replace('"', "'")
        return f'<attachment name="{name}" kind="{self.kind}">\n{self.text}\n</attachment>'


def attach(word: str, names: Mapping[str, Any], budget: int = BUDGET_TOKENS) -> Attached:
    """Read what `-a WORD` names; ConfigError says why it cannot be attached."""
    value = value_or_path(word, names, "-a")
    if isinstance(value, str) and value is not names.get(word) and value.startswith(("http", "data:")):
        raise ConfigError(
            f"-a reads files and variables, not URLs; fetch {word} first, or use -i for a picture."
        )
    kind, text = _read(word, value, budget)
    if kind == "picture":
        return Attached(word, kind, picture=value)
    if not text.strip():
        raise ConfigError(f"-a: {word} is empty; nothing was sent.")
    return Attached(word, kind, hidden(text))


def is_picture(value: Any) -> bool:
    """Whether a value is a PIL image, a matplotlib figure, or a picture's bytes."""
    if isinstance(value, bytes | bytearray):
        return bytes(value[:4]) in (*PICTURES, b"\xff\xd8\xff" + bytes(value[3:4]))
    modules = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    return ("PIL" in modules and hasattr(value, "save")) or (
        "matplotlib" in modules and hasattr(value, "savefig")
    )


def _read(word: str, value: Any, budget: int) -> tuple[str, str]:
    if isinstance(value, Path):
        return _file(word, value)
    if is_picture(value):
        return "picture", ""
    if isinstance(value, str):
        _refuse_large(word, value)
        return ("cell" if word.startswith("In[") else "text"), value
    if isinstance(value, bytes | bytearray):
        return "text", _text(word, bytes(value))
    return _live(word, value, budget)


def _live(word: str, value: Any, budget: int) -> tuple[str, str]:
    if kind := kind_of(value):
        source = source_of(value)
        if source is None:
            raise ConfigError(f"-a: the source of {word} is not available; nothing was sent.")
        _refuse_large(f"the source of {word}", source)
        return kind, source
    table = next((cls.__name__ for cls in type(value).__mro__ if _is_pandas(cls)), None)
    if table is None:
        return _object(value, budget)
    from .tables import frame_text, series_text

    return frame_text(value, budget) if table == "DataFrame" else series_text(value, budget)


def _is_pandas(cls: type) -> bool:
    return cls.__name__ in ("DataFrame", "Series") and cls.__module__.partition(".")[0] == "pandas"


def _file(word: str, path: Path) -> tuple[str, str]:
    try:
        with path.open("rb") as opened:
            data = opened.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"-a: {word} cannot be read: {error.strerror}.") from None
    if is_picture(data[:16]):
        return "picture", ""
    text = _text(word, data)
    if path.suffix == ".ipynb":
        return "notebook", _notebook(word, text)
    return "file", text


def _text(word: str, data: bytes) -> str:
    _refuse_large(word, data)
    text = _decoded(data)
    if text is None:
        raise ConfigError(
            f"-a: {word} is neither text nor a picture (PNG, JPEG, GIF, WebP); nothing was sent."
        )
    return text


def _refuse_large(word: str, data: str | bytes) -> None:
    """What is so large cannot be meant."""
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "replace"))
    if size > MOST_FILE_BYTES:
        most = f"{MOST_FILE_BYTES // 1000} kB"
        raise ConfigError(f"-a: {word} is larger than {most}; attach the part you mean.")


def _decoded(data: bytes) -> str | None:
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text) else text


def _notebook(word: str, text: str) -> str:
    import json

    try:
        cells = json.loads(text)["cells"]
        return "\n\n".join(f"# %% [{cell['cell_type']}]\n{''.join(cell['source'])}" for cell in cells)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"-a: {word} is not a notebook that can be read; nothing was sent.") from None


def _object(value: Any, budget: int) -> tuple[str, str]:
    try:
        reply = type(value).__name__ == "Reply"
        said = str(value) if reply else pprint.pformat(_some(value, budget), width=100)
    except Exception as error:  # noqa: BLE001 - whatever the user's object raises becomes one sentence
        raise ConfigError(
            f"-a: the repr of that {type(value).__name__} failed with {describe_exception(error)}"
        ) from None
    return type(value).__name__, cut(said, budget)


def _some(value: Any, budget: int, depth: int = 4) -> Any:
    """Of a large container as many items as could fit: each takes half a token at least."""
    kind, most = type(value), 2 * budget
    if depth and kind in (list, tuple, set, frozenset):
        return kind(_some(item, budget, depth - 1) for item in islice(value, most))
    if depth and kind is dict:
        return {key: _some(item, budget, depth - 1) for key, item in islice(value.items(), most)}
    return value
