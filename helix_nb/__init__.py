"""Talk to language models in notebooks; every exchange is a row of a DataFrame.

>>> import helix_nb as hx
>>> reply = hx.ask("What is the capital of France?", endpoint="demo")
>>> print(reply)
The capital of France is Paris.
>>> int(hx.log(last=1)["total_tokens"].iloc[0]) > 0
True
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__
from .dataframes import install as _install_accessors

# Where each public name lives; loaded at first use, so that importing helix_nb costs nothing.
_PUBLIC = {
    "Chat": "chat.chat",
    "ChatPanel": "notebook.panel.widget",
    "Reply": "replies",
    "Usage": "replies",
    "aask": "chat.ask",
    "ask": "chat.ask",
    "ask_parquet": "dataframes.parquet.ask",
    "astream": "chat.ask",
    "batch": "dataframes.logged_batch",
    "compare": "records.reading.analysis",
    "connect": "config.registry",
    "latency": "records.reading.analysis",
    "log": "records.reading.frames",
    "logbook": "records.logbook",
    "models": "records.models",
    "plot": "records.reading.plots",
    "stream": "chat.ask",
    "transcript": "records.reading.frames",
    "usage": "records.reading.analysis",
    "use": "config.registry",
}
_ERRORS = (
    "AuthError",
    "BadRequest",
    "ChatBusy",
    "ConfigError",
    "ConnectionFailed",
    "HelixError",
    "LocalModelError",
    "NotAllowed",
    "QuotaExceeded",
    "RateLimited",
    "ReplayMiss",
    "RowsFailed",
    "SchemaMismatch",
    "ServerError",
    "StreamFailed",
    "TimedOut",
    "TruncatedReply",
    "UnknownModel",
)
# Modules that pickles of 0.1.0 name, and where their classes stand now.
_MOVED_MODULES = {
    "connection": "config.connection",
    "dataframes.job": "dataframes.batch",
    "dataframes.recipe": "dataframes.rows.requests",
    "keys": "config.secrets",
    "session": "config.session",
    "turns": "chat.turns",
}
_RENAMED_CLASSES = {"Job": "Batch", "Recipe": "BatchSpec"}
__all__ = sorted([*_PUBLIC, *_ERRORS, "last", "load_ipython_extension"])  # noqa: PLE0605 - held by a test

if TYPE_CHECKING:  # what editors and type checkers see of the names above
    from IPython.core.interactiveshell import InteractiveShell

    from .chat.ask import aask as aask
    from .chat.ask import ask as ask
    from .chat.ask import astream as astream
    from .chat.ask import stream as stream
    from .chat.chat import Chat as Chat
    from .config.registry import connect as connect
    from .config.registry import use as use
    from .dataframes.logged_batch import batch as batch
    from .dataframes.parquet.ask import ask_parquet as ask_parquet
    from .errors import AuthError as AuthError
    from .errors import BadRequest as BadRequest
    from .errors import ChatBusy as ChatBusy
    from .errors import ConfigError as ConfigError
    from .errors import ConnectionFailed as ConnectionFailed
    from .errors import HelixError as HelixError
    from .errors import LocalModelError as LocalModelError
    from .errors import NotAllowed as NotAllowed
    from .errors import QuotaExceeded as QuotaExceeded
    from .errors import RateLimited as RateLimited
    from .errors import ReplayMiss as ReplayMiss
    from .errors import RowsFailed as RowsFailed
    from .errors import SchemaMismatch as SchemaMismatch
    from .errors import ServerError as ServerError
    from .errors import StreamFailed as StreamFailed
    from .errors import TimedOut as TimedOut
    from .errors import TruncatedReply as TruncatedReply
    from .errors import UnknownModel as UnknownModel
    from .notebook.panel.widget import ChatPanel as ChatPanel
    from .records.logbook import logbook as logbook
    from .records.models import models as models
    from .records.reading.analysis import compare as compare
    from .records.reading.analysis import latency as latency
    from .records.reading.analysis import usage as usage
    from .records.reading.frames import log as log
    from .records.reading.frames import transcript as transcript
    from .records.reading.plots import plot as plot
    from .replies import Reply as Reply
    from .replies import Usage as Usage

    last: Reply | None


def _load(name: str) -> Any:
    from importlib import import_module

    if name == "last":
        return import_module(".chat.ask", __name__).last_reply()
    module = _PUBLIC.get(name, "errors" if name in _ERRORS else None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # because type checkers would take any name to exist, of any type
    __getattr__ = _load


class _MovedModule(ModuleType):
    """The old name of a module that has moved: its names are those of the module at its new place."""

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module

        if name.startswith("__"):
            raise AttributeError(name)
        new_place = _MOVED_MODULES[self.__name__.partition(".")[2]]
        return getattr(import_module(f".{new_place}", __name__), _RENAMED_CLASSES.get(name, name))


for _name in _MOVED_MODULES:
    sys.modules[f"{__name__}.{_name}"] = _MovedModule(f"{__name__}.{_name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Add `%%helix` and `%helix`, as `%load_ext helix_nb` does."""
    from .notebook.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take the magics out again, as `%unload_ext helix_nb` does."""
    from .notebook.extension import unload

    unload(ipython)


_install_accessors()
