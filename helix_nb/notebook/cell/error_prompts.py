"""The last error of the notebook as a prompt: the cell it came from, and its traceback, trimmed."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError
from ...text import printable
from ..attach.budget import cut
from ..attach.source_code import in_cell
from ..session import CellFailure, RunningCell

TRACEBACK_TOKENS = 1_500
CELL_TOKENS = 6_000
LIBRARY_FRAMES = 3
NOTHING = "There is no error to {what}; run this after a cell that failed."

FIX = (
    "This cell of a Jupyter notebook failed. Say in a sentence or two why, then give the whole"
    " corrected cell as one Python code block."
)
EXPLAIN = "This cell of a Jupyter notebook failed. Explain in plain words what happened, why, what to change."
EXPLAIN_CELL = "Explain what this cell of a Jupyter notebook does, step by step, in plain words."


def fix_prompt(cells: RunningCell, names: Mapping[str, Any], words: str) -> str:
    """What is asked by `%helix fix`; ConfigError when nothing failed."""
    return _prompt(FIX, _failure(cells, names, "fix"), words)


def explain_prompt(cells: RunningCell, names: Mapping[str, Any], words: str) -> str:
    """What is asked by `%helix explain`; ConfigError when nothing failed."""
    return _prompt(EXPLAIN, _failure(cells, names, "explain"), words)


def explain_cell_prompt(source: str, words: str) -> str:
    """What is asked by `%helix explain N`."""
    return "\n\n".join(
        part for part in (EXPLAIN_CELL, _block("python", cut(source, CELL_TOKENS)), words) if part
    )


def trimmed(error: BaseException) -> str:
    """A traceback without colours: the user's own frames, and the last few of libraries."""
    frames = list(traceback.extract_tb(error.__traceback__))
    users = [number for number, frame in enumerate(frames) if _is_users(frame)]
    frames = frames[users[0] :] if users else frames
    last = len(frames) - LIBRARY_FRAMES
    lines, left_out = ["Traceback (most recent call last):"], 0
    for number, frame in enumerate(frames):
        if number < last and not _is_users(frame):
            left_out += 1
            continue
        if left_out:
            lines, left_out = [*lines, f"  ... {left_out} frames of libraries ..."], 0
        lines.append(f"  {_where(frame)}, line {frame.lineno}, in {frame.name}\n    {frame.line}")
    lines += [line.rstrip("\n") for line in traceback.format_exception_only(error)]
    return cut(printable("\n".join(lines)), TRACEBACK_TOKENS)


def _failure(cells: RunningCell, names: Mapping[str, Any], what: str) -> CellFailure:
    if cells.failure is not None:
        return cells.failure
    error = getattr(sys, "last_value", None)
    sources = names.get("In") or []
    magics_own = hasattr(error, "_render_traceback_")
    if not isinstance(error, Exception) or magics_own or len(sources) < 2:
        raise ConfigError(NOTHING.format(what=what))
    return CellFailure(sources[-2], error)


def _prompt(what: str, failure: CellFailure, words: str) -> str:
    parts = [
        what,
        _block("python", cut(failure.source, CELL_TOKENS)),
        "It ended with:",
        _block("", trimmed(failure.error)),
        words,
    ]
    return "\n\n".join(part for part in parts if part)


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _is_users(frame: traceback.FrameSummary) -> bool:
    name = frame.filename
    return in_cell(name) or ("site-packages" not in name and _local(name))


def _local(name: str) -> bool:
    return not name.startswith((sys.prefix, sys.base_prefix)) and bool(linecache.getlines(name))


def _where(frame: traceback.FrameSummary) -> str:
    return "Cell" if in_cell(frame.filename) else f'File "{frame.filename}"'
