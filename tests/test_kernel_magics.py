"""`%%helix` and `%helix` in a real kernel: what a front end, the server and the log see."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_session import KernelSession, Ran, kernel, kernel_factory, lines_of
from slow_server import SlowServer

__all__ = ["kernel", "kernel_factory"]

# Generous for a busy machine; what is promised is 0.3 s, and benchmarks measure it.
SOON_S = 3.0
PROSE = (
    "Streams of tokens arrive in a cell and the page shows them as they come, with **bold** words,"
    " `code` and a list:\n\n- one thing\n- another thing\n\n"
    "```python\ndef add(a, b):\n    return a + b\n```\n\n"
)


@pytest.fixture
def said(kernel: KernelSession) -> Iterator[SlowServer]:
    """A server that repeats the last message, current in the kernel as `lab` with model `m`."""

    def repeat(body: dict[str, Any]) -> list[str]:
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        return [text[at : at + 4] for at in range(0, len(text), 4)]

    with SlowServer(repeat) as server:
        kernel.run(f"%helix connect {server.url} --name lab -m m")
        yield server
        kernel.run("%helix reset --all")


def last_row(kernel: KernelSession, columns: str) -> list[Any]:
    found = kernel.value(
        f"hx.log(last=1)[{columns.split()!r}].astype(object).where(lambda f: f.notna(), None)"
        ".values.tolist()[0]"
    )
    return list(found)


@pytest.fixture(scope="module", autouse=True)
def imported(kernel: KernelSession) -> None:
    kernel.run("import helix_nb as hx")


def test_a_cell_streams_into_one_output_and_the_log(kernel: KernelSession) -> None:
    """Frames update one output while the answer runs; the last has HTML, text and the facts."""
    with SlowServer(["One ", "**two** ", "three."] * 10, pause_s=0.02) as server:
        kernel.run(f"%helix connect {server.url} --name slow -m qwen3:8b")
        ran = kernel.run("%%helix -o reply\ncount", cell_id="cell-1")
    assert ran.status == "ok" and len(ran.of("display_data")) == 1 and len(ran.of("update_display_data")) > 3
    (shown,) = ran.displays
    assert "<strong>two</strong>" in shown["data"]["text/html"]
    line = "slow · qwen3:8b · 5 tokens in, 30 out"
    assert shown["data"]["text/plain"].endswith(line) and line in shown["data"]["text/html"]
    facts = shown["metadata"]["helix_nb"]
    assert facts["status"] == "ok" and facts["duration_ms"] > 0 and facts["time_to_first_token_ms"] > 0
    assert facts["exchange_id"] == kernel.value("reply.exchange_id") not in shown["data"]["text/html"]
    assert last_row(kernel, "id source cell_id status") == [facts["exchange_id"], "cell", "cell-1", "ok"]


@pytest.mark.parametrize("pause_s", [0.001, pytest.param(0.005, marks=pytest.mark.slow)])
def test_2000_tokens_cost_less_than_450_kB(kernel: KernelSession, pause_s: float) -> None:
    """A 2,000-token answer sends at most 0.45 MB on iopub, every byte of every message counted."""
    text = (PROSE * 60)[:9800]
    pieces = [text[at : at + 5] for at in range(0, len(text), 5)][:2000]
    with SlowServer(pieces, pause_s=pause_s) as server:
        kernel.run(f"%helix connect {server.url} --name long -m m")
        meter = kernel.meter()
        ran = kernel.run("%%helix\nlong")
        meter.close()
    assert ran.status == "ok" and len(ran.of("update_display_data")) > 10
    assert 20_000 < meter.bytes <= 450_000


def test_where_nobody_listens_there_is_one_final_output(kernel: KernelSession) -> None:
    """Without a front end that takes input, an answer is exactly one display_data."""
    with SlowServer(["a "] * 20, pause_s=0.01) as server:
        kernel.run(f"%helix connect {server.url} --name quietly -m m")
        ran = kernel.run("%%helix\ncount", stdin=False)
    kinds = [message["header"]["msg_type"] for message in ran.messages]
    assert kinds == ["status", "execute_input", "display_data", "status"]
    assert set(ran.displays[0]["data"]) == {"text/html", "text/plain"}


def test_an_interrupt_keeps_the_partial_answer(kernel: KernelSession) -> None:
    """Stop closes the socket, leaves the text so far on display and in the log, and shows one line."""
    with SlowServer(["Half a ", "sentence"], pause_s=0.01, hang=True) as server:
        kernel.run(f"%helix connect {server.url} --name hangs -m m")
        pressed = []

        def press(ran: Ran) -> None:
            if "sentence" in ran.html and not pressed:
                pressed.append(time.monotonic())
                kernel.interrupt()

        ran = kernel.run("%%helix -o half\ncount", during=press)
        assert server.left.wait(SOON_S)
    assert ran.status == "error" and ran.error is not None
    assert ran.error["ename"] == "KeyboardInterrupt" and len(lines_of(ran.error)) == 1
    assert ran.plain.startswith("Half a sentence") and "interrupted" in ran.plain
    assert kernel.value("(half.text, half.status)") == ("Half a sentence", "interrupted")
    assert last_row(kernel, "status response") == ["interrupted", "Half a sentence"]
    assert kernel.run("1 + 1").plain == "2"


START = (
    "from helix_nb.chat.ask import prepare\npending = prepare('count').begin()\n"
    "while pending.reply.text != 'Half a sentence':\n    pending.wait_for_change(1)\n"
    "import threading\nthreading.Timer(0.3, print, ['sentence'], {'flush': True}).start()\n"
)
WAITS = {
    "ask": f"{START}pending.result()",
    "aask": f"{START}await pending.aresult()",
    "ask beside an await": f"import asyncio\nawait asyncio.sleep(0)\n{START}pending.result()",
    "stream": "with hx.stream('count') as s:\n    for piece in s: print(piece, flush=True)",
    "astream": "async with hx.astream('count') as s:\n    async for piece in s: print(piece, flush=True)",
}


@pytest.mark.parametrize("way", WAITS)
def test_an_interrupt_stops_python_that_waits_or_awaits(kernel: KernelSession, way: str) -> None:
    """Stop closes the socket, records the partial text, and shows one line, not where it was waiting."""
    with SlowServer(["Half a ", "sentence"], pause_s=0.01, hang=True) as server:
        kernel.run(f"%helix connect {server.url} --name hangs -m m")
        pressed = []

        def press(ran: Ran) -> None:
            if "sentence" in ran.printed and not pressed:
                pressed.append(time.monotonic())
                kernel.interrupt()

        ran = kernel.run(WAITS[way], during=press)
        assert server.left.wait(SOON_S)
    assert ran.status == "error" and pressed and ran.error is not None
    (line,) = lines_of(ran.error)
    assert line == f"\x1b[31m{ran.error['ename']}: stopped; what had arrived is kept.\x1b[0m"
    assert last_row(kernel, "status response") == ["interrupted", "Half a sentence"]
    assert kernel.run("1 + 1").plain == "2"


REFUSED = [
    ("%%helix\n   \n", "The prompt is empty"),
    ("%%helix --temprature 1\nx", "Did you mean --temperature?"),
    ("%%helix --temp 1\nx", "has no option --temp"),
    ("%%helix don't\nx", "quote"),
    ("%%helix what is this\nx", "one model"),
    ("%%helix\n{{nothing_here}}", "'nothing_here', which is not defined"),
    ("%%helix\n{{1/0}}", "ZeroDivisionError"),
    ("%%helix\n{{#each}}", "not a Python expression"),
    ("%%helix -s @nobody\nx", "no variable is called '@nobody'"),
    ("%%helix -i nowhere.png\nx", "neither a variable nor a file"),
    ("%%helix -a nowhere.csv\nx", "neither a variable nor a file"),
    ("%%helix -a /usr/bin/env\nx", "neither text nor a picture"),
    ("%%helix --schema Nothing\nx", "no variable is called 'Nothing'"),
    ("%%helix --tool hx\nx", "takes a function"),
    ("%%helix -e nobody\nx", "No endpoint is called 'nobody'"),
    ("%%helix -f jsn\nx", "Did you mean json?"),
    ("%%helix -o not-a-name\nx", "name of a variable"),
    ("%%helix -p messages=1\nx", "cannot set messages"),
    ("%%helix -m hl-0123456789abcdef\nx", "A key does not belong"),
    ("%helix connect http://127.0.0.1:1 --key abc", "A key does not belong"),
    ("%helix connect http://user:word@example.org", "Leave user and password out"),
    ("%helix ask\t-m x", "after `--`"),
    ("%helix ask no dashes", "after `--`"),
    ("%helix conect http://127.0.0.1:1", "Did you mean 'connect'?"),
    ("%helix chat nobody", "No chat is called 'nobody'"),
    ("%helix explain 9999", "no In[9999]"),
    ("%helix log many", "a number of rows"),
]


@pytest.mark.parametrize(("code", "sentence"), REFUSED)
def test_what_is_wrong_is_one_red_line_and_sends_nothing(
    kernel: KernelSession, said: SlowServer, code: str, sentence: str
) -> None:
    """Bad input fails the cell with one sentence, and no request goes out."""
    ran = kernel.run(code)
    assert ran.status == "error" and ran.error is not None and ran.error["ename"] == "ConfigError"
    (line,) = lines_of(ran.error)
    assert line.startswith("\x1b[31mConfigError: ") and sentence in line
    assert not ran.displays and not said.bodies


def test_a_failed_answer_shows_its_text_and_one_line(kernel: KernelSession) -> None:
    """A truncated answer stays on display and in -o, and its error is one line; hx.ask keeps a traceback."""
    kernel.run("%helix use -e demo")
    ran = kernel.run("%%helix -m demo-truncates -o cut\nWhat is the capital of France?")
    assert ran.error is not None and ran.error["ename"] == "TruncatedReply" and len(lines_of(ran.error)) == 1
    assert "ended before it was finished" in ran.plain
    assert kernel.value("cut.status") == "truncated"
    ran = kernel.run("hx.ask('x', model='demo-fails')")
    assert ran.error is not None and len(lines_of(ran.error)) > 3


def test_a_users_own_error_keeps_its_traceback(kernel: KernelSession, said: SlowServer) -> None:
    """Only helix_nb's errors are one line: a name error in a cell beside a magic is shown as ever."""
    ran = kernel.run("x = %helix ask -- hello\nundefined_name")
    assert ran.error is not None and ran.error["ename"] == "NameError" and len(lines_of(ran.error)) > 3


