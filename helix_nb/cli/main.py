"""`python -m helix_nb`: demo, ask, serve, doctor, tiny-model.

Text goes to standard output, everything else to standard error. A failure is one line there and
exit code 1; Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from .._version import __version__
from ..errors import ConfigError, HelixError
from ..replies import Reply

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
SYSTEM, PROMPT = "You are a helpful assistant.", "What is the capital of France?"
SHOWN = ["endpoint", "model", "status", "prompt_tokens", "completion_tokens", "total_tokens", "duration_ms"]


@dataclass(frozen=True)
class Subcommand:
    """One subcommand: its help line, its arguments, and what it does (returns the exit code)."""

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter still shows the others
    try:
        return COMMANDS[options.command].run(options)
    except HelixError as error:
        from ..redaction import redact
        from ..text import printable

        print(f"helix_nb: {printable(redact(str(error)))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("helix_nb: stopped", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # then whoever read the output has left, as `| head` does
            print(f"helix_nb: The output cannot be written: {error.strerror or error}.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m helix_nb", description="Language models in notebooks.")
    parser.add_argument("--version", action="version", version=f"helix_nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.arguments(commands.add_parser(name, help=command.help, description=command.help))
    return parser


def _ask_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", help="the prompt; - reads it from standard input")
    parser.add_argument("-m", "--model", help="the model's name (default: the endpoint's)")
    parser.add_argument("-e", "--endpoint", help="helix, local, demo or a URL (default: what is configured)")
    parser.add_argument("-s", "--system", help="a system message")
    parser.add_argument("--no-stream", action="store_true", help="ask for the whole answer at once")


def _ask(options: argparse.Namespace) -> int:
    prompt = _standard_input() if options.prompt == "-" else options.prompt
    chosen = {"model": options.model, "endpoint": options.endpoint, "system": options.system}
    _say(prompt, stream=not options.no_stream, **chosen)
    return 0


def _standard_input() -> str:
    if sys.stdin is None:
        raise ConfigError("There is no standard input to read the prompt from.")
    return sys.stdin.read()


def _say(prompt: str, **options: Any) -> Reply:
    """Stream an answer to standard output; notes and a cut are told on standard error."""
    from ..chat.ask import stream
    from ..text import printable

    with stream(prompt, **options) as answer:
        try:
            for piece in answer:
                print(printable(piece), end="", flush=True)
        finally:
            print(flush=True)
    reply = answer.reply
    notes = [*reply.notes, *(["The answer was cut: " + str(reply.finish_reason)] if reply.cut else [])]
    for note in notes:
        print(f"helix_nb: {printable(note)}", file=sys.stderr)
    return reply


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-lab", action="store_true", help="stop before JupyterLab")


def _demo(options: argparse.Namespace) -> int:
    from ..records.reading.frames import log

    print(f"> {PROMPT}", flush=True)
    _say(PROMPT, system=SYSTEM)
    row = log(last=1)[SHOWN]
    if row.empty:
        print("\nThe log is off (HELIX_NB_LOG=off); else the exchange would be a row of pandas, hx.log().")
    else:
        print("\nThe exchange is a row of pandas, hx.log():\n")
        print(row.round(1).to_string(index=False), flush=True)
    return 0 if options.no_lab else _lab()


def _lab() -> int:
    from importlib.util import find_spec

    if not QUICKSTART.is_file():
        print("\nThe quickstart notebook comes with the repository, not with the package.")
        print("In any notebook: %load_ext helix_nb, then a cell that begins with %%helix.")
        return 0
    if find_spec("jupyterlab") is None:
        print("\nJupyterLab is not installed here. To go on: pip install 'helix-nb[lab]', then")
        print(f"jupyter lab {QUICKSTART}")
        return 0
    command = [sys.executable, "-m", "jupyterlab", str(QUICKSTART)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # a container; JupyterLab refuses root otherwise
        command.append("--allow-root")
    print("\nOpening JupyterLab on notebooks/quickstart.ipynb; Ctrl-C ends it.", flush=True)
    return _become(command)


def _become(command: list[str]) -> NoReturn:
    """Hand this process over, so that Ctrl-C and the terminal are JupyterLab's alone."""
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="the port (default: a free one)")


def _serve(options: argparse.Namespace) -> int:
    from ..demo import start

    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port is a number from 0 (any free one) to 65535, not {options.port}.")

    async def serve() -> None:
        try:
            server = start(options.port)
        except OSError as error:
            raise ConfigError(f"Port {options.port} cannot be used: {error}; leave --port out.") from None
        print(server.url, flush=True)
        print(f"Canned text, not a model. Any OpenAI client: base_url={server.url!r}", file=sys.stderr)
        print("Ctrl-C ends it.", file=sys.stderr, flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        pass  # the way to end it
    return 0


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="do not ask the endpoints")


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import findings

    healthy = True
    for finding in findings(offline=options.offline):
        healthy &= finding.ok
        print(finding.line, flush=True)
    return 0 if healthy else 1


def _tiny_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", help="a new or empty folder")


def _tiny(options: argparse.Namespace) -> int:
    from ..endpoints.local.tiny_model import build

    print(build(options.directory))
    print("Random weights: it answers gibberish, for trying out local models.", file=sys.stderr)
    return 0


COMMANDS = {
    "demo": Subcommand("one answer, its row in the log, then JupyterLab", _demo_arguments, _demo),
    "ask": Subcommand("stream one answer to standard output", _ask_arguments, _ask),
    "serve": Subcommand("run the demo endpoint and print its URL", _serve_arguments, _serve),
    "doctor": Subcommand("what is configured, reachable and installed", _doctor_arguments, _doctor),
    "tiny-model": Subcommand("build a tiny local model with random weights", _tiny_arguments, _tiny),
}
