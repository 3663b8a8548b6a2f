"""JSON that follows a schema, filled with what can be read in the prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import extraction

_NAMED = re.compile(
    r"name|month|city|country|place|location|person|author|company|product|town|who|where", re.I
)
_DEEPEST = 6
_MOST_ITEMS, _MOST_CHARACTERS = 1_000, 100_000


def fill(schema: Mapping[str, Any], text: str) -> Any:
    """Make a value that follows a JSON schema out of a text.

    Understands type, enum, const, properties, items, $ref, anyOf, oneOf, allOf, format and the limits
    on numbers, lengths and items; a `pattern` is only met where the text holds something that fits it.

    >>> fill({"type": "object", "properties": {"age": {"type": "integer"}}}, "Ada is 36")
    {'age': 36}
    """
    return _Filler(schema, text).value(schema, "", 0)


class _Filler:
    def __init__(self, root: Mapping[str, Any], text: str) -> None:
        self.root, self.text = root, text
        self.numbers = extraction.numbers(text)

    def value(self, schema: Any, name: str, depth: int) -> Any:
        schema = self.plain(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.choice(schema["enum"])
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            schema["nullable"] = "null" in kind
            kind = next((one for one in kind if one != "null"), "null")
        made: Any = getattr(self, f"make_{kind}", self.make_string)(schema, name, depth)
        return made

    def plain(self, schema: Any) -> dict[str, Any]:
        """Follow references and pick one of several alternatives; null comes last."""
        found = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(_DEEPEST):
            if isinstance(found.get("$ref"), str):
                found = self.refer(found.pop("$ref")) | found
            for word in ("anyOf", "oneOf"):
                if options := found.pop(word, None):
                    found |= next((one for one in options if one.get("type") != "null"), options[0])
                    found["nullable"] = any(one.get("type") == "null" for one in options)
            for part in found.pop("allOf", ()):
                found |= part
            if not {"$ref", "anyOf", "oneOf", "allOf"} & found.keys():
                break
        return found

    def refer(self, reference: str) -> dict[str, Any]:
        place: Any = self.root
        for step in filter(None, reference.removeprefix("#").split("/")):
            place = place.get(step, {}) if isinstance(place, Mapping) else {}
        return dict(place) if isinstance(place, Mapping) else {}

    def choice(self, options: list[Any]) -> Any:
        """The option that fits the sentiment, else the first one that the text names, else the first."""
        feeling = extraction.sentiment(self.text)
        for option in options:
            if isinstance(option, str) and option.lower() == feeling:
                return option
        lower = self.text.lower()
        named = (
            o for o in options if isinstance(o, str) and re.search(rf"\b{re.escape(o.lower())}\b", lower)
        )
        return next(named, options[0])

    def make_object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties") or {}, schema.get("required") or ()
        wanted = [key for key in properties if depth < _DEEPEST or key in required]
        wanted += [key for key in required if key not in properties]
        if depth > 3 * _DEEPEST:  # a schema that requires itself has no finite value
            return {}
        return {key: self.value(properties.get(key, {}), key, depth + 1) for key in wanted}

    def make_array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        items, least = schema.get("items", {}), int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", 20))
        if least > _MOST_ITEMS:
            raise ValueError(f"minItems is over {_MOST_ITEMS:,}")
        found = self.several(self.plain(items), name, depth) if depth < _DEEPEST else []
        while len(found) < least:
            found.append(self.value(items, name, depth + 1))
        return found[: max(most, least)]

    def several(self, items: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        kind = items.get("type")
        if items.get("enum"):
            lower = self.text.lower()
            return [one for one in items["enum"] if str(one).lower() in lower] or [self.choice(items["enum"])]
        if kind in ("number", "integer"):
            return [self.number(found, items) for found in extraction.numbers(self.text)]
        if kind == "string":
            read = self.readers(items, name)
            return (
                read(self.text) if read else extraction.quoted(self.text) or extraction.long_words(self.text)
            )
        return [self.value(items, name, depth + 1)]

    def readers(self, schema: Mapping[str, Any], name: str) -> Any:
        """Which reading of the text a string with this format or name asks for."""
        hint = f"{schema.get('format', '')} {name}".lower()
        for word, read in (("mail", extraction.emails), ("date", extraction.dates), ("ur", extraction.urls)):
            if re.search(rf"\b{word}|{word}\b|{word}s?\b", hint) and (
                word != "ur" or re.search("ur[il]", hint)
            ):
                return read
        return extraction.names if _NAMED.search(name) else None

    def make_string(self, schema: Mapping[str, Any], name: str, depth: int) -> str | None:
        if pattern := schema.get("pattern"):
            try:
                if match := re.search(str(pattern).strip("^$"), self.text):
                    return match.group()
            except re.error:
                pass  # a pattern of another dialect: the text as it comes
        read = self.readers(schema, name)
        found = read(self.text) if read else []
        if read and not found and schema.get("nullable"):
            return None
        found = found or extraction.quoted(self.text)
        text = found[0] if found else self.example(schema) or extraction.first_sentence(self.text)
        least = int(schema.get("minLength", 0))
        if least > _MOST_CHARACTERS:
            raise ValueError(f"minLength is over {_MOST_CHARACTERS:,}")
        return text[: int(schema.get("maxLength", 2_000))].ljust(least, ".")

    @staticmethod
    def example(schema: Mapping[str, Any]) -> str | None:
        examples = {"email": "demo@example.com", "date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z"}
        examples |= {"time": "00:00:00Z", "uri": "https://example.com", "ipv4": "127.0.0.1"}
        examples["uuid"] = "00000000-0000-4000-8000-000000000000"
        return examples.get(str(schema.get("format")))

    def make_number(self, schema: Mapping[str, Any], name: str, depth: int) -> float | int | None:
        found = self.beside(name.replace("_", " ")) if name else None
        found = found or next(iter(self.numbers), None)
        if found is None and schema.get("nullable"):
            return None
        found = found or "0"
        if found in self.numbers:
            self.numbers.remove(found)  # a number of the text is one property's
        return self.number(found, schema)

    def beside(self, words: str) -> str | None:
        """The number right before these words, or soon after them."""
        text, number = extraction.undated(self.text), r"(-?\d+(?:\.\d+)?)"
        before = re.search(rf"{number} {re.escape(words)}\b", text, re.IGNORECASE)
        after = before or re.search(rf"\b{re.escape(words)}\b\D{{0,12}}?{number}", text, re.IGNORECASE)
        return after.group(1) if after else None

    make_integer = make_number

    @staticmethod
    def number(found: str, schema: Mapping[str, Any]) -> float | int:
        """A number as the schema wants it: of its type, within its limits."""
        whole = schema.get("type") == "integer" or "integer" in (schema.get("type") or ())
        value: float | int = round(float(found)) if whole or "." not in found else float(found)
        step = schema.get("multipleOf", 1 if whole else 0.01)
        low, high = schema.get("minimum"), schema.get("maximum")
        if (over := schema.get("exclusiveMinimum")) is not None:
            low = over + step
        if (under := schema.get("exclusiveMaximum")) is not None:
            high = under - step
        value = value if high is None else min(value, high)
        value = value if low is None else max(value, low)
        if "multipleOf" in schema:
            value = -(-value // step) * step
        return value

    def make_boolean(self, schema: Mapping[str, Any], name: str, depth: int) -> bool:
        """Whether the text speaks of the property's words, or well of its subject."""
        words = [word for word in re.findall(r"[a-z]+", name.lower()) if word not in ("is", "has", "was")]
        if {"positive", "happy", "recommend", "recommended", "satisfied", "liked"} & set(words):
            return extraction.sentiment(self.text) == "positive"
        if {"negative", "unhappy", "complaint", "angry"} & set(words):
            return extraction.sentiment(self.text) == "negative"
        return any(re.search(rf"\b{word}", self.text, re.I) for word in words)

    def make_null(self, schema: Mapping[str, Any], name: str, depth: int) -> None:
        return None
