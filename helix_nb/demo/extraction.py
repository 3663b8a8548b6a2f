"""What the demo endpoint can read in a text: sentiment, sentences, numbers, dates, names."""

from __future__ import annotations

import re

from .canned import NEGATIONS, NEGATIVE, POSITIVE

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


def sentiment(text: str) -> str:
    """Say positive, negative or neutral by counting words; a negation turns the next words round."""
    score, turned = 0, 0
    for word in re.findall(r"[a-z']+", text.lower().replace("’", "'")):
        value = (word in POSITIVE) - (word in NEGATIVE)
        score += -value if turned > 0 else value
        turned = 3 if word in NEGATIONS else turned - 1
    return "positive" if score > 0 else "negative" if score < 0 else "neutral"


def dates(text: str) -> list[str]:
    """The dates of a text as they are written there."""
    return _DATE.findall(text)


def numbers(text: str) -> list[str]:
    """The numbers of a text, thousands separators removed, those inside dates left out."""
    return [found.replace(",", "") for found in _NUMBER.findall(undated(text))]


def undated(text: str) -> str:
    """The text without its dates."""
    return _DATE.sub(" ", text)


def emails(text: str) -> list[str]:
    """The e-mail addresses of a text."""
    return _EMAIL.findall(text)


def urls(text: str) -> list[str]:
    """The http and https addresses of a text."""
    return _URL.findall(text)


def quoted(text: str) -> list[str]:
    """What stands between quotation marks."""
    return [double or single for double, single in _QUOTED.findall(text)]


def names(text: str) -> list[str]:
    """Capitalised words that do not begin a sentence, and a signature at the end."""
    text = undated(text)
    return _NAME.findall(text) + _SIGNED.findall(text)


def first_sentence(text: str) -> str:
    """The first sentence, white space made single."""
    found = _SENTENCE.search(text)
    return " ".join(found.group().split()) if found else ""


def long_words(text: str, most: int = 3) -> list[str]:
    """Up to `most` of the longest different words, in the order of the text."""
    words = list(dict.fromkeys(re.findall(r"[^\W\d_]{4,}", text.lower())))
    longest = sorted(words, key=len, reverse=True)[:most]
    return [word for word in words if word in longest]
