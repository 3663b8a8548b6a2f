"""`%helix chats`, `chat`, `reset`, `panel`: the named chats of this kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config.connection import Connection
from ...errors import ConfigError
from ...text import printable
from ..attach.names import NO_PATH
from ..session import DEFAULT, turns

if TYPE_CHECKING:
    import argparse

    import pandas as pd

    from ...chat.chat import Chat
    from ..session import NotebookSession


def chats(session: NotebookSession, _found: argparse.Namespace, _words: list[str]) -> pd.DataFrame:
    """One row per chat: name, turns, model, endpoint, the last prompt, thread_id."""
    import pandas as pd

    rows = [
        (name, len(chat.turns), chat.model, _endpoint(chat), _last_prompt(chat), chat.thread_id)
        for name, chat in session.chats.items()
    ]
    columns = ["name", "turns", "model", "endpoint", "last_prompt", "thread_id"]
    texts = dict.fromkeys(columns, "str") | {"turns": "Int64"}
    return pd.DataFrame(rows, columns=columns).astype(texts)


def chat(session: NotebookSession, found: argparse.Namespace, words: list[str]) -> Any:
    """Show a chat's transcript; or fork it, export it, resume it."""
    from ..display.transcript import exported, transcript

    name = words[0] if words else DEFAULT
    if found.resume:
        _resume(session, name)
    chat = session.chats[name]
    if found.fork:
        if found.fork in session.chats:
            raise ConfigError(f"The chat {found.fork!r} exists; %helix reset {found.fork} forgets it.")
        session.chats.add(found.fork, chat.fork())
        print(f"chat {found.fork}: {turns(len(chat.turns))}, forked from {name}")
    if found.export:
        try:
            path = Path(found.export).expanduser()
            path.write_text(exported(name, chat), encoding="utf-8")
        except NO_PATH as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"{found.export} cannot be written: {why}.") from None
        print(f"chat {name}: {turns(len(chat.turns))}, written to {path}")
    return None if found.resume or found.fork or found.export else transcript(name, chat)


def reset(session: NotebookSession, found: argparse.Namespace, words: list[str]) -> None:
    """Forget a chat, or all of them; what the log has of them stays."""
    names = list(session.chats) if found.all else [words[0] if words else DEFAULT]
    if not found.all and not words and DEFAULT not in session.chats:
        print("There is no chat to forget.")
        return
    for name in names:
        session.chats.forget(name)
    print(f"forgotten: {', '.join(names)}" if names else "There is no chat to forget.")


def panel(session: NotebookSession, _found: argparse.Namespace, words: list[str]) -> Any:
    """Open the chat panel, on a named chat or a new one."""
    from ..panel.widget import ChatPanel

    if not words:
        return ChatPanel()
    chat = session.chats.found(words[0])
    session.chats.add(words[0], chat)
    return ChatPanel(chat)


def _resume(session: NotebookSession, name: str) -> None:
    """Take up the newest thread of the log with that chat's name; ConfigError where there is none."""
    from ...chat.chat import Chat
    from ...chat.resume import resume
    from ...records.reading.threads import newest_thread

    thread = newest_thread({"chat": name})
    if thread is None:
        raise ConfigError(f"The log holds no chat called {name!r} that could be taken up again.")
    chat = Chat()
    note = resume(chat, thread)
    session.chats.add(name, chat)
    print(f"chat {name}: {turns(len(chat.turns))}, taken up from the log")
    if note:
        print(printable(note))


def _endpoint(chat: Chat) -> str | None:
    endpoint = chat.endpoint
    return endpoint.name if isinstance(endpoint, Connection) else endpoint


def _last_prompt(chat: Chat) -> str | None:
    return chat.turns[-1].messages[0].text if chat.turns else None