def test_ask_returns_the_reply_of_a_question(kernel: KernelSession, said: SlowServer) -> None:
    """`%helix ask -- ...?` shows nothing and returns the Reply; quotes, dashes and mark are its text."""
    ran = kernel.run("reply = %helix ask -t 0 -- It's \"5 o'clock\" -- isn't it?")
    assert ran.status == "ok" and not ran.displays and not ran.printed
    assert kernel.value("reply.text") == "It's \"5 o'clock\" -- isn't it?"
    assert said.bodies[-1]["temperature"] in (0, 1e-6) and said.bodies[-1]["model"] == "m"


def test_values_go_in_once(kernel: KernelSession, said: SlowServer) -> None:
    """A value that looks like an expression is sent as it is; --raw leaves braces alone."""
    kernel.run("secret = 'hidden'; doc = 'see {{secret}} and {secret} and $secret'; total = 3.14159")
    kernel.run('%%helix\nRead {{doc}}: {{total:.2f}} {{len(doc)}} {"a": 1} {x} $total')
    assert said.bodies[-1]["messages"][-1]["content"] == (
        'Read see {{secret}} and {secret} and $secret: 3.14 39 {"a": 1} {x} $total'
    )
    kernel.run("%%helix --raw -s @doc\n{{doc}}")
    assert [m["content"] for m in said.bodies[-1]["messages"]] == [
        "see {{secret}} and {secret} and $secret",
        "{{doc}}",
    ]


