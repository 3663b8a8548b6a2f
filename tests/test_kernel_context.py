"""The rest of `%%helix` in a real kernel: context, schemas, tools, several models, chats, completion."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_session import KernelSession, Ran, kernel, kernel_factory, lines_of
from slow_server import SlowServer

__all__ = ["kernel", "kernel_factory"]

SETUP = """
import helix_nb as hx
import pandas as pd
from dataclasses import dataclass
from PIL import Image

df = pd.DataFrame({"city": ["Paris", "Rome"] * 500, "people": range(1000)})
portrait = Image.new("RGB", (4, 4), "red")

def double(number: int) -> int:
    "Double a number."
    import threading
    assert threading.current_thread() is threading.main_thread()
    return 2 * number

@dataclass
class City:
    name: str
    people: int
"""


@pytest.fixture(scope="module", autouse=True)
def prepared(kernel: KernelSession) -> None:
    ran = kernel.run(SETUP)
    assert ran.status == "ok", ran.error


@pytest.fixture
def okay(kernel: KernelSession) -> Iterator[SlowServer]:
    """A server that says "okay", current in the kernel."""
    with SlowServer(["okay"]) as server:
        kernel.run(f"%helix connect {server.url} --name lab -m m")
        yield server


def test_context_of_every_kind_goes_along(kernel: KernelSession, okay: SlowServer, tmp_path: Path) -> None:
    """Frames, Series, functions, cells, outputs and files arrive as named texts; the output names them."""
    notes = tmp_path / "notes.md"
    notes.write_text("Remember the milk.")
    kernel.run("df.people.sum()")
    number = kernel.value("len(In) - 2")
    words = f"-a df -a df.city -a double -a json -a In[{number}] -a Out[{number}] -a {notes}"
    ran = kernel.run(f"import json\n%helix ask {words} -i portrait -- What is this?")
    assert ran.status == "ok", ran.error
    *texts, prompt, image = okay.bodies[-1]["messages"][-1]["content"]
    assert prompt["text"] == "What is this?" and image["image_url"]["url"].startswith(
        "data:image/png;base64,"
    )
    sent = [part["text"] for part in texts]
    assert [
        text.startswith(f'<attachment name="{name}"')
        for name, text in zip(
            ["df", "df.city", "double", "json", f"In[{number}]", f"Out[{number}]", str(notes)],
            sent,
            strict=True,
        )
    ] == [True] * 7
    assert "1,000 rows, 2 columns" in sent[0] and "people,int64,0" in sent[0] and "0,Paris,0" in sent[0]
    assert "Double a number." in sent[2] and "def dumps" in sent[3]
    assert "df.people.sum()" in sent[4] and "499500" in sent[5] and "Remember the milk." in sent[6]
    shown = kernel.run("%%helix -a df -i portrait\nWhat is this?").plain
    assert "df (DataFrame, 1,000 × 2, about" in shown and "portrait (picture)" in shown


def test_a_class_of_a_cell_has_a_source(kernel: KernelSession, okay: SlowServer) -> None:
    """Its newest definition goes along, with its decorators; a class inside another one too."""
    kernel.run("@dataclass\nclass Hut:\n    class Bed:\n        warm = True\n\n    beds: int")
    kernel.run("1 +")
    ran = kernel.run("%helix ask -a City -a Hut -a Hut.Bed -- What is this?")
    assert ran.status == "ok", ran.error
    sent = [part["text"] for part in okay.bodies[-1]["messages"][-1]["content"]]
    assert 'kind="class">\n@dataclass\nclass City:\n    name: str\n    people: int\n' in sent[0]
    assert "class Hut:\n    class Bed:\n        warm = True\n\n    beds: int\n" in sent[1]
    assert ">\n    class Bed:\n        warm = True\n" in sent[2]


def test_a_frame_keeps_to_its_budget(kernel: KernelSession, okay: SlowServer) -> None:
    """However wide a frame, what is sent of it keeps to the tokens it was given, and says how many."""
    kernel.run("wide = pd.DataFrame([[f'value {i}' for i in range(400)]] * 50)")
    for budget in (2000, 300):
        said = kernel.run(f"%%helix -a wide --attach-tokens {budget}\nx").plain
        about = int(said.partition("about ")[2].partition(" tokens")[0].replace(",", ""))
        assert 100 < about <= budget
        assert "50 rows, 400 columns" in okay.bodies[-1]["messages"][-1]["content"][0]["text"]


def test_an_attachment_is_stored_once(kernel: KernelSession, okay: SlowServer) -> None:
    """Two exchanges with the same attachment share its text in the log; the prompt only names it."""
    kernel.run("%helix ask -a double -- first\n%helix ask -a double -- second")
    code = (
        "from helix_nb.records.storage.log import current_log\n"
        'current_log().read(lambda c: c.execute("SELECT count(*) FROM attachments WHERE '
        "instr(data, 'Double a number')\").fetchone()[0])"
    )
    assert kernel.run(code).plain == "[1]"
    prompts = kernel.value("hx.log(last=2).prompt.tolist()")
    assert prompts == [f'<attachment name="double" kind="function">\n{word}' for word in ("first", "second")]
    kernel.run("%helix use -e demo")


def test_a_schema_gives_an_object(kernel: KernelSession) -> None:
    """--schema puts a validated object into `.parsed`; what cannot be repaired is an error with its text."""
    kernel.run("%helix use -e demo")
    ran = kernel.run("%%helix --schema City -o city\nRome has 2800000 people")
    assert ran.status == "ok", ran.error
    assert kernel.value("(type(city.parsed).__name__, city.parsed.people)") == ("City", 2800000)
    with SlowServer(["I would rather not."]) as server:
        kernel.run(f"%helix connect {server.url} --name stubborn -m m")
        ran = kernel.run("%%helix --schema City\nRome?")
    assert len(server.bodies) == 2 and ran.error is not None and ran.error["ename"] == "SchemaMismatch"
    assert len(lines_of(ran.error)) == 1 and "I would rather not." in ran.plain


def test_json_and_code_are_formats(kernel: KernelSession) -> None:
    """-f json parses, past fences and words around it, or is an error; -f code shows the code alone."""
    with SlowServer(["Sure:\n\n```json\n", '{"a": [1, 2]}', "\n```\nDone."]) as server:
        kernel.run(f"%helix connect {server.url} --name json -m m")
        kernel.run("%%helix -f json -o found\nnumbers")
        assert kernel.value("found.parsed") == {"a": [1, 2]}
        assert server.bodies[-1]["response_format"] == {"type": "json_object"}
        assert "JSON" in server.bodies[-1]["messages"][0]["content"]
        shown = kernel.run("%%helix -f code\nnumbers").plain
        assert shown.startswith('{"a": [1, 2]}') and "Sure" not in shown
    with SlowServer(["no json"]) as server:
        kernel.run(f"%helix connect {server.url} --name prose -m m")
        ran = kernel.run("%%helix -f json\nnumbers")
    assert ran.error is not None and "not JSON" in lines_of(ran.error)[0] and "no json" in ran.plain


def test_tools_run_on_the_main_thread_and_are_shown(kernel: KernelSession) -> None:
    """A named function is called with checked arguments, its call is shown, and its result goes back."""
    kernel.run("%helix use -e demo")
    ran = kernel.run("%%helix --tool double\nUse double on 21")
    assert ran.status == "ok", ran.error
    assert 'called double({"number": 21}) → 42' in ran.plain.replace("'", '"')
    rows = kernel.value("hx.log(last=2).parent_id.notna().tolist()")
    assert rows == [False, True]


def test_an_interrupt_stops_a_tool(kernel: KernelSession) -> None:
    """Stop while a tool runs ends the tool and the cell; the next cell works."""
    kernel.run(
        "def dawdle(number: int) -> int:\n    'Dawdle.'\n    print('dawdling', flush=True)\n"
        "    import time\n    time.sleep(60)\n    return number"
    )
    pressed: list[float] = []

    def press(ran: Ran) -> None:
        if "dawdling" in ran.printed and not pressed:
            pressed.append(time.monotonic())
            kernel.interrupt()

    ran = kernel.run("%%helix --tool dawdle -e demo\nUse dawdle on 21", during=press)
    assert (
        ran.error is not None and ran.error["ename"] == "KeyboardInterrupt" and len(lines_of(ran.error)) == 1
    )
    assert kernel.run("1 + 1").plain == "2"


def test_a_model_that_never_stops_calling_is_stopped(kernel: KernelSession) -> None:
    """After N rounds of calls the cell fails with one line, and no tool has run more often than that."""
    call = {"id": "c", "type": "function", "function": {"name": "count", "arguments": "{}"}}
    kernel.run("calls = []\ndef count() -> int:\n    'Count.'\n    calls.append(1)\n    return len(calls)")
    with SlowServer([]) as server:
        server.delta = {"tool_calls": [{"index": 0, **call}]}
        kernel.run(f"%helix connect {server.url} --name eager -m m")
        ran = kernel.run("%%helix --tool count --rounds 3\ncount")
    assert ran.error is not None and "3 rounds" in lines_of(ran.error)[0]
    assert kernel.value("len(calls)") == 3 and len(server.bodies) == 4
    kernel.run("%helix use -e demo")


def test_several_models_answer_side_by_side(kernel: KernelSession) -> None:
    """Each -m is asked at once and makes a row; one output shows all, -o is a frame, a tag joins them."""
    with SlowServer(lambda body: [f"I am {body['model']}."], pause_s=0.05) as server:
        kernel.run(f"%helix connect {server.url} --name zoo")
        ran = kernel.run("%%helix -m alpha -m beta -o both\nWho are you?")
    assert ran.status == "ok" and len(ran.displays) == 1
    html, plain = ran.displays[0]["data"]["text/html"], ran.displays[0]["data"]["text/plain"]
    assert "I am alpha." in html and "I am beta." in html and "grid" in html
    assert plain.count("5 tokens in, 1 out") == 2
    assert kernel.value("both[['model', 'answer', 'status']].values.tolist()") == [
        ["alpha", "I am alpha.", "ok"],
        ["beta", "I am beta.", "ok"],
    ]
    tags = [json.loads(tag) for tag in kernel.value("hx.log(last=2).tags.tolist()")]
    assert tags[0]["side_by_side"] == tags[1]["side_by_side"]
    kernel.run("%helix use -e demo")


def test_one_failing_model_leaves_the_others(kernel: KernelSession) -> None:
    """A model that fails says so in its column; only when all fail does the cell."""
    ran = kernel.run("%%helix -e demo -m demo -m demo-fails -o both\nWhat is the capital of France?")
    assert ran.status == "ok" and "Paris" in ran.plain and "BadRequest" in ran.plain
    assert kernel.value("both.status.tolist()") == ["ok", "error"]
    ran = kernel.run("%%helix -e demo -m demo-fails -m demo-fails\nx")
    assert ran.error is not None and len(lines_of(ran.error)) == 1


@pytest.mark.parametrize("option", ["--schema City", "-f json"])
def test_side_by_side_an_answer_that_is_not_the_data_asked_for_failed(
    option: str, kernel: KernelSession
) -> None:
    """Its column and its row of `-o` say why and keep its text; the others' objects are in `parsed`."""
    answers = {"good": '{"name": "Rome", "people": 3}', "bad": "Rome is large."}
    with SlowServer(lambda body: [answers[body["model"]]]) as server:
        kernel.run(f"%helix connect {server.url} --name zoo")
        ran = kernel.run(f"%%helix -m good -m bad {option} -o cities\nRome")
        failed = kernel.run(f"%%helix -m bad -m bad {option}\nRome")
    assert ran.status == "ok" and "Rome is large.\nSchemaMismatch: The answer" in ran.plain
    assert kernel.value("cities[['answer', 'status']].values.tolist()") == [
        [answers["good"], "ok"],
        [answers["bad"], "error"],
    ]
    assert "answer" in kernel.value("cities.error[1]") and kernel.value("cities.parsed[1]") is None
    read = "cities.parsed[0].people" if "schema" in option else "cities.parsed[0]['people']"
    assert kernel.value(read) == 3
    assert failed.error is not None and lines_of(failed.error)[0].startswith("\x1b[31mSchemaMismatch: ")
    kernel.run("%helix use -e demo")


