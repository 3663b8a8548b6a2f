"""What completion offers for each kind of value: models, endpoints, chats, variables, files, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.registry import endpoints, resolve
from ..config.session import aliases, known_default_model
from ..demo import faults
from ..errors import ConfigError
from ..records.models import known_models
from .attach.names import NO_PATH
from .cell.options import FORMATS

if TYPE_CHECKING:
    from .session import NotebookSession

FIXED = {
    "format": FORMATS,
    "profile": ("helix", "openai"),
    "scope": ("kernel", "notebook", "all"),
    "status": ("ok", "truncated", "interrupted", "error", "pending", "lost"),
    "replay": ("off", "reuse", "only"),
    "by": ("model", "endpoint", "status", "source", "day", "hour", "cell", "notebook"),
}


def values(kind: str, fragment: str, session: NotebookSession) -> Iterable[str]:
    """Everything of a kind that is known now; nothing is asked of any server."""
    names = session.shell.user_ns
    readers: dict[str, Callable[[], Iterable[str]]] = {
        "model": lambda: models(session),
        "endpoint": endpoints,
        "chat": lambda: {*session.chats, "default"},
        "alias": aliases,
        "command": _commands,
        "system": lambda: [f"@{name}" for name in variables(names) if isinstance(names[name], str)],
        "variable": lambda: variables(names),
        "image": lambda: [*files(fragment), *variables(names)],
        "context": lambda: [*files(fragment), *variables(names)],
        "file": lambda: files(fragment),
    }
    return FIXED.get(kind) or (readers[kind]() if kind in readers else ())


def models(session: NotebookSession) -> list[str]:
    """Aliases, models already seen for any endpoint, defaults in use."""
    found = [*aliases()]
    for connection in endpoints().values():
        found += known_models(connection.name)
        found += [known_default_model(connection) or ""]
    if _current(session) == "demo":
        found += faults.MODELS
    return [name for name in found if name]


def variables(names: Any) -> list[str]:
    """The user's own names: no modules of IPython, no history, nothing hidden."""
    hidden = ("In", "Out", "exit", "quit", "get_ipython", "open")
    return [name for name in list(names) if not name.startswith("_") and name not in hidden]


def files(fragment: str) -> list[str]:
    """The files and folders that go on from a fragment of a path."""
    folder, _, _ = fragment.rpartition("/")
    prefix = f"{folder}/" if "/" in fragment else ""
    try:
        base = Path(prefix or ".").expanduser()
        found = [f"{prefix}{path.name}{'/' if path.is_dir() else ''}" for path in base.iterdir()]
    except NO_PATH:
        return []
    return [name for name in found if " " not in name and not Path(name).name.startswith(".")]


def _commands() -> list[str]:
    from .commands.table import BY_NAME

    return [*BY_NAME, "cell"]


def _current(session: NotebookSession) -> str | None:
    try:
        return resolve(session.defaults.endpoint).name
    except ConfigError:
        return None