def test_a_line_in_a_function_sees_its_variables(kernel: KernelSession, said: SlowServer) -> None:
    """`%helix ask` inside a function takes the function's own variables before those of the notebook."""
    kernel.run(
        "word = 'outer'\ndef asked(word):\n    rules = 'Be brief.'\n"
        "    reply = %helix ask -s @rules -- {{word}} in {{len(word)}}\n    return reply\n"
        "text = asked('inner').text"
    )
    assert kernel.value("text") == "inner in 5"
    assert said.bodies[-1]["messages"][0]["content"] == "Be brief."
    kernel.run("reply = %helix ask -- {{word}}")
    assert kernel.value("reply.text") == "outer"


def test_options_reach_the_request(kernel: KernelSession, said: SlowServer) -> None:
    """Every parameter of the line stands in the body that was sent, and --dry-run prints that very body."""
    line = "alpha -t 0.5 --max-tokens 9 --top-p 0.25 -p seed=7 -p 'stop=[\"END\"]' -p user=me --no-stream"
    sent = kernel.run(f"%%helix {line} -s 'Be brief.'\nhello")
    assert sent.status == "ok"
    body = said.bodies[-1]
    assert (body["model"], body["temperature"], body["max_tokens"], body["top_p"]) == ("alpha", 0.5, 9, 0.25)
    assert (body["seed"], body["stop"], body["user"], body.get("stream", False)) == (7, ["END"], "me", False)
    printed = kernel.run(f"%%helix {line} -s 'Be brief.' --dry-run\nhello").printed
    assert len(said.bodies) == 1 and said.url in printed
    assert json.loads(printed.partition("\n")[2]) == body


