"""The line of options of a magic, read into data; whatever is wrong with it becomes one sentence."""

from __future__ import annotations

import argparse
import io
import keyword
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from json import loads
from typing import Any, NoReturn

from ...config.environment import register_keys
from ...config.secrets import MISPLACED
from ...errors import ConfigError
from ...redaction import redact
from ...text import did_you_mean
from .options import FORMATS, OPTIONS, Option

KEY_LIKE = re.compile(
    r"(?<![\w-])(?:hl-[\w-]{8,}|AIza[\w-]{30,}"
    r"|(?:sk|pk|gsk|xai|nvapi|r8|hf|ghp)[-_](?=[\w-]*[0-9A-Z])[\w-]{12,})"
    r"|\bBearer\s+(?=\S*\d)\S{8,}"
)
# Where options stand, also what could only be followed by a key; a prompt may well ask about it.
KEY_OPTION = re.compile(
    r"^--?(?:api[-_]?)?(?:key|token|secret|password)(?![\w-])|^(?:api_key|apikey|authorization)="
    r"|[?&](?:api[-_]?key|key|token|secret|password)=|\bBearer\s+\S{8,}",
    re.IGNORECASE,
)
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"  # what editors make of two of them, too
MAX_DIGITS = 18  # of an integer: what fits 64 bits
# Parameters that -p cannot set, and what sets each.
SET_OTHERWISE = {
    "prompt": "the cell",
    "messages": "the cell",
    "model": "-m",
    "endpoint": "-e",
    "system": "-s",
    "images": "-i",
    "attachments": "-a",
    "schema": "--schema",
    "max_rounds": "--rounds",
    "timeout": "--timeout",
    "stream": "--no-stream",
    "tools": "--tool",
    "n": "several -m",
}


@dataclass(frozen=True)
class Options:
    """The options of one `%%helix` line; None where it leaves the choice to the settings."""

    models: tuple[str, ...] = ()
    endpoint: str | None = None
    system: str | None = None
    out: str | None = None  # the variable that gets the Reply
    chat: str | None = None
    format: str | None = None
    insert: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)  # by wire name
    images: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    attach_tokens: int | None = None
    schema: str | None = None
    tools: tuple[str, ...] = ()
    rounds: int | None = None  # of tool calls, at most
    raw: bool = False
    dry_run: bool = False
    quiet: bool = False
    stream: bool = True
    log: bool = True
    timeout: float | None = None  # seconds


def cell_options(line: str, magic: str = "%%helix") -> Options:
    """Read the options of `%%helix` (and of `%helix ask`, `fix`, `explain`)."""
    parsed, words = parse(line, OPTIONS, magic)
    if len(words) > 1:
        after = f"after `--`: {magic} -- {' '.join(words)}"
        where = "below the %%helix line" if magic == "%%helix" else after
        raise ConfigError(
            f"{magic} takes one model on its line, not {len(words)} words; the prompt goes {where}."
        )
    options = Options(
        models=(*words, *parsed.model),
        endpoint=parsed.endpoint,
        system=parsed.system,
        out=None if parsed.out is None else _variable_name(parsed.out),
        chat=parsed.chat,
        format=None if parsed.format is None else _format_name(parsed.format),
        insert=parsed.insert,
        params=_params(parsed),
        images=tuple(parsed.image),
        attach=tuple(parsed.attach),
        attach_tokens=parsed.attach_tokens,
        schema=parsed.schema,
        tools=tuple(parsed.tool),
        rounds=parsed.rounds,
        raw=parsed.raw,
        dry_run=parsed.dry_run,
        quiet=parsed.quiet,
        stream=not parsed.no_stream,
        log=not parsed.no_log,
        timeout=parsed.timeout,
    )
    if len(options.models) > 1 and (options.chat or options.tools or options.insert):
        raise ConfigError(
            "Several models answer side by side: leave -c, --tool and --insert out, or give one -m."
        )
    return options


