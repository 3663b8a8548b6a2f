"""`%helix help`: what the tables of commands and options say, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...text import did_you_mean
from ..cell.options import OPTIONS, table
from .table import BY_NAME, COMMANDS

if TYPE_CHECKING:
    from ..session import NotebookSession


def show(_session: NotebookSession, _found: Any, words: list[str]) -> None:
    """Print the list of commands, or one command with its options."""
    print(page(words[0]) if words else overview())


def overview() -> str:
    """All commands, one line each, and how a cell is asked."""
    lines = [
        "%%helix [MODEL] [OPTIONS]",
        "    Ask what stands in the cell; `%helix help cell` lists the options.",
    ]
    lines += ["%helix", "    Where this session stands: endpoint, model, key, chats, tokens."]
    for command in COMMANDS:
        lines += [f"%helix {command.synopsis}", f"    {command.help}"]
    return "\n".join(lines)


def page(name: str) -> str:
    """One command, or the cell magic, with its options."""
    if name in ("cell", "%%helix", "helix"):
        opening = (
            "%%helix [MODEL] [OPTIONS]\n    Ask what stands in the cell; {{expression}} puts a value in."
        )
        return f"{opening}\n\n{table(OPTIONS)}"
    command = BY_NAME.get(name)
    if command is None:
        guess = did_you_mean(name, [*BY_NAME, "cell"])
        raise ConfigError(f"%helix has no command {name!r}.{guess}")
    said = f"%helix {command.synopsis}\n    {command.help}"
    return f"{said}\n\n{table(command.options)}" if command.options else said
