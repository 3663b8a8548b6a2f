"""The options of `%%helix`, as one table: the parser, the help, the completer and the README read it."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("markdown", "text", "code", "json")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a magic."""

    flags: tuple[str, ...]  # its spellings; the last one names it
    help: str
    kind: str = ""  # its value: "" (none), "text", "number", "integer", or a kind that completion offers
    metavar: str = ""
    repeat: bool = False
    example: str = ""

    @property
    def name(self) -> str:
        return self.flags[-1].lstrip("-").replace("-", "_")


OPTIONS = (
    Option(
        ("-m", "--model"),
        "Ask this model. Several -m ask all of them at once, side by side.",
        "model",
        "MODEL",
        True,
        "%%helix -m qwen3:8b",
    ),
    Option(("-e", "--endpoint"), "Ask this endpoint.", "endpoint", "ENDPOINT", example="%%helix -e demo"),
    Option(
        ("-s", "--system"),
        "The system prompt, or @NAME for a variable that holds it.",
        "system",
        "TEXT|@NAME",
        example='%%helix -s "Answer in one word."',
    ),
    Option(
        ("-o", "--out"),
        "Keep the Reply in this variable (a DataFrame with several -m).",
        "variable",
        "NAME",
        example="%%helix -o answer",
    ),
    Option(
        ("-c", "--chat"),
        "Go on with this chat; without a name, the chat `default`.",
        "chat",
        "CHAT",
        example="%%helix -c trip",
    ),
    Option(
        ("-f", "--format"),
        "Show the answer as markdown, text, code (its code blocks only) or json (parsed).",
        "format",
        "FORMAT",
        example="%%helix -f json -o facts",
    ),
    Option(("--insert",), "Put the answer's code into the next cell as well.", example="%%helix --insert"),
    Option(
        ("-t", "--temperature"), "Sampling temperature, 0 to 2.", "number", "TEMP", example="%%helix -t 0"
    ),
    Option(
        ("--max-tokens",),
        "Cut the answer after this many tokens.",
        "integer",
        "N",
        example="%%helix --max-tokens 200",
    ),
    Option(("--top-p",), "Nucleus sampling, 0 to 1.", "number", "P", example="%%helix --top-p 0.9"),
    Option(
        ("-p", "--param"),
        "Send any other parameter; the value is JSON, or else text.",
        "text",
        "KEY=VALUE",
        True,
        "%%helix -p seed=7",
    ),
    Option(
        ("-i", "--image"),
        "Send a picture: a path, a URL, or a variable holding one.",
        "image",
        "IMAGE",
        True,
        "%%helix -i chart.png",
    ),
    Option(
        ("-a", "--attach"),
        "Send context: a file, a DataFrame, a Series, a function, a module, In[3], Out[3].",
        "context",
        "FILE|NAME",
        True,
        "%%helix -a df -a notes.md",
    ),
    Option(
        ("--attach-tokens",),
        "How many tokens one attached DataFrame, Series or object may take (default 2000).",
        "integer",
        "N",
        example="%%helix -a df --attach-tokens 500",
    ),
    Option(
        ("--schema",),
        "Have the answer follow this pydantic model, dataclass, TypedDict or JSON schema.",
        "variable",
        "NAME",
        example="%%helix --schema City -o city",
    ),
    Option(
        ("--tool",),
        "Let the model call this function of yours.",
        "variable",
        "NAME",
        True,
        "%%helix --tool weather",
    ),
    Option(
        ("--rounds",),
        "At most this many rounds of tool calls (default 8).",
        "integer",
        "N",
        example="%%helix --tool f --rounds 3",
    ),
    Option(("--raw",), "Send the cell as it is: `{{...}}` stays text.", example="%%helix --raw"),
    Option(("--dry-run",), "Print what would be sent, and send nothing.", example="%%helix --dry-run"),
    Option(("-q", "--quiet"), "Show no answer; use it with -o.", example="%%helix -q -o answer"),
    Option(("--no-stream",), "Ask for the answer in one piece.", example="%%helix --no-stream"),
    Option(("--no-log",), "Keep this exchange out of the log.", example="%%helix --no-log"),
    Option(("--timeout",), "Give up after this many seconds.", "number", "S", example="%%helix --timeout 60"),
)


def options_table(options: tuple[Option, ...]) -> str:
    """Return the options as aligned lines, with their values and what they do."""
    lefts = [", ".join(option.flags) + (f" {option.metavar}" if option.metavar else "") for option in options]
    width = max(map(len, lefts))
    return "\n".join(
        f"  {left:<{width}}  {option.help}{' Repeatable.' * option.repeat}"
        for left, option in zip(lefts, options, strict=True)
    )
