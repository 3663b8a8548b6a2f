"""Asks: checked, sent on the background loop, and waited for; and Chats, which remember.

Inside, imports run resume > chat > ask > streams > pending > request, tools, turns, signature.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "Chat":  # because pickles of 0.1.0 look for it here
        from .chat import Chat

        return Chat
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
