"""Reading for the demo endpoint: the task in a prompt; sentiment, numbers, dates and names in a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .canned import NEGATIONS, NEGATIVE, POSITIVE

Messages = Sequence[Mapping[str, Any]]
MOST_SEARCHED = 4_000  # characters of a system message: searching for pairs of words takes the square of them
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_MONTH = rf"(?:{_MONTHS}|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.?"
_DATE = re.compile(
    rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? \d{{4}}\b|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}\b"
)
_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w-])")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"https?://[^\s<>\"')]+")
_SENTENCE = re.compile(r"\S.*?(?:[.!?]+(?=\s|$)|$)", re.DOTALL)
_QUOTED = re.compile(r"[\"“]([^\"“”]+)[\"”]|(?<!\w)[‘']([^'‘’]+)['’](?!\w)")
_NAME = re.compile(r"(?<=[\w,;:] )(?!I\b)[A-Z][\w-]*(?: [A-Z][\w-]*)*")
_SIGNED = re.compile(r"(?:[.!?]|\n)\s*([A-Z][a-z]+)\s*$")


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, parts joined by newlines."""
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def last_prompt(messages: Messages) -> str:
    """Return what the user said last."""
    return next((text_of(m).strip() for m in reversed(messages) if m["role"] == "user"), "")


def split_instruction(prompt: str) -> Iterator[tuple[str, str]]:
    """Yield ways to cut a prompt into an instruction and the material it is about."""
    if head := re.match(r"([^:\n]{1,300}?)(?::\s|\n|(?<=[?.!]) )\s*(\S.*)", prompt, re.DOTALL):
        yield head.group(1), head.group(2)
        if deeper := re.match(r"([^:\n]{1,300}):\s+(\S.*)", head.group(2), re.DOTALL):
            yield f"{head.group(1)} {deeper.group(1)}", deeper.group(2)
    lines = prompt.rsplit("\n", 1)
    if len(lines) == 2 and len(lines[1]) <= 300:
        yield lines[1], lines[0].strip()
    if "\n" not in prompt and len(prompt) <= 300:
        yield prompt, prompt


def material_of(prompt: str) -> str:
    """Return the part of the prompt that an instruction is about; all of it when there is no telling."""
    head = re.match(r"[^:\n]{1,300}?(?::\s|\n)\s*(\S.*)", prompt, re.DOTALL)
    return head.group(1).strip() if head else prompt


def find_instruction(keyword: str, prompt: str, messages: Messages) -> tuple[str, str] | None:
    """Return (instruction, material) where the instruction, or else the system message, has the keyword."""
    for instruction, material in split_instruction(prompt):
        if re.search(keyword, instruction, re.IGNORECASE):
            return instruction, material
    for message in messages:
        system = text_of(message)[:MOST_SEARCHED] if message["role"] == "system" else ""
        if re.search(keyword, system, re.IGNORECASE):
            return system, prompt
    return None


def sentiment(text: str) -> str:
    """Return positive, negative or neutral by counting words; a negation turns the next words round."""
    score, turned = 0, 0
    for word in re.findall(r"[a-z']+", text.lower().replace("’", "'")):
        value = (word in POSITIVE) - (word in NEGATIVE)
        score += -value if turned > 0 else value
        turned = 3 if word in NEGATIONS else turned - 1
    return "positive" if score > 0 else "negative" if score < 0 else "neutral"


def dates(text: str) -> list[str]:
    """Return the dates of a text as they are written there."""
    return _DATE.findall(text)


def numbers(text: str) -> list[str]:
    """Return the numbers of a text, thousands separators removed, those inside dates left out."""
    return [number.replace(",", "") for number in _NUMBER.findall(without_dates(text))]


def without_dates(text: str) -> str:
    """Return the text without its dates."""
    return _DATE.sub(" ", text)


def emails(text: str) -> list[str]:
    """Return the e-mail addresses of a text."""
    return _EMAIL.findall(text)


def urls(text: str) -> list[str]:
    """Return the http and https addresses of a text."""
    return _URL.findall(text)


def quotations(text: str) -> list[str]:
    """Return what stands between quotation marks."""
    return [double or single for double, single in _QUOTED.findall(text)]


def names(text: str) -> list[str]:
    """Return capitalised words that do not begin a sentence, and a signature at the end."""
    text = without_dates(text)
    return _NAME.findall(text) + _SIGNED.findall(text)


def first_sentence(text: str) -> str:
    """Return the first sentence, white space made single."""
    sentence = _SENTENCE.search(text)
    return " ".join(sentence.group().split()) if sentence else ""


def long_words(text: str, most: int = 3) -> list[str]:
    """Return up to `most` of the longest different words, in the order of the text."""
    words = list(dict.fromkeys(re.findall(r"[^\W\d_]{4,}", text.lower())))
    longest = sorted(words, key=len, reverse=True)[:most]
    return [word for word in words if word in longest]
