"""From a row to its request: prompt, system message, images, model and parameters of a batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal

from ...chat.request import asks_something, build_request, redact_message, system_message
from ...config.connection import Connection
from ...config.session import aliases
from ...endpoints.registry import endpoint_for
from ...errors import ConfigError, HelixError
from ...exchange.retries import BATCH_POLICY
from ...messages import Message, Request
from ...origin import Origin
from .template import Template, UnusableRow, columns_by_name, compile_template
from .values import ROW_ITSELF, FrameRows, is_missing

if TYPE_CHECKING:
    import pandas as pd

    from ...schemas import Schema

PromptSource = str | Callable[[Any], Any]  # a template, or a function of the row
ImageSource = str | Sequence[str] | Callable[[Any], Any]  # columns, or a function of the row
VALUE = "value"  # the name of a Series' values in its templates
EMPTY = "The prompt is empty."


class Skip(Exception):
    """A row asks nothing, because a value that it needs is missing."""


@dataclass(frozen=True)
class BatchSpec:
    """What a batch asks of every row, free of any frame; picklable as long as its callables are."""

    prompt: PromptSource
    system: PromptSource | None = None
    images: ImageSource | None = None
    model: str | None = None  # a model, or the column that holds it
    schema: Schema | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # by their wire names
    stream: bool = True
    timeout_s: float | None = None
    missing: Literal["skip", "blank"] = "skip"  # of NA in a used column: no request, or an empty text
    single: bool = False  # the frame is a Series, whose callables get the value alone

    def digest(self, endpoint_identity: str) -> str:
        """Return the part of a name for a batch that has none: from the settings, not from the rows."""
        settings = [
            endpoint_identity,
            *map(_stable_form, (self.prompt, self.system, self.images)),
            self.model,
            self.schema and self.schema.json_schema,
            dict(self.params),
            self.missing,
        ]
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def bind(self, frame: pd.DataFrame, connection: Connection, model: str | None) -> RowRequests:
        """Check everything against a frame's columns, before anything is sent.

        Args:
            frame: the rows to ask about.
            connection: the endpoint to ask.
            model: the model to ask where no column names one.

        Raises:
            ConfigError: a setting, a template or a column's name is wrong.
        """
        if not isinstance(self.prompt, str) and not callable(self.prompt):
            raise ConfigError(
                "The first argument is a template or a callable that makes the prompt of a row."
            )
        if self.missing not in ("skip", "blank"):
            raise ConfigError(f'missing= is "skip" or "blank", not {self.missing!r}.')
        columns = list(frame.columns)
        by_name = columns_by_name(columns)
        prompt = _compile(self.prompt, columns)
        system = None if self.system is None else _compile(self.system, columns)
        images = _image_columns(self.images, by_name)
        model_is_column = isinstance(self.model, str) and self.model in by_name
        names = [name for part in (prompt, system) if isinstance(part, Template) for name in part.names]
        names += [*images, *([str(self.model)] if model_is_column else [])]
        labels = {name: by_name[name] for name in names if name in by_name}
        for_callables = any(callable(part) for part in (prompt, system, self.images))
        rows = FrameRows(frame, labels, for_callables, self.single)
        base = self._base(connection, None if model_is_column else model)
        return RowRequests(self, rows, prompt, system, images, model_is_column, base)

    def _base(self, connection: Connection, model: str | None) -> Request:
        """Return the request that all rows share, checked as `ask` checks it."""
        for name in ("attachments", "max_rounds"):
            if name in self.params:
                raise ConfigError(f"{name}= is for ask; a row is one prompt and one answer.")
        prepared = build_request(
            "row",
            model=model,
            endpoint=connection,
            timeout=self.timeout_s,
            stream=self.stream,
            **self.params,
        )
        if prepared.tools:
            raise ConfigError(
                "Rows call no functions; tools= takes descriptions of tools, to send as they are."
            )
        base = replace(prepared.request, retry_policy=BATCH_POLICY)
        endpoint_for(connection).wire(base)  # so that what no request can hold is refused before the first
        return base if self.schema is None else replace(base, schema=self.schema.json_schema)


@dataclass(frozen=True)
class RowRequests:
    """The settings of a batch over one frame: position -> request."""

    spec: BatchSpec
    rows: FrameRows
    prompt: Template | Callable[[Any], Any]
    system: Template | Callable[[Any], Any] | None
    images: tuple[str, ...]  # names of columns
    model_is_column: bool
    base: Request  # all that the rows' requests share

    @property
    def frame(self) -> pd.DataFrame:
        """The frame whose rows are asked about."""
        return self.rows.frame

    def with_origin(self, origin: Origin) -> RowRequests:
        """Return a copy whose requests are logged with this origin."""
        return replace(self, base=replace(self.base, origin=origin))

    def at(self, positions: Sequence[int] | range) -> Iterator[tuple[int, Request | Skip | UnusableRow]]:
        """Yield each position with its request, or with the reason why its row cannot be asked."""
        for position, row in self.rows.at(positions):
            try:
                yield position, self._request(row)
            except (Skip, UnusableRow) as reason:
                yield position, reason
            except HelixError as error:
                yield position, UnusableRow(str(error))

    def _request(self, row: Mapping[str, Any]) -> Request:
        messages = tuple(redact_message(message) for message in self._messages(row))
        base = self.base  # built by hand, because `replace` would be a tenth of the time a row takes
        return Request(
            *(messages, self._model(row), base.params, base.schema, base.stream, base.timeout_s),
            *(base.origin, base.retry_policy),
        )

    def _messages(self, row: Mapping[str, Any]) -> tuple[Message, ...]:
        content = self._fill(self.prompt, row)
        if not isinstance(content, str):
            return self._messages_of_list(content)
        system = None if self.system is None else self._fill(self.system, row)
        if self.spec.missing == "skip" and any(is_missing(row[name]) for name in self.images):
            raise Skip("its image is missing")
        parts = [part for name in self.images for part in _image_parts(row[name])]
        if callable(self.spec.images):
            parts += _image_parts(_call(self.spec.images, row))
        if not content.strip() and not parts:
            raise UnusableRow(EMPTY)
        user = Message("user", ({"type": "text", "text": content}, *parts) if parts else content)
        return (*system_message(system), user)

    def _messages_of_list(self, content: Sequence[Any]) -> tuple[Message, ...]:
        """Return the messages of a prompt that is a list of them, and so holds everything itself."""
        for name, value in {"system": self.system, "images": self.spec.images}.items():
            if value is not None:
                raise UnusableRow(
                    f"A prompt that is a list of messages takes no {name}=; put it into the list."
                )
        messages = tuple(Message.of(item) for item in content)
        if not asks_something(messages):
            raise UnusableRow(EMPTY)
        return messages

    def _fill(self, part: Template | Callable[[Any], Any], row: Mapping[str, Any]) -> Any:
        if isinstance(part, Template):
            content = part.render(row, is_missing, blank="" if self.spec.missing == "blank" else None)
        else:
            content = _call(part, row)
        if is_missing(content):
            raise Skip("a value that it uses is missing")
        if not isinstance(content, str | list | tuple):
            what = "callable's result" if callable(part) else "prompt"
            raise UnusableRow(f"The {what} is {type(content).__name__}, not text or a list of messages.")
        return content

    def _model(self, row: Mapping[str, Any]) -> str | None:
        if not self.model_is_column:
            return self.base.model
        model = row[str(self.spec.model)]
        if is_missing(model):
            raise Skip("its model is missing")
        return aliases().get(str(model), str(model))


def _compile(part: PromptSource, columns: Sequence[Hashable]) -> Template | Callable[[Any], Any]:
    if iscoroutinefunction(part):
        raise ConfigError("An async function makes no prompts: await what it needs before, in a column.")
    if callable(part):
        return part
    if not isinstance(part, str):
        raise ConfigError(f"A prompt is a template or a callable, not {type(part).__name__}.")
    return compile_template(part, columns)


def _image_columns(images: ImageSource | None, by_name: Mapping[str, Hashable]) -> tuple[str, ...]:
    if images is None or callable(images):
        return ()
    several = isinstance(images, Iterable) and not isinstance(images, str)
    names: tuple[Any, ...] = tuple(images) if several else (images,)
    for name in names:
        if not isinstance(name, str) or name not in by_name:
            listed = ", ".join(by_name) or "none"
            raise ConfigError(f"images= names no column: {name!r}. Columns: {listed}.")
    return names


def _image_parts(cell: Any) -> list[Mapping[str, Any]]:
    """Return the image parts of one cell: of one source, a list of them, or nothing."""
    from ...prompts.images import image_part

    sources = cell if isinstance(cell, list | tuple) else [cell]
    return [image_part(source) for source in sources if not is_missing(source)]


def _call(function: Callable[[Any], Any], row: Mapping[str, Any]) -> Any:
    try:
        return function(row[ROW_ITSELF])
    except Exception as error:
        raise UnusableRow(f"The callable fails: {type(error).__name__}: {error}") from error


def _stable_form(part: Any) -> Any:
    """Return a callable as data that a restarted kernel would write the same way."""
    code = getattr(part, "__code__", None)
    if code is None:
        return part if not callable(part) else getattr(part, "__qualname__", type(part).__qualname__)
    constants = [constant for constant in code.co_consts if not hasattr(constant, "co_code")]
    return [part.__qualname__, code.co_code.hex(), list(code.co_names), [repr(c) for c in constants]]
