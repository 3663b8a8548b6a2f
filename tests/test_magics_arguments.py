"""A magic's line of options, its names, its context: what is read and what is refused, without a kernel."""

from __future__ import annotations

import functools
import inspect
import re
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import helix_nb as hx
from helix_nb import ConfigError
from helix_nb.notebook.attach.attachments import attach
from helix_nb.notebook.attach.budget import count_tokens
from helix_nb.notebook.attach.interpolation import interpolate
from helix_nb.notebook.attach.names import value_or_path
from helix_nb.notebook.cell.arguments import cell_options, split_prompt
from helix_nb.notebook.cell.options import FORMATS, OPTIONS
from helix_nb.notebook.commands.table import BY_NAME, COMMANDS
from helix_nb.notebook.completion import files
from helix_nb.notebook.display.facts import quiet_line
from helix_nb.notebook.display.render import RenderOptions, code_of, render
from helix_nb.replies import Reply, Usage
from helix_nb.schemas.json_text import read_json


def test_every_option_is_read() -> None:
    """One line with everything on it becomes the data it says."""
    line = (
        "qwen3:8b -m other -e lab -s 'Be brief.' -o answer -f json -t 0 --max-tokens 9 --top-p 0.5"
        " -p seed=7 -p note=text -i a.png -i b -a df -a c.md --attach-tokens 50 --schema City --rounds 2"
        " --raw --dry-run -q --no-stream --no-log --timeout 2.5"
    )
    options = cell_options(line)
    assert options.models == ("qwen3:8b", "other")
    assert (options.endpoint, options.system, options.out, options.format) == (
        "lab",
        "Be brief.",
        "answer",
        "json",
    )
    assert options.params == {"temperature": 0, "max_tokens": 9, "top_p": 0.5, "seed": 7, "note": "text"}
    assert (options.images, options.attach, options.attach_tokens) == (("a.png", "b"), ("df", "c.md"), 50)
    assert (options.schema, options.rounds, options.timeout) == ("City", 2, 2.5)
    assert options.raw and options.dry_run and options.quiet and not options.insert
    assert not options.stream and not options.log
    assert cell_options("-t 0 qwen3:8b -c").chat == "default" and cell_options("-c trip").chat == "trip"
    assert cell_options("--tool a --tool b").tools == ("a", "b") and cell_options("--insert").insert


NAMED = [name for name in inspect.signature(hx.ask).parameters if name not in ("prompt", "params")]
KEYS = [
    "--key abc",
    "--api-key=abc",
    "-e x hl-abcdefgh",
    "-m sk-proj-0123456789abcdef",
    "-p api_key=abc",
    "-s 'Bearer abcdefghijkl'",
    "--token abc",
    "http://127.0.0.1/?a=b&api_key=abc",
    "-m AIzaSyabcdefghijklmnopqrstuvwxyz0123456",
]


@pytest.mark.parametrize("line", KEYS)
def test_a_key_on_the_line_is_refused_and_not_repeated(line: str) -> None:
    """Whatever looks like a key is refused, with a sentence that does not contain it."""
    with pytest.raises(ConfigError, match="A key does not belong") as caught:
        cell_options(line)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("name", ["n", "tools", "messages", "prompt", *NAMED])
def test_what_has_an_option_of_its_own_is_no_parameter(name: str) -> None:
    """`-p` sets nothing that the call names itself, and says which option does."""
    with pytest.raises(ConfigError, match=f"-p cannot set {name}; use ") as caught:
        cell_options(f"-p {name}=1")
    used = str(caught.value).rpartition("use ")[2].removesuffix(".").split()[-1]
    assert used == "cell" or used in {flag for option in OPTIONS for flag in option.flags}


@pytest.mark.parametrize(
    "line", ["-m sk-learn-helper", "-s 'the key idea'", "-s 'Explain --token'", "-o token", "-e my-key-box"]
)
def test_words_that_only_sound_like_keys_pass(line: str) -> None:
    """Names with `key` or `sk-` in them are no keys."""
    cell_options(line)


NOTHING = [
    "-m ''",
    "-e ' '",
    "-o ''",
    "-c ''",
    "-f ''",
    "--schema ''",
    "--tool ''",
    "-a ''",
    "-i ''",
    "-p ''",
]


@pytest.mark.parametrize("line", NOTHING)
def test_an_option_without_its_value_is_refused(line: str) -> None:
    """An empty value is a mistake, not a wish for the default; only an empty system prompt means none."""
    with pytest.raises(ConfigError, match=f"{line.split()[0]}.* needs a value"):
        cell_options(line)
    assert cell_options("-s ''").system == ""


MISTYPED = [
    ("\u2014dry-run", "Did you mean --dry-run"),
    ("\u2013t 0", "Did you mean -t"),
    ("-m a -m b --insert", "side by side"),
    ("--max-tokens " + "9" * 5000, "takes a whole number"),
]


@pytest.mark.parametrize(("line", "said"), MISTYPED)
def test_what_cannot_be_meant_is_refused(line: str, said: str) -> None:
    """A dash that an editor made long is no model's name; several models have no one next cell."""
    with pytest.raises(ConfigError, match=said):
        cell_options(line)


