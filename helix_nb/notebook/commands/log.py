"""`%helix log`, `usage`, `replay`: the log from a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ConfigError

if TYPE_CHECKING:
    import argparse

    import pandas as pd

    from ..session import NotebookSession


def log(_session: NotebookSession, found: argparse.Namespace, words: list[str]) -> pd.DataFrame:
    """The last exchanges."""
    if words and not words[0].isdecimal():
        raise ConfigError(f"%helix log takes a number of rows, not {words[0]!r}.")
    last = int(words[0]) if words else None
    from ...records.reading.frames import log as rows

    return rows(
        found.scope or "kernel",
        since=found.since,
        status=found.status,
        search=found.search,
        model=found.model,
        last=last,
    )


def usage(_session: NotebookSession, found: argparse.Namespace, words: list[str]) -> pd.DataFrame:
    """Tokens and cost by a column."""
    by = words[0] if words else "model"
    from ...records.reading.analysis import usage as summed
    from ...records.reading.frames import log as rows

    frame = None
    if found.scope or found.since:
        frame = rows(found.scope or "kernel", since=found.since, text=False)
    return summed(frame, by=by)


def replay(_session: NotebookSession, _found: argparse.Namespace, words: list[str]) -> None:
    """Report or switch between the network and what was recorded."""
    from ...records.logbook import logbook

    print(f"replay: {logbook.replay(*words)}")
