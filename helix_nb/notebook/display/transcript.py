"""A chat to read: as safe HTML in a cell, as Markdown in a file."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ...markdown import to_html
from ...messages import Message
from ...text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...chat.chat import Chat

ROLE = "font-size:85%;opacity:.65;margin-top:.8em"


class Transcript:
    """A chat's messages; it displays as safe HTML, and prints as text."""

    def __init__(self, name: str, messages: list[Message]) -> None:
        self.name, self.messages = name, messages

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        parts = [f'<div style="{ROLE}">{escape(said)}</div>{to_html(text)}' for said, text in self._read()]
        return {"text/html": "".join(parts), "text/plain": str(self)}

    def __str__(self) -> str:
        return printable("\n\n".join(f"{said}:\n{text}" for said, text in self._read()))

    def __repr__(self) -> str:
        return f"<Transcript of chat {self.name}: {len(self.messages)} messages>"

    def _read(self) -> Iterator[tuple[str, str]]:
        for message in self.messages:
            calls = "".join(f"\n\n`{call.name}({call.arguments})`" for call in message.tool_calls)
            yield (
                message.role + (f" {message.name}" if message.name else ""),
                f"{message.text}{calls}".strip(),
            )


def transcript(name: str, chat: Chat) -> Transcript:
    """The chat as it would be sent now."""
    return Transcript(name, [Message.of(message) for message in chat.messages])


def exported(name: str, chat: Chat) -> str:
    """The chat as a Markdown document."""
    parts = [f"# {name}"]
    parts += [f"**{said}**\n\n{text}" for said, text in transcript(name, chat)._read()]
    return "\n\n".join(parts) + "\n"