@given(st.text(max_size=60))
def test_a_line_is_read_or_refused_with_a_sentence(line: str) -> None:
    """No line whatever raises anything but ConfigError, in one line of text."""
    try:
        cell_options(line)
    except ConfigError as refused:
        assert str(refused)


@given(st.text(max_size=40))
def test_a_prompt_after_two_dashes_is_verbatim(text: str) -> None:
    """What follows the first `--` outside quotes is the prompt, to the character."""
    assert split_prompt(f"-s 'a -- b' -- {text}", "%helix ask") == ("-s 'a -- b' ", text)


def test_the_tables_are_whole() -> None:
    """No flag stands for two things, every option explains itself, every command can be run."""
    flags = [flag for option in OPTIONS for flag in option.flags]
    assert len(flags) == len(set(flags))
    assert all(option.help.endswith(".") and option.example.startswith("%%helix") for option in OPTIONS)
    contract = "ask use connect models alias fix explain reset chats chat log usage panel unload replay help"
    assert set(BY_NAME) == set(contract.split())
    for command in COMMANDS:
        module, _, function = command.where.partition(":")
        found = __import__(f"helix_nb.notebook.commands.{module}", fromlist=[function])
        assert callable(getattr(found, function))


@given(st.text(alphabet=st.sampled_from(list("{}x'\"([)] ")), max_size=30))
def test_values_are_never_read_again(value: str) -> None:
    """A value goes in as it is, whatever braces it holds."""
    assert interpolate("<{{value}}>", {"value": value}) == f"<{value}>"


def test_names_are_guessed() -> None:
    """An undefined name is an error that knows a close one."""
    with pytest.raises(ConfigError, match="Did you mean 'frame'"):
        interpolate("{{frmae}}", {"frame": 1})


class Silent(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError


class Stubborn:
    """A value with nothing to say."""

    def __str__(self) -> str:
        raise Silent


def undefined_inside() -> None:
    raise NameError("by hand")


BROKEN = [
    ("{{stubborn}}", "failed with Silent"),
    ("{{call()}}", "failed with NameError: by hand"),
    ("{{[nmaes for _ in 'a']}}", "needs 'nmaes', which is not defined; nothing was sent"),
    ("{{[nmaes for _ in 'a']}}", "Did you mean 'names'"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_value_that_cannot_be_had_is_one_sentence(text: str, said: str) -> None:
    """Whatever a value's own code raises is told in a sentence that blames the right thing."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        interpolate(text, {"stubborn": Stubborn(), "call": undefined_inside, "names": 1})


@pytest.mark.parametrize("word", ["~nobody-of-that-name/x.png", "x" * 300, "~nobody-of-that-name"])
def test_a_path_that_is_none_is_one_sentence(word: str) -> None:
    """Names that the file system itself refuses are refused like any other that is not there."""
    for flag in ("-a", "-i"):
        with pytest.raises(ConfigError, match=f"{flag}: .*(cannot be read|is neither)"):
            value_or_path(word, {}, flag)
    assert list(files(f"{word}/")) == []


ANSWERS = [
    ('{"a": 1}', {"a": 1}),
    ("```json\n[1, 2]\n```", [1, 2]),
    ('Here: {"a": {"b": 2}} and so on', {"a": {"b": 2}}),
    ("3", 3),
    ('As [asked]: {"a": 1}.', {"a": 1}),
    ("1. So:\n\n   ```json\n   [1]\n   ```", [1]),
]


@pytest.mark.parametrize(("text", "value"), ANSWERS)
def test_json_is_found_in_an_answer(text: str, value: object) -> None:
    """JSON counts alone, fenced, or with words around it."""
    assert read_json(text, arrays=True) == value


def test_two_pieces_of_json_are_none() -> None:
    """Where an answer holds several values, none is taken for the one that was asked for."""
    with pytest.raises(ValueError, match="2 pieces"):
        read_json('See [1]: {"a": 1}', arrays=True)


def test_code_is_found_in_an_answer() -> None:
    """The code blocks of an answer, joined; an unclosed one too; all of it when there is none."""
    assert code_of("Do:\n```python\na = 1\n```\nthen\n~~~\nb = 2\n~~~\n") == "a = 1\n\nb = 2"
    assert code_of("```py\nunclosed = 1") == "unclosed = 1"
    assert code_of("x = 1\n") == "x = 1"
    assert code_of("Empty:\n```\n```\n") == "Empty:\n```\n```"


def test_code_is_found_in_lists_and_quotes() -> None:
    """A code block counts wherever Markdown has one, without the indentation of the list it stands in."""
    steps = "1. Load:\n\n   ```python\n   if a:\n       b = 1\n   ```\n\n2. Then:\n   ~~~sh\n   ls\n   ~~~\n"
    assert code_of(steps) == "if a:\n    b = 1\n\nls"
    assert code_of("> ```\n> quoted\n> ```") == "quoted"


@pytest.mark.parametrize("text", ["`" * 100_000, "~~~a\n" * 20_000, "```\n" + " " * 100_000])
def test_finding_code_and_json_takes_no_time(text: str) -> None:
    """A model that repeats fences without end costs no more than reading it does."""
    begun = time.thread_time()
    code_of(text)
    with pytest.raises(ValueError):
        read_json(text, arrays=True)
    assert time.thread_time() - begun < 2


def test_the_quiet_line_tells_what_is_known() -> None:
    """Unknown tokens are called unknown, cuts are named, and times never stand there."""
    reply = Reply(endpoint="lab", model="m", status="ok", duration_ms=12345.0)
    assert quiet_line(reply) == "lab · m · tokens unknown"
    cut = replace(reply, finish_reason="length", usage=Usage(1200, 3, 1203), cost=0.00123, currency="USD")
    assert quiet_line(cut) == "lab · m · 1,200 tokens in, 3 out · $0.0012 · cut at max_tokens"
    assert quiet_line(replace(reply, status="interrupted"), ["df (frame)"]).endswith(
        "· interrupted · df (frame)"
    )


def test_thinking_is_folded_and_nothing_a_model_writes_is_live() -> None:
    """Reasoning stands in a folded block, escaped; so do notes, calls and the model's name."""
    evil = "<img src=x onerror=alert(1)>"
    reply = Reply(text=evil, reasoning=evil, model=evil, endpoint="e", notes=(evil,), status="ok")
    for name in FORMATS:
        shown = render(reply, RenderOptions(name), [evil], final=True).html
        assert "<details" in shown and "&lt;img" in shown
        assert not re.search(r"<img|onerror=(?![^<]*&gt;)", shown)


def test_files_are_read_by_what_they_hold(tmp_path: Path) -> None:
    """Text is read in UTF-8 and UTF-16, notebooks by their cells, pictures as such; the rest is refused."""
    (tmp_path / "a.txt").write_text("héllo", encoding="utf-16")
    (tmp_path / "b.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": ["x = 1"], "outputs": [1]}]}'
    )
    (tmp_path / "c.bin").write_bytes(b"\x00\x01\x02")
    (tmp_path / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "e.txt").write_text("x" * 400_001)
    assert attach(str(tmp_path / "a.txt"), {}).text == "héllo"
    assert attach(str(tmp_path / "b.ipynb"), {}).text == "# %% [code]\nx = 1"
    assert attach(str(tmp_path / "d.png"), {}).kind == "picture"
    for name, why in (("c.bin", "neither text nor a picture"), ("e.txt", "larger than"), ("", "is a folder")):
        with pytest.raises(ConfigError, match=why):
            attach(str(tmp_path / name), {})


