"""A `%%helix` cell before anything is sent: its options, the prompt with its values, what goes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...chat.chat import Chat
from ...config.session import aliases
from ...errors import ConfigError
from ..attach.attachments import Attached, attach, is_picture
from ..attach.interpolation import interpolate
from ..attach.names import needed, value_or_path
from ..session import CellDefaults, NamedChats, NotebookSession
from .arguments import Options, cell_options

JSON_ONLY = "Answer with JSON only."


@dataclass(frozen=True, slots=True)
class CellRequest:
    """Everything that `chat.start` needs for one cell, and what the output says was sent along."""

    options: Options
    format: str
    quiet: bool
    prompt: str
    keywords: Mapping[str, Any]
    sent_along: tuple[str, ...] = ()
    chat_name: str | None = None
    chat: Chat | None = None
    chats: NamedChats | None = None

    @property
    def wants_data(self) -> bool:
        """Whether the answer is to be data, in the Reply's `parsed`."""
        return self.format == "json" or self.options.schema is not None


def build_cell_request(session: NotebookSession, line: str, text: str, what: str) -> CellRequest:
    """Read the options and the text of one ask; ConfigError says what is wrong, and nothing was sent."""
    options, names, defaults, chats = cell_options(line, what), session.names, session.defaults, session.chats
    if not text.strip() and not options.images and not options.attach:
        raise ConfigError("The prompt is empty; nothing was sent.")
    attached = [
        attach(word, names, options.attach_tokens or defaults.attach_tokens) for word in options.attach
    ]
    attached += [_picture(word, names) for word in options.images]
    chat = chats.found(options.chat) if options.chat else None
    prompt = text if options.raw else interpolate(text, names)
    made = CellRequest(
        options=options,
        format=options.format or defaults.format,
        quiet=options.quiet or defaults.quiet,
        prompt=prompt.strip("\n"),
        keywords=_keywords(options, names, defaults, chat, attached),
        sent_along=tuple(one.said for one in attached),
        chat_name=options.chat,
        chat=chat,
        chats=chats,
    )
    return _asking_for_json(made) if made.format == "json" and not options.schema else made


def _keywords(
    options: Options,
    names: Mapping[str, Any],
    defaults: CellDefaults,
    chat: Chat | None,
    attached: list[Attached],
) -> dict[str, Any]:
    endpoint = options.endpoint or (chat.endpoint if chat else None) or defaults.endpoint
    known_model = defaults.model if options.endpoint in (None, defaults.endpoint) else None
    model = options.models[0] if options.models else (chat.model if chat else None) or known_model
    known_system = (chat.system if chat else None) or defaults.system
    return {
        "model": aliases().get(model, model) if model else None,
        "endpoint": endpoint,
        "system": known_system if options.system is None else _system(options.system, names, options.raw),
        "images": [one.picture for one in attached if one.picture is not None],
        "attachments": [one.part for one in attached if one.picture is None],
        "schema": needed(options.schema, names, "--schema") if options.schema else None,
        "tools": [_tool(name, names) for name in options.tools],
        "max_rounds": options.rounds,
        "timeout": defaults.timeout if options.timeout is None else options.timeout,
        "stream": options.stream and defaults.stream,
        **defaults.params,
        **options.params,
    }


def _system(said: str, names: Mapping[str, Any], raw: bool) -> str:
    if not said.startswith("@"):
        return said if raw else interpolate(said, names)
    value = needed(said, names, "-s")
    if not isinstance(value, str):
        raise ConfigError(f"-s {said} takes a variable that holds text, not {type(value).__name__}.")
    return value


def _tool(name: str, names: Mapping[str, Any]) -> Any:
    tool = needed(name, names, "--tool")
    if not callable(tool):
        raise ConfigError(f"--tool takes a function, and {name} is of {type(tool).__name__}.")
    return tool


def _picture(word: str, names: Mapping[str, Any]) -> Attached:
    value = value_or_path(word, names, "-i")
    if (
        not isinstance(value, str | bytes | bytearray)
        and not hasattr(value, "__fspath__")
        and not is_picture(value)
    ):
        kind = type(value).__name__
        raise ConfigError(
            f"-i: {word} is a {kind}; it takes a picture: a path, URL, bytes, PIL image or figure."
        )
    return Attached(word, "picture", picture=value)


def _asking_for_json(made: CellRequest) -> CellRequest:
    """Ask for JSON on the wire; servers with a JSON mode want the word in a message as well."""
    keywords = dict(made.keywords)
    keywords.setdefault("response_format", {"type": "json_object"})
    if "json" not in f"{keywords['system'] or ''} {made.prompt}".lower():
        keywords["system"] = f"{keywords['system'] or ''}\n{JSON_ONLY}".strip()
    return replace(made, keywords=keywords)
