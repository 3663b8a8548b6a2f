"""`%helix COMMAND`: the table of commands, the way from a line to one of them, and `%helix help`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...text import did_you_mean
from ..cell.arguments import parse, refuse_keys
from ..cell.options import OPTIONS, Option, options_table

if TYPE_CHECKING:
    import argparse

    from ..session import NotebookSession


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `%helix`."""

    synopsis: str  # how it is written; the first word is its name
    help: str
    where: str  # "module:function" in this folder, imported when the command is used
    options: tuple[Option, ...] = ()
    kinds: tuple[str, ...] = ()  # what its words are, for completion
    verbatim: bool = False  # its function is given the line, and not what was parsed of it

    @property
    def name(self) -> str:
        return self.synopsis.partition(" ")[0]


ENDPOINT = Option(("-e", "--endpoint"), "The endpoint.", "endpoint", "ENDPOINT")
CONNECT = (
    Option(("--name",), "What to call it (default: the host).", "text", "NAME"),
    Option(("--key-env",), "The environment variable that holds the key.", "text", "VAR"),
    Option(("--ask-key",), "Ask for the key in a field that shows nothing."),
    Option(("--no-key",), "Send no key, and ask for none."),
    Option(("--profile",), "What the server needs: helix or openai.", "profile", "PROFILE"),
    Option(("--app-id",), "The Helix agent to talk to.", "text", "ID"),
    Option(("-m", "--model"), "Its default model.", "text", "MODEL"),
)
CHAT = (
    Option(("--fork",), "Go on from here under another name, too.", "text", "NEW"),
    Option(("--export",), "Write the transcript to a Markdown file.", "text", "FILE"),
    Option(("--resume",), "Take it up again from the log, after a restart."),
)
LOG = (
    Option(("--scope",), "kernel (default), notebook or all.", "scope", "SCOPE"),
    Option(("--since",), "Only what is newer: 12h, 7d, a date.", "text", "WHEN"),
    Option(("--status",), "Only rows of this status.", "status", "STATUS"),
    Option(("--search",), "Only rows whose text holds this.", "text", "TEXT"),
    Option(("--model",), "Only rows of this model.", "model", "MODEL"),
)

COMMANDS = (
    Command(
        "ask [OPTIONS] -- TEXT",
        "Ask, show nothing, and return the Reply: reply = %helix ask -t 0 -- Why is the sky blue?",
        "ask:ask",
        OPTIONS,
        verbatim=True,
    ),
    Command(
        "use [MODEL] [-e ENDPOINT]",
        "Set this session's model and endpoint; alone, report them.",
        "endpoints:use",
        (ENDPOINT,),
        ("model",),
    ),
    Command(
        "connect URL [--name NAME] [--key-env VAR] [--profile PROFILE] [--app-id ID] [-m MODEL]",
        "Register an OpenAI-compatible endpoint and make it current. Its key comes from the environment"
        " or is asked for; it never stands on the line.",
        "endpoints:connect",
        CONNECT,
        ("url",),
    ),
    Command(
        "models [ENDPOINT]",
        "The models an endpoint serves, as a DataFrame.",
        "endpoints:models",
        (),
        ("endpoint",),
    ),
    Command(
        "alias [NAME MODEL] [-d]",
        "Give a model a short name; alone, list them; -d forgets one.",
        "endpoints:alias",
        (Option(("-d", "--delete"), "Forget it."),),
        ("alias", "model"),
    ),
    Command(
        "fix [OPTIONS] [-- WORDS]",
        "Have the last error fixed; --insert puts the code into the next cell.",
        "ask:fix",
        OPTIONS,
        verbatim=True,
    ),
    Command(
        "explain [OPTIONS] [N] [-- WORDS]",
        "Have the last error explained, or the cell In[N].",
        "ask:explain",
        OPTIONS,
        verbatim=True,
    ),
    Command(
        "reset [CHAT] [--all]",
        "Forget a chat (default: `default`).",
        "chats:reset",
        (Option(("--all",), "All of them."),),
        ("chat",),
    ),
    Command("chats", "The chats of this kernel, as a DataFrame.", "chats:chats"),
    Command(
        "chat [NAME] [--fork NEW] [--export FILE] [--resume]",
        "Show a chat as a transcript, fork it, export it, or take it up again from the log.",
        "chats:chat",
        CHAT,
        ("chat",),
    ),
    Command(
        "log [N] [--scope SCOPE] [--since WHEN] [--status STATUS] [--search TEXT] [--model MODEL]",
        "The last N exchanges (default: all of this kernel), as a DataFrame.",
        "log:log",
        LOG,
        ("count",),
    ),
    Command(
        "usage [BY] [--scope SCOPE] [--since WHEN]",
        "Tokens and cost by model (default) or by another column of the log, as a DataFrame.",
        "log:usage",
        LOG[:2],
        ("by",),
    ),
    Command(
        "panel [CHAT]",
        "Open the chat panel, with a chat of -c if you name one.",
        "chats:panel",
        (),
        ("chat",),
    ),
    Command(
        "replay [off|reuse|only] [CASSETTE]",
        "Answer from the log, or a cassette, where it can (reuse), always (only), or never (off).",
        "log:replay",
        (),
        ("replay", "file"),
    ),
    Command(
        "unload [MODEL]", "Free the memory of a local model, or of all.", "endpoints:unload", (), ("model",)
    ),
    Command(
        "help [COMMAND]", "This list, or one command and its options.", "table:print_help", (), ("command",)
    ),
)
BY_NAME = {command.name: command for command in COMMANDS}


