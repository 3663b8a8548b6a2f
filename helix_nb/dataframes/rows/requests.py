"""What a batch asks of every row: prompt, system, images, model and parameters, free of any frame."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal

from ...chat.request import asks_something, build_request, system_message
from ...config.connection import Connection
from ...config.session import aliases
from ...endpoints.registry import endpoint_for
from ...errors import ConfigError, HelixError
from ...exchange.retries import BATCH
from ...messages import Message, Request
from ...origin import Origin
from ...redaction import redact_strings
from .template import Template, UnusableRow, columns_by_name, compile_template
from .values import ROW_ITSELF, FrameRows, is_missing

if TYPE_CHECKING:
    import pandas as pd

    from ...schemas import Schema

PromptSource = str | Callable[[Any], Any]
VALUE = "value"  # what a Series is called in its templates
EMPTY = "The prompt is empty."


class Skip(Exception):
    """A row with nothing to ask, because a value that it needs is missing."""


@dataclass(frozen=True)
class BatchSpec:
    """The settings of a batch; picklable as long as its callables are.

    `missing` is "skip" (a row with NA in a used column is left out) or "blank" (NA becomes an
    empty text). `single` says that the frame is a Series, whose callables get the value alone.
    """

    prompt: PromptSource
    system: PromptSource | None = None
    images: str | Sequence[str] | Callable[[Any], Any] | None = None
    model: str | None = None
    schema: Schema | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = True
    timeout_s: float | None = None
    missing: Literal["skip", "blank"] = "skip"
    single: bool = False

    def digest(self, endpoint: str) -> str:
        """What names a batch that the user gave no name: the settings, not the rows."""
        facts = [
            endpoint,
            *map(_stable, (self.prompt, self.system, self.images)),
            self.model,
            self.schema and self.schema.json_schema,
            dict(self.params),
            self.missing,
        ]
        text = json.dumps(facts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def bound(self, frame: pd.DataFrame, connection: Connection, model: str | None) -> RowRequests:
        """Check everything against a frame's columns, before anything is sent.

        `model` is what is asked for where no column names one.
        """
        columns = list(frame.columns)
        if self.missing not in ("skip", "blank"):
            raise ConfigError(f'missing= is "skip" or "blank", not {self.missing!r}.')
        prompt, system = (_compiled(part, columns) for part in (self.prompt, self.system))
        if prompt is None:
            raise ConfigError("A batch needs a template or a callable that makes the prompt.")
        known = columns_by_name(columns)
        images = _image_columns(self.images, known)
        models = (self.model,) if isinstance(self.model, str) and self.model in known else ()
        used = {name: None for part in (prompt, system) if isinstance(part, Template) for name in part.names}
        names = tuple({**used, **dict.fromkeys((*images, *models))})
        whole = any(callable(part) for part in (prompt, system, self.images))
        rows = FrameRows(frame, {name: known[name] for name in names if name in known}, whole, self.single)
        base = self._base(connection, None if models else model)
        return RowRequests(self, rows, prompt, system, images, bool(models), base)

    def _base(self, connection: Connection, model: str | None) -> Request:
        """The request that all rows share, checked as `ask` checks it."""
        for name in ("attachments", "max_rounds"):
            if name in self.params:
                raise ConfigError(f"{name}= is for ask; a row is one prompt and one answer.")
        made = build_request(
            "row",
            model=model,
            endpoint=connection,
            timeout=self.timeout_s,
            stream=self.stream,
            **self.params,
        )
        if made.tools:
            raise ConfigError(
                "Rows call no functions; tools= takes descriptions of tools, to send as they are."
            )
        base = replace(made.request, retry_policy=BATCH)
        endpoint_for(connection).wire(base)  # what no request can hold is refused before the first
        return base if self.schema is None else replace(base, schema=self.schema.json_schema)


@dataclass(frozen=True)
class RowRequests:
    """A recipe over one frame: position -> request."""

    recipe: BatchSpec
    rows: FrameRows
    prompt: Template | Callable[[Any], Any]
    system: Template | Callable[[Any], Any] | None
    images: tuple[str, ...]
    model_is_column: bool
    base: Request

    def of(self, origin: Origin) -> RowRequests:
        """The same, on behalf of somebody."""
        return replace(self, base=replace(self.base, origin=origin))

    def requests(self, positions: Sequence[int] | range) -> Iterator[tuple[int, Request | Exception]]:
        """Each position with its request, or with the Skip or Unfit that stands in its way."""
        for position, row in self.rows.at(positions):
            try:
                yield position, self._request(row)
            except (Skip, UnusableRow) as reason:
                yield position, reason
            except HelixError as error:
                yield position, UnusableRow(str(error))

    def _request(self, row: Mapping[str, Any]) -> Request:
        messages = tuple(_redacted(message) for message in self._messages(row))
        base = self.base  # built by hand: `replace` would be a tenth of the time a row takes
        return Request(
            *(messages, self._model(row), base.params, base.schema, base.stream, base.timeout_s),
            *(base.origin, base.retry_policy),
        )

    def _messages(self, row: Mapping[str, Any]) -> tuple[Message, ...]:
        content = self._filled(self.prompt, row)
        if not isinstance(content, str):
            return self._listed(content)
        system = None if self.system is None else self._filled(self.system, row)
        if self.recipe.missing == "skip" and any(is_missing(row[name]) for name in self.images):
            raise Skip("its image is missing")
        parts = [part for name in self.images for part in _parts(row[name])]
        if callable(self.recipe.images):
            parts += _parts(_called(self.recipe.images, row))
        if not content.strip() and not parts:
            raise UnusableRow(EMPTY)
        user = Message("user", ({"type": "text", "text": content}, *parts) if parts else content)
        return (*system_message(system), user)

    def _listed(self, content: Sequence[Any]) -> tuple[Message, ...]:
        """A prompt that is a list of messages, which holds everything itself."""
        for name, given in {"system": self.system, "images": self.recipe.images}.items():
            if given is not None:
                raise UnusableRow(
                    f"A prompt that is a list of messages takes no {name}=; put it into the list."
                )
        messages = tuple(Message.of(item) for item in content)
        if not asks_something(messages):
            raise UnusableRow(EMPTY)
        return messages

    def _filled(self, part: Template | Callable[[Any], Any], row: Mapping[str, Any]) -> Any:
        if isinstance(part, Template):
            blank = "" if self.recipe.missing == "blank" else None
            text = part.render(row, is_missing, blank)
        else:
            text = _called(part, row)
        if is_missing(text):
            raise Skip("a value that it uses is missing")
        if not isinstance(text, str | list | tuple):
            what = "callable's result" if callable(part) else "prompt"
            raise UnusableRow(f"The {what} is {type(text).__name__}, not text or a list of messages.")
        return text

    def _model(self, row: Mapping[str, Any]) -> str | None:
        if not self.model_is_column:
            return self.base.model
        model = row[str(self.recipe.model)]
        if is_missing(model):
            raise Skip("its model is missing")
        return aliases().get(str(model), str(model))


def _compiled(
    part: PromptSource | None, columns: Sequence[Hashable]
) -> Template | Callable[[Any], Any] | None:
    if iscoroutinefunction(part):
        raise ConfigError("An async function makes no prompts: await what it needs before, in a column.")
    if part is None or callable(part):
        return part
    if not isinstance(part, str):
        raise ConfigError(f"A prompt is a template or a callable, not {type(part).__name__}.")
    return compile_template(part, columns)


def _image_columns(images: Any, known: Mapping[str, Hashable]) -> tuple[str, ...]:
    if images is None or callable(images):
        return ()
    several = isinstance(images, Iterable) and not isinstance(images, str)
    names = tuple(images) if several else (images,)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ConfigError(f"images= names no column: {name!r}. Columns: {', '.join(known) or 'none'}.")
    return names


def _parts(cell: Any) -> list[Mapping[str, Any]]:
    """The image parts of one cell: one source, a list of them, or nothing."""
    from ...prompts.images import image_part

    sources = cell if isinstance(cell, list | tuple) else [cell]
    return [image_part(source) for source in sources if not is_missing(source)]


def _redacted(message: Message) -> Message:
    content = redact_strings(message.content)
    return message if content == message.content else replace(message, content=content)


def _called(function: Callable[[Any], Any], row: Mapping[str, Any]) -> Any:
    try:
        return function(row[ROW_ITSELF])
    except Exception as error:
        raise UnusableRow(f"The callable fails: {type(error).__name__}: {error}") from error


def _stable(part: Any) -> Any:
    """A callable as something that a restarted kernel would write the same way."""
    code = getattr(part, "__code__", None)
    if code is None:
        return part if not callable(part) else getattr(part, "__qualname__", type(part).__qualname__)
    constants = [constant for constant in code.co_consts if not hasattr(constant, "co_code")]
    return [part.__qualname__, code.co_code.hex(), list(code.co_names), [repr(c) for c in constants]]
