"""A person's ask: checked, sent on the background loop, waited for; and Chats, which remember.

Inside, imports run chat, ask > streams > pending > request; resume > turns.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "Chat":  # pickles of 0.1.0 look for it here
        from .chat import Chat

        return Chat
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