def test_side_by_side_says_what_a_single_answer_says(kernel_factory: Callable[..., KernelSession]) -> None:
    """That nothing is configured, once, and that an answer was cut; several answers are not inserted."""
    fresh = kernel_factory()
    first = fresh.run("%%helix -m demo -m demo --max-tokens 2\nWhat is the capital of France?")
    again = fresh.run("%%helix -m demo -m demo\nWhat is the capital of France?")
    assert first.plain.count("Nothing is configured") == 1 and "Nothing is configured" in first.html
    assert first.plain.count("cut at max_tokens") == 2 and first.html.count("cut at max_tokens") == 2
    assert "Nothing is configured" not in again.plain and "cut" not in again.plain
    ran = fresh.run("%%helix -m demo -m demo --insert\nCode, please")
    assert ran.error is not None and "leave -c, --tool and --insert out" in lines_of(ran.error)[0]


def test_fix_reads_the_error_and_fills_the_next_cell(kernel: KernelSession) -> None:
    """The failed cell and its trimmed traceback are asked about; --insert hands the code on."""
    fixed = "You divided by zero.\n\n```python\nratio = 1 / 1\n```\n"
    with SlowServer([fixed]) as server:
        kernel.run(f"%helix connect {server.url} --name fixer -m m")
        kernel.run("def f(x):\n    return 1 / x\nf(0)")
        ran = kernel.run("%helix fix --insert -- Keep it short.")
        prompt = server.bodies[-1]["messages"][-1]["content"]
        explained = kernel.run("%helix explain")
        kernel.run("%helix explain 1")
    assert "return 1 / x\nf(0)" in prompt and "ZeroDivisionError: division by zero" in prompt
    assert "interactiveshell" not in prompt and prompt.endswith("Keep it short.")
    assert ran.status == "ok" and "ratio = 1 / 1" in ran.plain
    (payload,) = ran.reply["payload"]
    assert (payload["source"], payload["text"], payload["replace"]) == (
        "set_next_input",
        "ratio = 1 / 1",
        False,
    )
    assert "divided by zero" in explained.plain
    assert "%load_ext helix_nb" in server.bodies[-1]["messages"][-1]["content"]
    kernel.run("%helix use -e demo")


