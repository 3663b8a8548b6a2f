"""`%helix ask`, `fix` and `explain`: what asks the model from a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ..cell.arguments import split_prompt
from ..cell.request import CellRequest, build_cell_request
from ..cell.run import answer, dry_run

if TYPE_CHECKING:
    from ...replies import Reply
    from ..session import NotebookSession

CELL_NUMBER = re.compile(r"(?:In\[)?(\d+)\]?")


def ask(session: NotebookSession, line: str) -> Reply | None:
    """Ask TEXT, show nothing, and return the Reply; None after a dry run."""
    options, text = split_prompt(line, "%helix ask")
    if text is None:
        build_cell_request(session, line, "x", "%helix ask")  # what is wrong with the options comes first
        raise ConfigError("%helix ask takes its prompt after `--`: %helix ask [OPTIONS] -- TEXT")
    request = build_cell_request(session, options, text.strip(), "%helix ask")
    if len(request.options.models) > 1:
        raise ConfigError("%helix ask takes one model; several -m are for %%helix.")
    return _run(session, request, show=False)


def fix(session: NotebookSession, line: str) -> None:
    """Show what is wrong with the last error's cell, and the cell as it should be."""
    from ..cell.error_prompts import fix_prompt

    options, words = split_prompt(line, "%helix fix")
    _show(session, options, fix_prompt(session, words or ""), "%helix fix")


def explain(session: NotebookSession, line: str) -> None:
    """Show an explanation of the last error, or of the cell In[N]."""
    from ..attach.names import value_of
    from ..cell.error_prompts import explain_cell_prompt, explain_prompt

    options, words = split_prompt(line, "%helix explain")
    first, _, rest = options.strip().partition(" ")
    if number := CELL_NUMBER.fullmatch(first):
        source = value_of(f"In[{number[1]}]", session.names)
        _show(session, rest, explain_cell_prompt(source, words or ""), "%helix explain")
    else:
        _show(session, options, explain_prompt(session, words or ""), "%helix explain")


def _show(session: NotebookSession, line: str, text: str, magic: str) -> None:
    """Ask and show the answer as a cell does, with a text that is never interpolated."""
    request = build_cell_request(session, f"--raw {line}", text, magic)
    if len(request.options.models) > 1:
        raise ConfigError(f"{magic} takes one model.")
    _run(session, request, show=True)


def _run(session: NotebookSession, request: CellRequest, *, show: bool) -> Reply | None:
    if request.options.dry_run:
        dry_run(request)
        return None
    return answer(session, request, show=show)