def test_objects_keep_to_their_budget() -> None:
    """Any object's text is cut to its budget and says so; one whose repr fails is refused."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

        @property
        def size(self) -> int:
            raise RuntimeError("nowhere")

    made = attach("data", {"data": {"key": list(range(10_000))}}, 100)
    assert count_tokens(made.text) <= 110 and "[cut after about 100 tokens]" in made.text
    with pytest.raises(ConfigError, match="the repr of that Broken failed with RuntimeError"):
        attach("broken", {"broken": Broken()})
    with pytest.raises(ConfigError, match=r"broken\.size cannot be read: RuntimeError: nowhere"):
        attach("broken.size", {"broken": Broken()})


def test_a_large_object_costs_what_is_sent_of_it() -> None:
    """Of millions of items only those that fit are read; a text or bytes that large are refused."""
    numbers = list(range(3_000_000))
    began = time.process_time()
    made = attach("data", {"data": {"numbers": numbers, "again": [numbers]}})
    assert time.process_time() - began < 0.5 and "0,\n" in made.text
    assert "[cut after about 2,000 tokens]" in made.text
    for large in ("x" * 400_001, b"x" * 400_001):
        with pytest.raises(ConfigError, match="larger than 400 kB"):
            attach("large", {"large": large})
    with pytest.raises(ConfigError, match="neither text nor a picture"):
        attach("raw", {"raw": b"\x00\x01"})
    assert attach("raw", {"raw": "née".encode()}).text == "née"


def test_a_key_is_hidden_before_a_text_is_cut() -> None:
    """Wherever the end falls, in a cell of a table or in a repr, no part of a key is sent."""
    key = "hl-canary0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for before in range(0, 400, 7):
        text = "x" * before + " " + key
        for value in (pd.DataFrame({"text": [text]}), pd.Series([text]), [text], {text: text}):
            assert "canary" not in attach("it", {"it": value}, 100).text


def test_what_only_wraps_a_source_is_sent_as_that_source() -> None:
    """A cached function is a function; a subclass of a DataFrame is one."""

    class Frame(pd.DataFrame):
        pass

    cached = functools.cache(count_tokens)
    assert attach("cached", {"cached": cached}) == replace(attach("f", {"f": count_tokens}), name="cached")
    assert attach("frame", {"frame": Frame({"a": [1]})}).kind == "DataFrame, 1 × 1"
