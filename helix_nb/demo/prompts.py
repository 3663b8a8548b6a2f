"""How the demo endpoint reads a conversation: what was said last, and what it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]
LOOKED_AT = 4_000  # characters of a system message: searching for pairs of words takes the square of them


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, parts joined by newlines."""
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def last_prompt(messages: Messages) -> str:
    """What the user said last."""
    return next((text_of(m).strip() for m in reversed(messages) if m["role"] == "user"), "")


def zones(prompt: str) -> Iterator[tuple[str, str]]:
    """Ways to cut a prompt into an instruction and the material it is about."""
    if head := re.match(r"([^:\n]{1,300}?)(?::\s|\n|(?<=[?.!]) )\s*(\S.*)", prompt, re.DOTALL):
        yield head.group(1), head.group(2)
        if deeper := re.match(r"([^:\n]{1,300}):\s+(\S.*)", head.group(2), re.DOTALL):
            yield f"{head.group(1)} {deeper.group(1)}", deeper.group(2)
    lines = prompt.rsplit("\n", 1)
    if len(lines) == 2 and len(lines[1]) <= 300:
        yield lines[1], lines[0].strip()
    if "\n" not in prompt and len(prompt) <= 300:
        yield prompt, prompt


def material(prompt: str) -> str:
    """The part of the prompt that an instruction is about; all of it when there is no telling."""
    head = re.match(r"[^:\n]{1,300}?(?::\s|\n)\s*(\S.*)", prompt, re.DOTALL)
    return head.group(1).strip() if head else prompt


def instructed(keyword: str, prompt: str, messages: Messages) -> tuple[str, str] | None:
    """The (instruction, material) where the instruction, or else the system message, has the keyword."""
    for instruction, about in zones(prompt):
        if re.search(keyword, instruction, re.IGNORECASE):
            return instruction, about
    for message in messages:
        said = text_of(message)[:LOOKED_AT] if message["role"] == "system" else ""
        if re.search(keyword, said, re.IGNORECASE):
            return said, prompt
    return None
