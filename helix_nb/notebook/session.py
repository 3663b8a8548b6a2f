"""What the magics share in one kernel: the shell, the running cell, named chats, and cells' defaults."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigError
from ..origin import Origin
from ..text import did_you_mean
from .attach.budget import BUDGET_TOKENS

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ..chat.chat import Chat

DEFAULT = "default"

# Of the function that runs a %helix line; empty where a cell does.
_locals: ContextVar[Mapping[str, Any]] = ContextVar("locals", default=MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class CellDefaults:
    """What `%config HelixMagics` sets for every cell; None leaves it to `hx.use`."""

    model: str | None = None
    endpoint: str | None = None
    system: str | None = None
    format: str = "markdown"
    timeout: float | None = None  # seconds
    stream: bool = True
    quiet: bool = False
    attach_tokens: int = BUDGET_TOKENS
    params: Mapping[str, Any] = field(default_factory=dict)  # further parameters, by wire name


@dataclass(frozen=True, slots=True)
class CellFailure:
    """A cell that failed: its source, and the exception it ended with."""

    source: str
    error: BaseException


class RunningCell:
    """The cell that runs now, as IPython's events tell, and the last one that failed."""

    def __init__(self) -> None:
        self.cell_id: str | None = None  # None where the front end gives none
        self.failure: CellFailure | None = None
        self._asks = 0

    def pre_run_cell(self, info: Any) -> None:
        """Note the id of the cell that is about to run."""
        self.cell_id = getattr(info, "cell_id", None)
        self._asks = 0

    def post_run_cell(self, result: Any) -> None:
        """Keep a cell's failure for `%helix fix`; the red line of a magic is none."""
        error = result.error_before_exec or result.error_in_exec
        if error is None or hasattr(error, "_render_traceback_"):
            return
        if isinstance(error, Exception) and getattr(result.info, "raw_cell", None):
            self.failure = CellFailure(result.info.raw_cell, error)

    def turn_key(self, what: str) -> str | None:
        """Return a key for the chat turn of this cell; several asks in one cell are numbered."""
        if self.cell_id is None:
            return None
        self._asks += 1
        return f"{self.cell_id} {what} {self._asks}"

    def origin(
        self,
        source: Literal["cell", "chat", "batch", "api"] = "api",
        *,
        log: bool = True,
        tags: Mapping[str, Any] | None = None,
    ) -> Origin:
        """Return what an ask from this cell leaves in the log about where it came from."""
        notebook = os.environ.get("JPY_SESSION_NAME")
        return Origin(source=source, notebook=notebook, cell_id=self.cell_id, log=log, tags=dict(tags or {}))


class NamedChats(Mapping[str, "Chat"]):
    """The named chats of this kernel."""

    def __init__(self) -> None:
        self._chats: dict[str, Chat] = {}

    def __getitem__(self, name: str) -> Chat:
        if name in self._chats:
            return self._chats[name]
        guess = did_you_mean(name, self._chats, "`%helix chats` lists them.")
        raise ConfigError(f"No chat is called {name!r} in this kernel.{guess}")

    def __contains__(self, name: object) -> bool:
        return name in self._chats

    def __iter__(self) -> Iterator[str]:
        return iter(self._chats)

    def __len__(self) -> int:
        return len(self._chats)

    def get_or_new(self, name: str) -> Chat:
        """Return the chat of that name, or a new one that is not kept yet; ConfigError for a bad name."""
        from ..chat.chat import Chat

        _check_name(name)
        return self._chats.get(name) or Chat()

    def add(self, name: str, chat: Chat) -> None:
        """Keep a chat under a name, instead of one that has it; ConfigError for a bad name."""
        _check_name(name)
        self._chats[name] = chat

    def forget(self, name: str) -> None:
        """Drop a chat."""
        self[name].reset()
        del self._chats[name]


def _check_name(name: str) -> None:
    if not name.strip() or name.startswith("-") or any(char in name for char in "\n\r\t\"'"):
        raise ConfigError(f"A chat cannot be called {name!r}; take letters, digits, dots and dashes.")


kernel_chats = NamedChats()


def turn_line(name: str, chat: Chat, key: str | None) -> str:
    """Return which turn of a chat this cell makes, in words, and whether it replaces one."""
    keys = [turn.key for turn in chat.turns]
    if key is not None and key in keys:
        return f"chat {name}, turn {keys.index(key) + 1} replaced"
    return f"chat {name}, turn {len(keys) + 1}"


class NotebookSession:
    """What commands and completion are handed: the shell and what this kernel holds for the magics.

    Args:
        shell: IPython's shell.
        defaults: returns the settings of `%config HelixMagics` as they stand now.
    """

    def __init__(self, shell: InteractiveShell, defaults: Callable[[], CellDefaults]) -> None:
        self.shell = shell
        self.cell = RunningCell()
        self._defaults = defaults

    @property
    def chats(self) -> NamedChats:
        """The named chats of this kernel; they outlive `%reload_ext`."""
        return kernel_chats

    @property
    def defaults(self) -> CellDefaults:
        """The settings that every cell starts from, as plain data."""
        return self._defaults()

    @property
    def names(self) -> Mapping[str, Any]:
        """The variables where a line stands; `In` holds cells as they were written."""
        history = self.shell.history_manager
        written = {"In": history.input_hist_raw} if history else {}
        return ChainMap(written, dict(_locals.get()), self.shell.user_ns)

    @contextmanager
    def in_function(self, local_ns: Mapping[str, Any] | None) -> Iterator[None]:
        """Have `names` hold the local names of the function that runs a line, too."""
        of_function = local_ns if local_ns is not None and local_ns is not self.shell.user_ns else {}
        token = _locals.set(of_function)
        try:
            yield
        finally:
            _locals.reset(token)
