"""`%helix ask`, `fix` and `explain`: what asks the model from a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError
from .answer import answer, dry_run
from .arguments import split_prompt

if TYPE_CHECKING:
    from ..messages import Reply
    from .magics import HelixMagics


def ask(magics: HelixMagics, line: str) -> Reply | None:
    """Ask TEXT, show nothing, and return the Reply."""
    options, text = split_prompt(line, "%helix ask")
    if text is None:
        magics.question(line, "x", "%helix ask")
        raise ConfigError("%helix ask takes its prompt after `--`: %helix ask [OPTIONS] -- TEXT")
    asked = magics.question(options, text.strip(), "%helix ask")
    if len(asked.options.models) > 1:
        raise ConfigError("%helix ask takes one model; several -m are for %%helix.")
    if asked.options.dry_run:
        dry_run(asked)
        return None
    return answer(magics.ip, magics.cells, asked, shown=False)