HIDDEN = "if admin:  # \u202e # :nimda ton fi\n    \x9b2Jgo()\x1b]0;title\x07"


def test_what_hides_in_a_text_is_seen(kernel: KernelSession, said: SlowServer) -> None:
    """--insert inserts what was shown, without overrides; --dry-run spells out what a terminal would obey."""
    kernel.run(f"hidden = {HIDDEN!r}")
    ran = kernel.run("%%helix --insert\n```python\n{{hidden}}\n```")
    (inserted,) = (sent["text"] for sent in ran.reply["payload"] if sent["source"] == "set_next_input")
    assert inserted == "if admin:  #  # :nimda ton fi\n    go()"
    printed = kernel.run("%%helix --dry-run\n{{hidden}}").printed
    assert json.loads(printed.partition("\n")[2])["messages"][-1]["content"] == HIDDEN
    assert not re.search("[\x1b\x9b\u202e]", printed)


def test_settings_apply_and_are_checked(kernel: KernelSession, said: SlowServer) -> None:
    """%config HelixMagics sets defaults that a cell's options override; a wrong value is refused."""
    kernel.run("%config HelixMagics.system = 'From config'\n%config HelixMagics.quiet = True")
    ran = kernel.run("%%helix\nhello")
    assert not ran.displays and said.bodies[-1]["messages"][0]["content"] == "From config"
    kernel.run("%%helix -s ''\nhello")
    assert [message["role"] for message in said.bodies[-1]["messages"]] == ["user"]
    refused = kernel.run("%config HelixMagics.format = 'jsn'\n%config HelixMagics.endpoint = 'nobody'")
    assert "jsn" in refused.printed and "nobody" in refused.printed
    for wrong in ("{'model': 'other'}", "{1: 2}"):
        assert "wire names" in kernel.run(f"%config HelixMagics.params = {wrong}").printed
    kernel.run("%config HelixMagics.system = None\n%config HelixMagics.quiet = False")
    assert kernel.run("%%helix\nhello").plain.startswith("hello")


def test_a_rerun_replaces_its_turn_where_the_cell_is_known(kernel: KernelSession, said: SlowServer) -> None:
    """With cell ids a rerun takes its turn's place and sends what came before it; without, it appends."""
    first = kernel.run("%%helix -c\none", cell_id="a")
    kernel.run("%%helix -c\ntwo", cell_id="b")
    assert "chat default, turn 1" in first.plain
    again = kernel.run("%%helix -c\none more", cell_id="a")
    assert "turn 1 replaced" in again.plain
    assert [m["content"] for m in said.bodies[-1]["messages"]] == ["one more"]
    kernel.run("%%helix -c\ntwo more", cell_id="b")
    assert [m["content"] for m in said.bodies[-1]["messages"]] == ["one more", "one more", "two more"]
    appended = kernel.run("%%helix -c\nthree")
    assert "turn 3" in appended.plain and len(said.bodies[-1]["messages"]) == 5


def test_one_final_output_without_streaming(kernel: KernelSession, said: SlowServer) -> None:
    """--no-stream asks for one whole answer and shows exactly one output, also to a live front end."""
    ran = kernel.run("%%helix --no-stream\nhello")
    kinds = [message["header"]["msg_type"] for message in ran.messages]
    assert kinds == ["status", "execute_input", "display_data", "status"]
    assert said.bodies[-1].get("stream", False) is False