def run_command(session: NotebookSession, line: str) -> Any:
    """Run one `%helix` line and return what it gives back; ConfigError for what is no command."""
    refuse_keys(line)
    name, rest = (*line.split(None, 1), "", "")[:2]
    if not name:
        return _function("endpoints:status")(session)
    command = BY_NAME.get("help" if name in ("-h", "--help") else name)
    if command is None:
        raise ConfigError(f"%helix has no command {name!r}.{_guess(name, rest)}")
    if command.verbatim:
        return _function(command.where)(session, rest)
    options, words = parse(rest, command.options, f"%helix {name}")
    if len(words) > len(command.kinds):
        raise ConfigError(f"Too many words; it is written %helix {command.synopsis}")
    return _function(command.where)(session, options, words)


def print_help(_session: NotebookSession, _options: argparse.Namespace, words: list[str]) -> None:
    """Print the list of commands, or one command with its options."""
    print(_help_page(words[0]) if words else _overview())


def _guess(name: str, rest: str) -> str:
    how_to_ask, commands = "A prompt is asked with %helix ask -- TEXT.", f"There are {', '.join(BY_NAME)}."
    return did_you_mean(name, BY_NAME, how_to_ask if rest else commands)


def _function(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(f".{module}", __package__), name)


def _overview() -> str:
    lines = [
        "%%helix [MODEL] [OPTIONS]",
        "    Ask what stands in the cell; `%helix help cell` lists the options.",
    ]
    lines += ["%helix", "    Where this session stands: endpoint, model, key, chats, tokens."]
    for command in COMMANDS:
        lines += [f"%helix {command.synopsis}", f"    {command.help}"]
    return "\n".join(lines)


def _help_page(name: str) -> str:
    """Return the help of one command, or of the cell magic."""
    if name in ("cell", "%%helix", "helix"):
        opening = (
            "%%helix [MODEL] [OPTIONS]\n    Ask what stands in the cell; {{expression}} puts a value in."
        )
        return f"{opening}\n\n{options_table(OPTIONS)}"
    command = BY_NAME.get(name)
    if command is None:
        guess = did_you_mean(name, [*BY_NAME, "cell"])
        raise ConfigError(f"%helix has no command {name!r}.{guess}")
    opening = f"%helix {command.synopsis}\n    {command.help}"
    return f"{opening}\n\n{options_table(command.options)}" if command.options else opening
