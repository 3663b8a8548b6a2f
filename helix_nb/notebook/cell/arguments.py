"""A magic's line of options, read into data. Whatever is wrong with it becomes one sentence."""

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
LONGEST_NUMBER = 18  # digits: what fits 64 bits
OWN_WAY = {
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
    """What one `%%helix` line asks for; None where it leaves the choice to the settings."""

    models: tuple[str, ...] = ()
    endpoint: str | None = None
    system: str | None = None
    out: str | None = None
    chat: str | None = None
    format: str | None = None
    insert: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    attach_tokens: int | None = None
    schema: str | None = None
    tools: tuple[str, ...] = ()
    rounds: int | None = None
    raw: bool = False
    dry_run: bool = False
    quiet: bool = False
    stream: bool = True
    log: bool = True
    timeout: float | None = None


def cell_options(line: str, what: str = "%%helix") -> Options:
    """Read the options of `%%helix` (and of `%helix ask`, `fix`, `explain`)."""
    found, words = parse(line, OPTIONS, what)
    if len(words) > 1:
        below = "below the %%helix line" if what == "%%helix" else f"after `--`: {what} -- {' '.join(words)}"
        raise ConfigError(
            f"{what} takes one model on its line, not {len(words)} words; the prompt goes {below}."
        )
    options = Options(
        models=(*words, *found.model),
        endpoint=found.endpoint,
        system=found.system,
        out=None if found.out is None else _variable(found.out),
        chat=found.chat,
        format=None if found.format is None else _format(found.format),
        insert=found.insert,
        params=_params(found),
        images=tuple(found.image),
        attach=tuple(found.attach),
        attach_tokens=found.attach_tokens,
        schema=found.schema,
        tools=tuple(found.tool),
        rounds=found.rounds,
        raw=found.raw,
        dry_run=found.dry_run,
        quiet=found.quiet,
        stream=not found.no_stream,
        log=not found.no_log,
        timeout=found.timeout,
    )
    if len(options.models) > 1 and (options.chat or options.tools or options.insert):
        raise ConfigError(
            "Several models answer side by side: leave -c, --tool and --insert out, or give one -m."
        )
    return options


def parse(line: str, options: Sequence[Option], what: str) -> tuple[argparse.Namespace, list[str]]:
    """Split a line into its options and its other words; ConfigError is one sentence."""
    refuse_keys(line)
    words = _words(line, what)
    if any(KEY_OPTION.search(word) for word in (*words, " ".join(words))):
        raise ConfigError(MISPLACED)
    parser = _parser(what, tuple(options))
    found, rest = parser.parse_known_args(words)
    for word in rest:
        if word[:1] in DASHES and len(word) > 1:
            parser.unknown(word.partition("=")[0])
    return found, rest


def refuse_keys(line: str) -> None:
    """Refuse a line that holds what looks like a key: notebooks and histories keep it."""
    register_keys()
    if KEY_LIKE.search(line) or redact(line) != line:
        raise ConfigError(MISPLACED)


def split_prompt(line: str, what: str) -> tuple[str, str | None]:
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
        raise _unclosed(what) from None
    return line, None


class _Parser(argparse.ArgumentParser):
    """argparse without its exits, its abbreviations and its two-line errors."""

    def __init__(self, what: str, options: Sequence[Option]) -> None:
        super().__init__(prog=what, add_help=False, allow_abbrev=False)
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
        settings |= {"type": _READ.get(option.kind, _said)} if option.kind else {}
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
def _parser(what: str, options: tuple[Option, ...]) -> _Parser:
    """Making a parser takes a millisecond, which an answer would come later."""
    return _Parser(what, options)


def _words(line: str, what: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        raise _unclosed(what) from None


def _unclosed(what: str) -> ConfigError:
    return ConfigError(f"A quote on the {what} line is not closed; close it, or write \\' for an apostrophe.")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"takes a number from 0 up, not {text!r}")
    return value


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > LONGEST_NUMBER or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1 up, not {text!r}")
    return int(text)


def _said(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("needs a value")
    return text


_READ = {"number": _number, "whole": _whole, "system": str}  # an empty system prompt: none at all


def _variable(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(f"-o takes the name of a variable, not {name!r}.")
    return name


def _format(name: str) -> str:
    if name in FORMATS:
        return name
    guess = did_you_mean(name, FORMATS, shown="{}")
    raise ConfigError(f"-f takes {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {name!r}.{guess}")


def _params(found: argparse.Namespace) -> dict[str, Any]:
    named = {"temperature": found.temperature, "max_tokens": found.max_tokens, "top_p": found.top_p}
    params = {name: value for name, value in named.items() if value is not None}
    for pair in found.param:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"-p takes KEY=VALUE, such as -p seed=7, not {pair!r}.")
        if name in OWN_WAY:
            raise ConfigError(f"-p cannot set {name}; use {OWN_WAY[name]}.")
        params[name] = _value(text)
    return params


def _value(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return text
