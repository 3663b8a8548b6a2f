"""The last error of the notebook as a prompt: the cell it came from, and its traceback, trimmed."""

from __future__ import annotations

import linecache
import sys
import traceback

from ...errors import ConfigError
from ...text import printable
from ..attach.budget import cut
from ..attach.source_code import in_cell
from ..session import CellFailure, NotebookSession

TRACEBACK_TOKENS = 1_500
CELL_TOKENS = 6_000
LIBRARY_FRAMES = 3

FIX = (
    "This cell of a Jupyter notebook failed. Say in a sentence or two why, then give the whole"
    " corrected cell as one Python code block."
)
EXPLAIN = "This cell of a Jupyter notebook failed. Explain in plain words what happened, why, what to change."
EXPLAIN_CELL = "Explain what this cell of a Jupyter notebook does, step by step, in plain words."


def fix_prompt(session: NotebookSession, words: str) -> str:
    """Return the prompt of `%helix fix`; ConfigError when nothing failed."""
    return _failure_prompt(FIX, _last_failure(session, "fix"), words)


def explain_prompt(session: NotebookSession, words: str) -> str:
    """Return the prompt of `%helix explain`; ConfigError when nothing failed."""
    return _failure_prompt(EXPLAIN, _last_failure(session, "explain"), words)


def explain_cell_prompt(source: str, words: str) -> str:
    """Return the prompt of `%helix explain N`."""
    return _paragraphs(EXPLAIN_CELL, _block("python", cut(source, CELL_TOKENS)), words)


def trimmed_traceback(error: BaseException) -> str:
    """Write a traceback without colours: the user's own frames, and the last few of libraries."""
    frames = list(traceback.extract_tb(error.__traceback__))
    first = next((number for number, frame in enumerate(frames) if _is_users_own(frame)), 0)
    frames = frames[first:]
    last = len(frames) - LIBRARY_FRAMES
    lines, left_out = ["Traceback (most recent call last):"], 0
    for number, frame in enumerate(frames):
        if number < last and not _is_users_own(frame):
            left_out += 1
            continue
        if left_out:
            lines, left_out = [*lines, f"  ... {left_out} frames of libraries ..."], 0
        lines.append(f"  {_where(frame)}, line {frame.lineno}, in {frame.name}\n    {frame.line}")
    lines += [line.rstrip("\n") for line in traceback.format_exception_only(error)]
    return cut(printable("\n".join(lines)), TRACEBACK_TOKENS)


def _last_failure(session: NotebookSession, command: str) -> CellFailure:
    """Return the last cell that failed, also one that ran before the extension was loaded."""
    if session.cell.failure is not None:
        return session.cell.failure
    error = getattr(sys, "last_value", None)
    sources = session.names.get("In") or []
    is_magics_own = hasattr(error, "_render_traceback_")
    if not isinstance(error, Exception) or is_magics_own or len(sources) < 2:
        raise ConfigError(f"There is no error to {command}; run this after a cell that failed.")
    return CellFailure(sources[-2], error)


def _failure_prompt(task: str, failure: CellFailure, words: str) -> str:
    source, trace = cut(failure.source, CELL_TOKENS), trimmed_traceback(failure.error)
    return _paragraphs(task, _block("python", source), "It ended with:", _block("", trace), words)


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _is_users_own(frame: traceback.FrameSummary) -> bool:
    """Return whether a frame is of a cell, or of a file outside this Python."""
    name = frame.filename
    of_python = "site-packages" in name or name.startswith((sys.prefix, sys.base_prefix))
    return in_cell(name) or (not of_python and bool(linecache.getlines(name)))


def _where(frame: traceback.FrameSummary) -> str:
    return "Cell" if in_cell(frame.filename) else f'File "{frame.filename}"'