def test_chats_have_names_and_survive_a_restart(
    kernel_factory: Callable[..., KernelSession], tmp_path: Path
) -> None:
    """A chat is listed, shown, forked, exported, and taken up again from the log by another kernel."""
    log = str(tmp_path / "chats.db")
    first = kernel_factory(HELIX_NB_LOG=log)
    first.run("%%helix -c trip -s 'Be kind.'\nmy name is Ada")
    first.run("%%helix -c trip\nWhat is the capital of France?")
    first.run("%helix chat trip --fork other\n%helix reset trip")
    listed = first.run("%helix chats").plain
    assert "other" in listed and "trip" not in listed
    exported = tmp_path / "other.md"
    first.run(f"%helix chat other --export {exported}")
    assert "The capital of France is Paris." in exported.read_text() and "Be kind." in exported.read_text()
    shown = first.run("%helix chat other").displays[0]["data"]
    assert "Ada" in shown["text/html"] and "## demo" in shown["text/plain"]
    first.run("%helix log")  # which waits until the rows are written: close() kills the kernel
    first.close()
    second = kernel_factory(HELIX_NB_LOG=log)
    assert "2 turns" in second.run("%helix chat trip --resume").printed
    assert second.run("%%helix -c trip\nwhat is my name?").plain.startswith("Your name is Ada.")
    assert "turn 4" in second.run("%%helix -c trip\nthanks").plain
    assert "holds no chat" in lines_of(second.run("%helix chat nobody --resume").error or {})[0]