def parse(line: str, options: Sequence[Option], magic: str) -> tuple[argparse.Namespace, list[str]]:
    """Split a line into its options and its other words; ConfigError says what is wrong in one sentence."""
    refuse_keys(line)
    words = _words(line, magic)
    if any(KEY_OPTION.search(word) for word in (*words, " ".join(words))):
        raise ConfigError(MISPLACED)
    parser = _parser(magic, tuple(options))
    parsed, rest = parser.parse_known_args(words)
    for word in rest:
        if word[:1] in DASHES and len(word) > 1:
            parser.unknown(word.partition("=")[0])
    return parsed, rest


def refuse_keys(line: str) -> None:
    """Refuse a line that holds what looks like a key: notebooks and histories keep it."""
    register_keys()
    if KEY_LIKE.search(line) or redact(line) != line:
        raise ConfigError(MISPLACED)


def split_prompt(line: str, magic: str) -> tuple[str, str | None]:
    """Split `OPTIONS -- TEXT` at the first `--` outside quotes; the text is verbatim, None without `--`."""
    stream = io.StringIO(line)
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        while (word := lexer.get_token()) is not None:
            if word == "--":
                text = stream.read()
                return line[: len(line) - len(text)].rstrip().removesuffix("--"), text
    except ValueError:
        raise _unclosed_quote(magic) from None
    return line, None


class _Parser(argparse.ArgumentParser):
    """argparse without its exits, its abbreviations and its two-line errors."""

    def __init__(self, magic: str, options: Sequence[Option]) -> None:
        super().__init__(prog=magic, add_help=False, allow_abbrev=False)
        self.flags = [flag for option in options for flag in option.flags]
        for option in options:
            self._add(option)

    def _add(self, option: Option) -> None:
        settings: dict[str, Any] = {"dest": option.name}
        if not option.kind:
            settings["action"] = "store_true"
        elif option.repeat:
            settings |= {"action": "append", "default": []}
        elif option.kind == "chat":
            settings |= {"nargs": "?", "const": "default"}
        settings |= {"type": _READERS.get(option.kind, _nonblank)} if option.kind else {}
        self.add_argument(*option.flags, **settings)

    def unknown(self, flag: str) -> NoReturn:
        word = flag.lstrip(DASHES)
        typed = f"{'--' if len(word) > 1 else '-'}{word}"  # editors make one long dash of two
        guess = did_you_mean(typed, self.flags, "`%helix help` lists them.", shown="{}")
        raise ConfigError(f"{self.prog} has no option {flag}.{guess}")

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (\S+): expected .*", r"\1 needs a value", message)
        message = re.sub(r"^argument (\S+): ignored explicit argument .*", r"\1 takes no value", message)
        message = re.sub(r"^argument (\S+):", r"\1", message)
        raise ConfigError(f"{self.prog}: {message}.")


@cache
def _parser(magic: str, options: tuple[Option, ...]) -> _Parser:
    """Return the parser of a magic, kept: making one takes a millisecond of each cell."""
    return _Parser(magic, options)


def _words(line: str, magic: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        raise _unclosed_quote(magic) from None


def _unclosed_quote(magic: str) -> ConfigError:
    how = "close it, or write \\' for an apostrophe"
    return ConfigError(f"A quote on the {magic} line is not closed; {how}.")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"takes a number from 0 up, not {text!r}")
    return value


def _integer(text: str) -> int:
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1 up, not {text!r}")
    return int(text)


def _nonblank(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("needs a value")
    return text


_READERS = {"number": _number, "integer": _integer, "system": str}  # an empty system prompt: none at all


def _variable_name(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(f"-o takes the name of a variable, not {name!r}.")
    return name


def _format_name(name: str) -> str:
    if name in FORMATS:
        return name
    guess = did_you_mean(name, FORMATS, shown="{}")
    raise ConfigError(f"-f takes {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {name!r}.{guess}")


def _params(parsed: argparse.Namespace) -> dict[str, Any]:
    named = {"temperature": parsed.temperature, "max_tokens": parsed.max_tokens, "top_p": parsed.top_p}
    params = {name: value for name, value in named.items() if value is not None}
    for pair in parsed.param:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"-p takes KEY=VALUE, such as -p seed=7, not {pair!r}.")
        if name in SET_OTHERWISE:
            raise ConfigError(f"-p cannot set {name}; use {SET_OTHERWISE[name]}.")
        params[name] = _json_or_text(text)
    return params


def _json_or_text(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return text
