"""Talk to language models in notebooks; every exchange is a row of a DataFrame.

>>> import helix_nb as hx
>>> reply = hx.ask("What is the capital of France?", endpoint="demo")
>>> print(reply)
The capital of France is Paris.
>>> int(hx.log(last=1)["total_tokens"].iloc[0]) > 0
True
"""

from __future__ import annotations

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
    "batch": "dataframes.history",
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
__all__ = sorted([*_PUBLIC, *_ERRORS, "last", "load_ipython_extension"])  # noqa: PLE0605 - held by a test

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "last":
        return import_module(".chat.ask", __name__).last()
    module = _PUBLIC.get(name, "errors" if name in _ERRORS else None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Add `%%helix` and `%helix`; what `%load_ext helix_nb` calls."""
    from .notebook.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take the magics out again; what `%unload_ext helix_nb` calls."""
    from .notebook.extension import unload

    unload(ipython)


_install_accessors()
