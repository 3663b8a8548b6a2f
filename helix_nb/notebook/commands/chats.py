"""`%helix chats`, `chat`, `reset`, `panel`: the named chats of this kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...config.connection import Connection
from ...errors import ConfigError
from ...text import count_of, printable
from ..attach.names import NO_PATH
from ..session import DEFAULT

if TYPE_CHECKING:
    import argparse

    import pandas as pd

    from ...chat.chat import Chat
    from ..display.transcript import Transcript
    from ..panel.widget import ChatPanel
    from ..session import NotebookSession


def chats(session: NotebookSession, _options: argparse.Namespace, _words: list[str]) -> pd.DataFrame:
    """Return one row per chat: name, turns, model, endpoint, last_prompt, thread_id."""
    import pandas as pd

    rows = [
        (name, len(chat.turns), chat.model, _endpoint(chat), _last_prompt(chat), chat.thread_id)
        for name, chat in session.chats.items()
    ]
    columns = ["name", "turns", "model", "endpoint", "last_prompt", "thread_id"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns, "str") | {"turns": "Int64"})


def chat(session: NotebookSession, options: argparse.Namespace, words: list[str]) -> Transcript | None:
    """Show a chat's transcript; or fork it, export it, resume it."""
    from ..display.transcript import Transcript

    name = words[0] if words else DEFAULT
    if options.resume:
        _resume(session, name)
    chat = session.chats[name]
    if options.fork:
        _fork(session, name, chat, options.fork)
    if options.export:
        _export(name, chat, options.export)
    return None if options.resume or options.fork or options.export else Transcript(name, chat)


def reset(session: NotebookSession, options: argparse.Namespace, words: list[str]) -> None:
    """Forget a chat, or all of them; what the log has of them stays."""
    names = list(session.chats) if options.all else [words[0] if words else DEFAULT]
    if not options.all and not words and DEFAULT not in session.chats:
        print("There is no chat to forget.")
        return
    for name in names:
        session.chats.forget(name)
    print(f"forgotten: {', '.join(names)}" if names else "There is no chat to forget.")


def panel(session: NotebookSession, _options: argparse.Namespace, words: list[str]) -> ChatPanel:
    """Open the chat panel, on a named chat or a new one."""
    from ..panel.widget import ChatPanel

    if not words:
        return ChatPanel()
    chat = session.chats.get_or_new(words[0])
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
    print(f"chat {name}: {count_of(len(chat.turns), 'turn')}, taken up from the log")
    if note:
        print(printable(note))


def _fork(session: NotebookSession, name: str, chat: Chat, new_name: str) -> None:
    if new_name in session.chats:
        raise ConfigError(f"The chat {new_name!r} exists; %helix reset {new_name} forgets it.")
    session.chats.add(new_name, chat.fork())
    print(f"chat {new_name}: {count_of(len(chat.turns), 'turn')}, forked from {name}")


def _export(name: str, chat: Chat, path_text: str) -> None:
    from ..display.transcript import Transcript

    try:
        path = Path(path_text).expanduser()
        path.write_text(str(Transcript(name, chat)), encoding="utf-8")
    except NO_PATH as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path_text} cannot be written: {why}.") from None
    print(f"chat {name}: {count_of(len(chat.turns), 'turn')}, written to {path}")


def _endpoint(chat: Chat) -> str | None:
    endpoint = chat.endpoint
    return endpoint.name if isinstance(endpoint, Connection) else endpoint


def _last_prompt(chat: Chat) -> str | None:
    return chat.turns[-1].messages[0].text if chat.turns else None