COMPLETED = [
    ("%%helix --m", {"--max-tokens", "--model"}),
    ("%%helix -m qwen3:", {"qwen3:8b"}),
    ("%%helix qw", {"qwen3:8b"}),
    ("%%helix -f ", {"markdown", "text", "code", "json"}),
    ("%%helix -a portr", {"portrait"}),
    ("%helix co", {"connect"}),
    ("%helix use -e de", {"demo"}),
    ("reply = %helix ask --no-s", {"--no-stream"}),
    ("%helix help ex", {"explain"}),
]


@pytest.mark.parametrize(("code", "expected"), COMPLETED)
def test_completion_is_exact(kernel: KernelSession, code: str, expected: set[str]) -> None:
    """Tab offers just what may stand there, and replaces the whole word, colons and dashes included."""
    kernel.run("hx.use('qwen3:8b', endpoint='demo')")
    found = kernel.complete(code)
    assert set(found["matches"]) == expected
    assert code[found["cursor_start"] : found["cursor_end"]] == code.rpartition(" ")[2]


def test_help_reads_as_documentation(kernel: KernelSession) -> None:
    """`%%helix?` shows the options with what they do; `%helix help` every command."""
    payload = kernel.run("%%helix?").reply["payload"][0]["data"]["text/plain"]
    assert "--temperature" in payload and "What is the capital of France?" in payload
    printed = kernel.run("%helix help").printed
    assert "%helix connect URL" in printed and "--insert" in kernel.run("%helix help fix").printed


def test_the_bar_of_a_batch_ends_with_what_was_done(kernel: KernelSession) -> None:
    """Its last words hold the tokens, and nothing is in flight any more."""
    ran = kernel.run("asked = df.head(4).helix.ask('{{city}}')")
    values = [content["data"].get("state", {}).get("value") for content in ran.of("comm_msg")]
    shown = [str(value).replace("\u2007", " ") for value in values if value is not None]
    assert "in flight" in "".join(shown)
    last = next(words for words in reversed(shown) if "4/4" in words)
    assert "tokens" in last and "in flight" not in last
    assert "2 rows ask what another asks and share its answer" in ran.printed
