"""`%helix log`, `usage`, `replay`: the log from a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ConfigError

if TYPE_CHECKING:
    import argparse

    import pandas as pd

    from ..session import NotebookSession


def log(_session: NotebookSession, options: argparse.Namespace, words: list[str]) -> pd.DataFrame:
    """Return the last exchanges, as `hx.log` does."""
    if words and not words[0].isdecimal():
        raise ConfigError(f"%helix log takes a number of rows, not {words[0]!r}.")
    from ...records.reading import frames

    return frames.log(
        options.scope or "kernel",
        since=options.since,
        status=options.status,
        search=options.search,
        model=options.model,
        last=int(words[0]) if words else None,
    )


def usage(_session: NotebookSession, options: argparse.Namespace, words: list[str]) -> pd.DataFrame:
    """Return tokens and cost by a column, as `hx.usage` does."""
    from ...records.reading import analysis, frames

    frame = None
    if options.scope or options.since:
        frame = frames.log(options.scope or "kernel", since=options.since, text=False)
    return analysis.usage(frame, by=words[0] if words else "model")


def replay(_session: NotebookSession, _options: argparse.Namespace, words: list[str]) -> None:
    """Report or switch between the network and what was recorded."""
    from ...records.logbook import logbook

    print(f"replay: {logbook.replay(*words)}")
