"""JSON that follows a schema, filled with what can be read in the prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
    """Makes values out of one text, by the types of a schema."""

    def __init__(self, root: Mapping[str, Any], text: str) -> None:
        self.root, self.text = root, text
        self.numbers = extraction.numbers(text)  # those that no property has taken yet

    def value(self, schema: Any, name: str, depth: int) -> Any:
        """Make the value of a property of that name."""
        schema = self.simplify(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.choice(schema["enum"])
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            schema["nullable"] = "null" in kind
            kind = next((member for member in kind if member != "null"), "null")
        make: Callable[[Mapping[str, Any], str, int], Any] = getattr(self, f"make_{kind}", self.make_string)
        return make(schema, name, depth)

    def simplify(self, schema: Any) -> dict[str, Any]:
        """Follow references and pick one of several alternatives; null comes last."""
        simple = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(_DEEPEST):
            if isinstance(simple.get("$ref"), str):
                simple = self.resolve(simple.pop("$ref")) | simple
            for word in ("anyOf", "oneOf"):
                if options := simple.pop(word, None):
                    simple |= next((option for option in options if option.get("type") != "null"), options[0])
                    simple["nullable"] = any(option.get("type") == "null" for option in options)
            for part in simple.pop("allOf", ()):
                simple |= part
            if not {"$ref", "anyOf", "oneOf", "allOf"} & simple.keys():
                break
        return simple

    def resolve(self, reference: str) -> dict[str, Any]:
        """Return the part of the schema that a reference names."""
        place: Any = self.root
        for step in filter(None, reference.removeprefix("#").split("/")):
            place = place.get(step, {}) if isinstance(place, Mapping) else {}
        return dict(place) if isinstance(place, Mapping) else {}

    def choice(self, options: list[Any]) -> Any:
        """Return the option that fits the sentiment, else the first that the text names, else the first."""
        texts = [option for option in options if isinstance(option, str)]
        sentiment, lower = extraction.sentiment(self.text), self.text.lower()
        fitting = [option for option in texts if option.lower() == sentiment]
        named = (option for option in texts if re.search(rf"\b{re.escape(option.lower())}\b", lower))
        return fitting[0] if fitting else next(named, options[0])

    def make_object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        """Make an object with all properties, too deep down only with the required ones."""
        properties, required = schema.get("properties") or {}, schema.get("required") or ()
        keys = [key for key in properties if depth < _DEEPEST or key in required]
        keys += [key for key in required if key not in properties]
        if depth > 3 * _DEEPEST:  # a schema that requires itself has no finite value
            return {}
        return {key: self.value(properties.get(key, {}), key, depth + 1) for key in keys}

    def make_array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        """Make a list of what the text holds, of as many items as the schema allows."""
        items, least = schema.get("items", {}), int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", 20))
        if least > _MOST_ITEMS:
            raise ValueError(f"minItems is over {_MOST_ITEMS:,}")
        values = self.items(self.simplify(items), name, depth) if depth < _DEEPEST else []
        while len(values) < least:
            values.append(self.value(items, name, depth + 1))
        return values[: max(most, least)]

    def items(self, items: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        """Return what the text holds of items of that schema."""
        kind = items.get("type")
        if items.get("enum"):
            lower = self.text.lower()
            named = [option for option in items["enum"] if str(option).lower() in lower]
            return named or [self.choice(items["enum"])]
        if kind in ("number", "integer"):
            return [self.number(digits, items) for digits in extraction.numbers(self.text)]
        if kind == "string":
            read = self.reader(items, name)
            words = extraction.quotations(self.text) or extraction.long_words(self.text)
            return read(self.text) if read else words
        return [self.value(items, name, depth + 1)]

    def reader(self, schema: Mapping[str, Any], name: str) -> Callable[[str], list[str]] | None:
        """Return the way of reading the text that a string of this format or name asks for."""
        hint = f"{schema.get('format', '')} {name}".lower()
        for word, read in (("mail", extraction.emails), ("date", extraction.dates), ("ur", extraction.urls)):
            if re.search(rf"\b{word}|{word}\b|{word}s?\b", hint) and (
                word != "ur" or re.search("ur[il]", hint)
            ):
                return read
        return extraction.names if _NAMED.search(name) else None

    def make_string(self, schema: Mapping[str, Any], name: str, depth: int) -> str | None:
        """Make a string out of what the text holds, of a length that the schema allows."""
        if pattern := schema.get("pattern"):
            try:
                if match := re.search(str(pattern).strip("^$"), self.text):
                    return match.group()
            except re.error:
                pass  # a pattern of another dialect: the text as it comes
        read = self.reader(schema, name)
        texts = read(self.text) if read else []
        if read and not texts and schema.get("nullable"):
            return None
        texts = texts or extraction.quotations(self.text)
        text = texts[0] if texts else self.example(schema) or extraction.first_sentence(self.text)
        least = int(schema.get("minLength", 0))
        if least > _MOST_CHARACTERS:
            raise ValueError(f"minLength is over {_MOST_CHARACTERS:,}")
        return text[: int(schema.get("maxLength", 2_000))].ljust(least, ".")

    @staticmethod
    def example(schema: Mapping[str, Any]) -> str | None:
        """Return a string of the format that a schema names."""
        examples = {"email": "demo@example.com", "date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z"}
        examples |= {"time": "00:00:00Z", "uri": "https://example.com", "ipv4": "127.0.0.1"}
        examples["uuid"] = "00000000-0000-4000-8000-000000000000"
        return examples.get(str(schema.get("format")))

    def make_number(self, schema: Mapping[str, Any], name: str, depth: int) -> float | int | None:
        """Make a number out of the one beside the property's words, else of the first one left."""
        digits = self.number_beside(name.replace("_", " ")) if name else None
        digits = digits or next(iter(self.numbers), None)
        if digits is None and schema.get("nullable"):
            return None
        digits = digits or "0"
        if digits in self.numbers:
            self.numbers.remove(digits)
        return self.number(digits, schema)

    def number_beside(self, words: str) -> str | None:
        """Return the number right before these words, or soon after them."""
        text, number = extraction.without_dates(self.text), r"(-?\d+(?:\.\d+)?)"
        before = re.search(rf"{number} {re.escape(words)}\b", text, re.IGNORECASE)
        after = before or re.search(rf"\b{re.escape(words)}\b\D{{0,12}}?{number}", text, re.IGNORECASE)
        return after.group(1) if after else None

    make_integer = make_number

    @staticmethod
    def number(digits: str, schema: Mapping[str, Any]) -> float | int:
        """Return a number of the schema's type, within its limits."""
        integer = schema.get("type") == "integer" or "integer" in (schema.get("type") or ())
        value: float | int = round(float(digits)) if integer or "." not in digits else float(digits)
        step = schema.get("multipleOf", 1 if integer else 0.01)
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
        """Return whether the text speaks of the property's words, or well of its subject."""
        words = [word for word in re.findall(r"[a-z]+", name.lower()) if word not in ("is", "has", "was")]
        if {"positive", "happy", "recommend", "recommended", "satisfied", "liked"} & set(words):
            return extraction.sentiment(self.text) == "positive"
        if {"negative", "unhappy", "complaint", "angry"} & set(words):
            return extraction.sentiment(self.text) == "negative"
        return any(re.search(rf"\b{word}", self.text, re.I) for word in words)

    def make_null(self, schema: Mapping[str, Any], name: str, depth: int) -> None:
        """Make nothing."""