def test_a_captured_cell_holds_one_output(kernel: KernelSession, said: SlowServer) -> None:
    """`%%capture` catches the answer alone, not the frames that led to it."""
    said.pause_s = 0.02
    ran = kernel.run("%%capture caught\n%%helix\n" + "one two three four five six")
    assert ran.status == "ok" and not ran.displays
    assert kernel.value("[out.data['text/plain'].split(chr(10))[0] for out in caught.outputs]") == [
        "one two three four five six"
    ]


def test_what_is_not_logged_and_who_asked(kernel: KernelSession, said: SlowServer) -> None:
    """--no-log leaves no row, hx.ask in a cell one that knows the cell; a rerun loop replaces its turns."""
    before = kernel.value("len(hx.log())")
    kernel.run("%%helix --no-log\nhello")
    assert kernel.value("len(hx.log())") == before and len(said.bodies) == 1
    kernel.run("hx.ask('hello')", cell_id="the-cell")
    assert last_row(kernel, "source cell_id") == ["api", "the-cell"]
    for _ in range(2):
        kernel.run("for i in range(2):\n    %helix ask -c loop -- {{i}}", cell_id="the-loop")
    kernel.run("turns = %helix chat loop")
    assert kernel.value("[message.text for message in turns.messages]") == ["0", "0", "1", "1"]


def test_status_and_reload_never_fail(kernel_factory: Callable[..., KernelSession]) -> None:
    """`%helix` tells what is wrong with the configuration; chats outlive a reload; unloading is whole."""
    session = kernel_factory(HELIX_URL="no url")
    told = session.run("%helix")
    assert told.status == "ok" and "HELIX_URL" in told.printed and "log:" in told.printed
    session.run("import os\ndel os.environ['HELIX_URL']")
    session.run("%%helix --dry-run\nhello")
    assert "Nothing is configured" in session.run("%%helix -c kept\nhello").plain
    session.run("%reload_ext helix_nb")
    assert "kept (1)" in session.run("%helix").printed
    session.run("%config HelixMagics.timeout = 0")
    told = session.run("%reload_ext helix_nb")
    assert told.status == "ok" and "back to their defaults" in told.printed
    assert "kept (1)" in session.run("%helix").printed
    session.run("%unload_ext helix_nb")
    gone = session.run("%helix")
    assert gone.status == "error" and "not found" in str(gone.reply)


def test_a_key_is_found_nowhere(kernel_factory: Callable[..., KernelSession], tmp_path: Path) -> None:
    """A key in the environment, in a file and echoed by the server shows up in nothing that is kept."""
    key = "hl-CANARY0123456789abcdefghijklmnopqrstuvwxyzAB"
    notes = tmp_path / "notes.txt"
    notes.write_text(f"the key is {key}, and another one is sk-{'A1b2' * 8}")
    log = tmp_path / "canary.db"

    def echo(body: dict[str, Any]) -> list[str]:
        return ["You said ", key[:10], key[10:], " and that is ", json.dumps(body)]

    with SlowServer(echo) as server:
        session = kernel_factory(LAB_KEY=key, HELIX_NB_LOG=str(log))
        rans = [
            session.run(f"%helix connect {server.url} --name lab --key-env LAB_KEY -m m"),
            session.run("import os\n%helix ask -- {{os.environ['LAB_KEY']}}"),
            session.run(f"%%helix -a {notes}\nmy key: {{{{os.environ['LAB_KEY']}}}}"),
            session.run("%%helix --dry-run\nhello"),
            session.run("import helix_nb as hx\nprint(hx.last, repr(hx.last), hx.connect)\nhx.log()"),
            session.run("%helix"),
        ]
        session.run("%helix log")
        assert all(headers["Authorization"] == f"Bearer {key}" for headers in server.headers)
        kept = json.dumps([ran.messages for ran in rans], default=str) + json.dumps(server.bodies)
    assert all(ran.status == "ok" for ran in rans) and len(server.bodies) == 2
    assert key not in kept and "sk-A1b2" not in kept and "[key]" in kept
    files = b"".join(path.read_bytes() for path in tmp_path.glob("canary.db*"))
    assert b"You said" in files and key.encode() not in files
