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
from ..redaction import redact
from ..text import printable

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
SYSTEM, PROMPT = "You are a helpful assistant.", "What is the capital of France?"
COLUMNS = ["endpoint", "model", "status", "prompt_tokens", "completion_tokens", "total_tokens", "duration_ms"]


@dataclass(frozen=True)
class Subcommand:
    """One word after `python -m helix_nb`."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]  # returns the exit code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter still shows the others
    try:
        return COMMANDS[options.command].run(options)
    except HelixError as error:
        _note(redact(str(error)))
        return 1
    except KeyboardInterrupt:
        _note("stopped")
        return 130
    except OSError as error:
        if error.filename is not None:
            raise
        return _give_up_output(error)


def _note(sentence: str) -> None:
    """Print a line beside the answer, to standard error."""
    print(f"helix_nb: {printable(sentence)}", file=sys.stderr)


def _give_up_output(error: OSError) -> int:
    """Say that standard output cannot be written, as on a full disk; a reader that has left, as `| head`
    does, is told nothing."""
    # because at exit the interpreter writes what is left, and would fail again with a traceback
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        _note(f"The output cannot be written: {error.strerror or error}.")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m helix_nb", description="Language models in notebooks.")
    parser.add_argument("--version", action="version", version=f"helix_nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help, description=command.help))
    return parser


def _ask_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", help="the prompt; - reads it from standard input")
    parser.add_argument("-m", "--model", help="the model's name (default: the endpoint's)")
    parser.add_argument("-e", "--endpoint", help="helix, local, demo or a URL (default: what is configured)")
    parser.add_argument("-s", "--system", help="a system message")
    parser.add_argument("--no-stream", action="store_true", help="ask for the whole answer at once")


def _ask(options: argparse.Namespace) -> int:
    _print_answer(
        _read_prompt() if options.prompt == "-" else options.prompt,
        model=options.model,
        endpoint=options.endpoint,
        system=options.system,
        stream=not options.no_stream,
    )
    return 0


def _read_prompt() -> str:
    if sys.stdin is None:
        raise ConfigError("There is no standard input to read the prompt from.")
    return sys.stdin.read()


def _print_answer(prompt: str, **options: Any) -> None:
    """Stream an answer to standard output; notes, and that it was cut, go to standard error."""
    from ..chat.ask import stream

    with stream(prompt, **options) as answer:
        try:
            for piece in answer:
                print(printable(piece), end="", flush=True)
        finally:
            print(flush=True)
    reply = answer.reply
    for note in reply.notes:
        _note(note)
    if reply.cut:
        _note(f"The answer was cut: {reply.finish_reason}")


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-lab", action="store_true", help="stop before JupyterLab")


def _demo(options: argparse.Namespace) -> int:
    from ..records.reading.frames import log

    print(f"> {PROMPT}", flush=True)
    _print_answer(PROMPT, system=SYSTEM)
    row = log(last=1)[COLUMNS]
    if row.empty:
        print("\nThe log is off (HELIX_NB_LOG=off); else the exchange would be a row of pandas, hx.log().")
    else:
        print("\nThe exchange is a row of pandas, hx.log():\n")
        print(row.round(1).to_string(index=False), flush=True)
    return 0 if options.no_lab else _open_lab()


def _open_lab() -> int:
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
    return _replace_process(command)


def _replace_process(command: list[str]) -> NoReturn:
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


def _tiny_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", help="a new or empty folder")


def _tiny_model(options: argparse.Namespace) -> int:
    from ..endpoints.local.tiny_model import build

    print(build(options.directory))
    print("Random weights: it answers gibberish, for trying out local models.", file=sys.stderr)
    return 0


COMMANDS = {
    "demo": Subcommand("one answer, its row in the log, then JupyterLab", _demo_arguments, _demo),
    "ask": Subcommand("stream one answer to standard output", _ask_arguments, _ask),
    "serve": Subcommand("run the demo endpoint and print its URL", _serve_arguments, _serve),
    "doctor": Subcommand("what is configured, reachable and installed", _doctor_arguments, _doctor),
    "tiny-model": Subcommand(
        "build a tiny local model with random weights", _tiny_model_arguments, _tiny_model
    ),
}
