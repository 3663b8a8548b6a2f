"""Which cell is running: its id for the log and for reruns, and the last one that failed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..origin import Origin


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that failed: its source, and the exception it ended with."""

    source: str
    error: BaseException


class Cells:
    """Follows the running cell through IPython's events."""

    def __init__(self) -> None:
        self.cell_id: str | None = None
        self.failure: Failure | None = None
        self._asked = 0

    def pre_run_cell(self, info: Any) -> None:
        """Note the id that the front end gave the cell that is about to run; None where it gives none."""
        self.cell_id = getattr(info, "cell_id", None)
        self._asked = 0

    def post_run_cell(self, result: Any) -> None:
        """Keep a cell's failure for `%helix fix`."""
        error = result.error_before_exec or result.error_in_exec
        if error is None or hasattr(error, "_render_traceback_"):
            return  # nothing failed, or it was a magic's own red line
        if isinstance(error, Exception) and getattr(result.info, "raw_cell", None):
            self.failure = Failure(result.info.raw_cell, error)

    def turn_key(self, what: str) -> str | None:
        """A name for the chat turn of this cell; several asks in one cell are numbered."""
        if self.cell_id is None:
            return None
        self._asked += 1
        return f"{self.cell_id} {what} {self._asked}"

    def origin(
        self,
        source: Literal["cell", "chat", "batch", "api"] = "api",
        *,
        log: bool = True,
        tags: Mapping[str, Any] | None = None,
    ) -> Origin:
        """Who asks: what `hx.ask` in a cell and the magics leave in the log."""
        from ..origin import Origin

        notebook = os.environ.get("JPY_SESSION_NAME")
        return Origin(source=source, notebook=notebook, cell_id=self.cell_id, log=log, tags=dict(tags or {}))
