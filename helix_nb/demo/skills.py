"""The skills of the demo endpoint: each is looked up or counted, nothing is generated.

In this order: the conversation so far ("my name is ...", "what did I say?"), repeating, sentiment,
first-sentence summaries, extraction of e-mail addresses, dates and numbers, sums, a handful of facts,
counting, a story, a page of Markdown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from . import extraction
from .canned import CAPITALS, FACTS, SHOWCASE, STORY
from .extraction import Messages, find_instruction, text_of

_SAID = r"\bwhat (?:did i|have i|was i) (?:just )?(?:say|said|ask|asked|tell)"
_NAME = r"\b[Mm]y name is ([A-Z][\w-]*)"
_REPEAT = r"(?:please )?(?:repeat|echo|say)(?: (?:after me|exactly|only|just|this))*\s*:?\s+(\S.*)"
_ASKED_FOR = r"(?:^|what is |what's |how much is |calculate |compute )"
_SUM = _ASKED_FOR + r"(-?\d+) ?([-+*/x×÷]|times|plus|minus) ?(-?\d+)\W*$"


def _conversation(prompt: str, messages: Messages) -> str | None:
    earlier = [text_of(m).strip() for m in messages[:-1] if m["role"] == "user"]
    if name := re.search(_NAME, prompt):
        return f"Hello, {name[1]}. The demo endpoint knows your name as long as this conversation lasts."
    if re.search(r"\bwhat(?:'s|’s| is| was) my name|\bwho am i\b", prompt, re.IGNORECASE):
        names = re.findall(_NAME, "\n".join(earlier))
        return f"Your name is {names[-1]}." if names else "You have not told me your name here."
    if re.search(_SAID, prompt, re.IGNORECASE):
        return f"You said: “{earlier[-1]}”" if earlier else "This is the first thing you have said."
    return _follow_up(prompt, earlier)


def _follow_up(prompt: str, earlier: list[str]) -> str | None:
    place = re.match(r"(?:and|what about|how about)(?: of| for)? ([\w ]+?)\W*$", prompt, re.IGNORECASE)
    about_capitals = any("capital of" in question.lower() for question in earlier)
    return _capital(place[1]) if place and about_capitals else None


def _repeat(prompt: str, messages: Messages) -> str | None:
    request = re.match(_REPEAT, prompt, re.IGNORECASE | re.DOTALL)
    return request.group(1).strip().strip("\"“”'") if request else None


def _sentiment(prompt: str, messages: Messages) -> str | None:
    keyword = r"\bsentiment|\bpositive\b.*\bnegative\b|\bnegative\b.*\bpositive\b"
    if not (task := find_instruction(keyword, prompt, messages)):
        return None
    instruction, material = task
    sentiment = extraction.sentiment(material)
    as_asked = re.search(rf"\b{sentiment}\b", instruction, re.IGNORECASE)  # "POSITIVE or NEGATIVE?"
    return as_asked.group() if as_asked else sentiment


def _summary(prompt: str, messages: Messages) -> str | None:
    keyword = r"\bsumm[ae]r|\btl;?dr\b|\bin (?:one|a single) sentence\b|\bshorten\b"
    task = find_instruction(keyword, prompt, messages)
    return extraction.first_sentence(task[1]) if task else None


def _extraction(prompt: str, messages: Messages) -> str | None:
    verb = r"\b(?:extract|find|list|pull out|give me|which|what|get|name)\b.*"
    kinds: tuple[tuple[str, Callable[[str], list[str]]], ...] = (
        (r"\be-?mails?\b", extraction.emails),
        (r"\bdates?\b", extraction.dates),
        (r"\b(?:numbers|amounts|figures|prices?)\b", extraction.numbers),
    )
    for noun, read in kinds:
        if task := find_instruction(verb + noun, prompt, messages):
            values = read(task[1])
            if re.search(r"\bjson\b", task[0], re.IGNORECASE):
                return json.dumps(values)
            return ", ".join(values) or "none"
    return None


def _fact(prompt: str, messages: Messages) -> str | None:
    short = prompt if len(prompt) <= 400 else prompt[:200] + prompt[-200:]
    place = re.search(r"\bcapital(?: city)? of ([\w ]+)", short, re.IGNORECASE)
    if place and (capital := _capital(place[1])):
        return capital
    return next((text for pattern, text in FACTS if re.search(pattern, short, re.IGNORECASE)), None)


def _capital(text: str) -> str | None:
    matching = (place for place in CAPITALS if re.match(rf"(?:the )?{place}\b", text, re.IGNORECASE))
    place = next(matching, None)
    return f"The capital of {place} is {CAPITALS[place]}." if place else None


def _sum(prompt: str, messages: Messages) -> str | None:
    if not (match := re.search(_SUM, prompt, re.IGNORECASE)):
        return None
    left, sign, right = int(match[1][:18]), match[2].lower(), int(match[3][:18])
    sign = {"plus": "+", "minus": "-", "times": "×", "*": "×", "x": "×", "÷": "/"}.get(sign, sign)
    if sign == "/":
        return f"{left} / {right} = {left / right:.10g}." if right else "Nothing can be divided by 0."
    value = {"+": left + right, "-": left - right, "×": left * right}[sign]
    return f"{left} {sign} {right} = {value}."


def _counting(prompt: str, messages: Messages) -> str | None:
    last = re.search(r"\bcount (?:(?:from )?(?:1|one) )?(?:up )?to (\d{1,4})\b", prompt, re.IGNORECASE)
    return ", ".join(str(n) for n in range(1, int(last[1]) + 1)) + "." if last else None


def _story(prompt: str, messages: Messages) -> str | None:
    return STORY if re.search(r"\b(?:tell|write|read)\b.*\bstory\b", prompt, re.IGNORECASE) else None


def _showcase(prompt: str, messages: Messages) -> str | None:
    request = r"\b(?:markdown|showcase|latex)\b|\bshow me (?:a|some) (?:table|formula|code)"
    return SHOWCASE if re.search(request, prompt, re.IGNORECASE) else None


SKILLS: tuple[Callable[[str, Messages], str | None], ...] = (
    _conversation,
    _repeat,
    _sentiment,
    _summary,
    _extraction,
    _sum,
    _fact,
    _counting,
    _story,
    _showcase,
)
