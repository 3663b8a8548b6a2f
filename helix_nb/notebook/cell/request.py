"""A `%%helix` cell before anything is sent: its options, the prompt with its values, what goes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...chat.chat import Chat
from ...config.session import aliases
from ...errors import ConfigError
from ..attach.attachments import Attachment, attach, is_picture
from ..attach.interpolation import interpolate
from ..attach.names import require_value, value_or_path
from ..session import CellDefaults, NotebookSession
from .arguments import Options, cell_options

JSON_ONLY = "Answer with JSON only."


@dataclass(frozen=True, slots=True)
class CellRequest:
    """What a cell asks, ready to be sent."""

    options: Options
    format: str
    quiet: bool
    prompt: str
    keywords: Mapping[str, Any]  # what `hx.ask` takes besides the prompt
    sent_along: tuple[str, ...] = ()  # attachments in words, for the quiet line
    chat: Chat | None = None  # the one that `-c` names

    @property
    def wants_data(self) -> bool:
        """Whether the answer is to be data, in the Reply's `parsed`."""
        return self.format == "json" or self.options.schema is not None


def build_cell_request(session: NotebookSession, line: str, text: str, magic: str) -> CellRequest:
    """Build the request of one ask out of its line and its text.

    Args:
        session: whose names, chats and defaults are used.
        line: the options.
        text: the prompt, as it was written.
        magic: how errors name the magic, such as "%%helix".

    Raises:
        ConfigError: something is wrong with it; nothing was sent.
    """
    options, names, defaults = cell_options(line, magic), session.names, session.defaults
    if not text.strip() and not options.images and not options.attach:
        raise ConfigError("The prompt is empty; nothing was sent.")
    budget = options.attach_tokens or defaults.attach_tokens
    attached = [attach(word, names, budget) for word in options.attach]
    attached += [_picture(word, names) for word in options.images]
    chat = session.chats.get_or_new(options.chat) if options.chat else None
    prompt = text if options.raw else interpolate(text, names)
    request = CellRequest(
        options=options,
        format=options.format or defaults.format,
        quiet=options.quiet or defaults.quiet,
        prompt=prompt.strip("\n"),
        keywords={
            **_choices(options, defaults, chat, names),
            "images": [each.picture for each in attached if each.picture is not None],
            "attachments": [each.part for each in attached if each.picture is None],
            "schema": require_value(options.schema, names, "--schema") if options.schema else None,
            "tools": [_tool(name, names) for name in options.tools],
            "max_rounds": options.rounds,
            **defaults.params,
            **options.params,
        },
        sent_along=tuple(each.label for each in attached),
        chat=chat,
    )
    return _asking_for_json(request) if request.format == "json" and not options.schema else request


def _choices(
    options: Options, defaults: CellDefaults, chat: Chat | None, names: Mapping[str, Any]
) -> dict[str, Any]:
    """Choose what has a default: the line comes first, then the chat, then `%config HelixMagics`."""
    settings = chat or defaults
    # A default model belongs to the default endpoint: another one may not serve it.
    default_model = defaults.model if options.endpoint in (None, defaults.endpoint) else None
    model = options.models[0] if options.models else (chat.model if chat else None) or default_model
    system = settings.system or defaults.system
    return {
        "model": aliases().get(model, model) if model else None,
        "endpoint": options.endpoint or settings.endpoint or defaults.endpoint,
        "system": system if options.system is None else _system(options.system, names, options.raw),
        "timeout": defaults.timeout if options.timeout is None else options.timeout,
        "stream": options.stream and defaults.stream,
    }


def _system(words: str, names: Mapping[str, Any], raw: bool) -> str:
    if not words.startswith("@"):
        return words if raw else interpolate(words, names)
    value = require_value(words, names, "-s")
    if not isinstance(value, str):
        raise ConfigError(f"-s {words} takes a variable that holds text, not {type(value).__name__}.")
    return value


def _tool(name: str, names: Mapping[str, Any]) -> Any:
    tool = require_value(name, names, "--tool")
    if not callable(tool):
        raise ConfigError(f"--tool takes a function, and {name} is of {type(tool).__name__}.")
    return tool


def _picture(word: str, names: Mapping[str, Any]) -> Attachment:
    value = value_or_path(word, names, "-i")
    as_data = isinstance(value, str | bytes | bytearray) or hasattr(value, "__fspath__")
    if not as_data and not is_picture(value):
        kind = type(value).__name__
        raise ConfigError(
            f"-i: {word} is a {kind}; it takes a picture: a path, URL, bytes, PIL image or figure."
        )
    return Attachment(word, "picture", picture=value)


def _asking_for_json(request: CellRequest) -> CellRequest:
    """Ask for JSON on the wire; servers with a JSON mode want the word in a message as well."""
    keywords = dict(request.keywords)
    keywords.setdefault("response_format", {"type": "json_object"})
    if "json" not in f"{keywords['system'] or ''} {request.prompt}".lower():
        keywords["system"] = f"{keywords['system'] or ''}\n{JSON_ONLY}".strip()
    return replace(request, keywords=keywords)
