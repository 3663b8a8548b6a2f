"""`python -m helix_nb` as a person types it: real processes, their output and their exit codes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import helix_nb as hx

COMMAND = [sys.executable, "-m", "helix_nb"]
CANARY = "hl-CANARYcanaryCANARYcanaryCANARYcanary12345678="


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=90)


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which "$@" is the command."""
    command = ["sh", "-c", script, "sh", *COMMAND]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A demo server in a process of its own, and its URL."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([*COMMAND, "serve", *arguments], stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def test_ask_streams_the_answer_and_nothing_else_to_standard_output() -> None:
    """The answer alone is on standard output; that it came from the demo is told beside it."""
    done = run("ask", "What is the capital of France?", "-s", "You are a helpful assistant.")
    assert done.returncode == 0
    assert done.stdout == "The capital of France is Paris.\n"
    assert "demo endpoint" in done.stderr
    row = hx.log("all").iloc[-1]
    assert (row["prompt_tokens"], row["completion_tokens"], row["system"]) == (
        24,
        8,
        "You are a helpful assistant.",
    )


def test_ask_reads_the_prompt_from_standard_input_and_asks_for_it_whole() -> None:
    """A dash is standard input; --no-stream asks for one whole answer."""
    done = run("ask", "-", "-e", "demo", "--no-stream", stdin="Count to 5\n")
    assert done.stdout == "1, 2, 3, 4, 5.\n"
    assert not hx.log("all")["stream"].iloc[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hi", "-m", "demo-fails"), "demo-fails refuses every request"),
        (("hi", "-e", "dmeo"), "Did you mean 'demo'?"),
        (("  ",), "empty"),
        (("hi", "-e", "helix"), "HELIX_API_KEY"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(arguments: tuple[str, ...], said: str) -> None:
    """What went wrong stands on one line of standard error, without a traceback."""
    done = run("ask", *arguments)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("helix_nb: ")
    assert said in last
    assert "Traceback" not in done.stderr


def test_a_truncated_answer_keeps_its_text_and_fails() -> None:
    """The text that came is printed, then the failure is told."""
    done = run("ask", "Count to 20", "-m", "demo-truncates")
    assert done.returncode == 1
    assert done.stdout.startswith("1, 2, 3,")
    assert hx.log("all")["status"].iloc[-1] == "truncated"


def test_ctrl_c_stops_an_answer_and_records_it() -> None:
    """Interrupted in mid-answer: exit code 130, no traceback, and the row keeps the text so far."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*COMMAND, "ask", "Count to 20", "-m", "demo-stalls"], stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == b"1"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    row = hx.log("all").iloc[-1]
    assert row["status"] == "interrupted"
    assert row["response"].startswith("1")


def test_demo_shows_an_answer_and_its_row() -> None:
    """The demo streams the documented example and prints its row with the tokens."""
    done = run("demo", "--no-lab")
    assert done.returncode == 0
    assert "The capital of France is Paris." in done.stdout
    header, values = (line.split() for line in done.stdout.strip().splitlines()[-2:])
    row = dict(zip(header, values, strict=True))
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == ("24", "8", "32")
    assert (row["endpoint"], row["status"]) == ("demo", "ok")


def test_with_a_helix_configured_the_same_commands_talk_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """HELIX_URL and HELIX_API_KEY move demo and doctor to that server; no key is ever printed."""
    with serving() as (url, _):
        monkeypatch.setenv("HELIX_URL", url.removesuffix("/v1"))
        monkeypatch.setenv("HELIX_API_KEY", CANARY)
        demo, doctor = run("demo", "--no-lab"), run("doctor")
    assert "The capital of France is Paris." in demo.stdout
    assert list(hx.log("all")["base_url"]) == [url]
    assert f"* helix: {url}, key from the environment" in doctor.stdout
    assert "6 models: demo, demo-truncates" in doctor.stdout
    assert doctor.returncode == 0
    assert "CANARY" not in demo.stdout + demo.stderr + doctor.stdout + doctor.stderr


def test_doctor_says_what_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """A current endpoint that does not answer makes the exit code 1, in one sentence."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HELIX_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        done = run("doctor")
    assert done.returncode == 1
    assert "no key" in done.stdout
    assert "Traceback" not in done.stderr
    assert run("doctor", "--offline").returncode == 0


def test_doctor_finds_a_log_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo alone is healthy; a log under a file is not, and the line says what to set."""
    healthy = run("doctor")
    assert healthy.returncode == 0, healthy.stdout
    assert "* demo: embedded" in healthy.stdout
    assert "pandas" in healthy.stdout
    monkeypatch.setenv("HELIX_NB_LOG", "/dev/null/log.db")
    broken = run("doctor", "--offline")
    assert broken.returncode == 1
    assert "HELIX_NB_LOG" in broken.stdout


def test_doctor_finds_a_file_that_is_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot become the log is a finding, and is left as it is; a log is none."""
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes, not a database")
    monkeypatch.setenv("HELIX_NB_LOG", str(notes))
    broken = run("doctor", "--offline")
    assert broken.returncode == 1 and "notes.txt is not a log that can be read" in broken.stdout
    assert notes.read_text() == "my notes, not a database" and list(tmp_path.iterdir()) == [notes]
    monkeypatch.setenv("HELIX_NB_LOG", str(tmp_path / "log.db"))
    hx.ask("hi", endpoint="demo")
    assert run("doctor", "--offline").returncode == 0


def test_doctor_goes_on_after_a_wrong_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A HELIX_URL that is none is a finding; what else there is to find follows."""
    monkeypatch.setenv("HELIX_URL", "nope")
    monkeypatch.setenv("HELIX_API_KEY", CANARY)
    done = run("doctor", "--offline")
    assert done.returncode == 1
    assert "* HELIX_URL, from the environment: 'nope' is not a URL" in done.stdout
    assert all(said in done.stdout for said in ("  demo: embedded", "  local: ", "\nLog\n", "pandas"))
    assert "CANARY" not in done.stdout + done.stderr


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_serve_refuses_what_is_no_port(port: str) -> None:
    """No other port is served instead; one sentence says which there are."""
    refused = run("serve", "--port", port)
    assert refused.returncode == 1
    assert refused.stderr.startswith("helix_nb: --port is a number from 0 ")


def test_serve_prints_its_url_and_ends_with_ctrl_c() -> None:
    """The first line is the URL; it answers there until Ctrl-C, and ends with exit code 0."""
    with serving() as (url, process):
        assert b"demo-flaky" in urllib.request.urlopen(f"{url}/models", timeout=30).read()
        port = url.removesuffix("/v1").rpartition(":")[2]
        taken = run("serve", "--port", port)
        assert taken.returncode == 1
        assert f"Port {port} cannot be used" in taken.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("arguments", [("--help",), ("ask", "--help"), ("--version",)])
def test_help_and_version_need_nothing(arguments: tuple[str, ...]) -> None:
    """Help lists what there is, at once."""
    assert run(*arguments).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("command", ["ask hi", "demo --no-lab", "doctor --offline", "serve"])
def test_output_that_cannot_be_written_is_one_line(command: str) -> None:
    """A full disk behind standard output: exit code 1 and a sentence, no traceback."""
    done = shell(f'"$@" {command} >/dev/full')
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "No space left" in line]
    assert said == ["helix_nb: The output cannot be written: No space left on device."]
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_a_terminal_that_lacks_a_letter_shows_the_others() -> None:
    """In ASCII the answer has question marks where it must."""
    done = shell('PYTHONIOENCODING=ascii "$@" ask "What is the capital of Brazil?"')
    assert (done.returncode, done.stdout) == (0, "The capital of Brazil is Bras?lia.\n")


def test_input_that_is_closed_or_no_text_is_no_traceback() -> None:
    """Without standard input there is a sentence; bytes that are no text are asked as question marks."""
    closed = shell('"$@" ask - <&-')
    assert closed.returncode == 1 and closed.stderr.startswith("helix_nb: There is no standard input")
    garbled = shell(r"""printf 'say: a\377b' | PYTHONIOENCODING=utf-8:strict "$@" ask -""")
    assert (garbled.returncode, garbled.stdout) == (0, "a\N{REPLACEMENT CHARACTER}b\n")


def test_a_working_directory_that_is_gone_costs_no_answer(tmp_path: Path) -> None:
    """There is no .env then; a log named by a relative path is kept in memory, with a warning."""
    gone = tmp_path / "gone"
    gone.mkdir()
    done = shell(f'cd {gone} && rmdir {gone} && "$@" ask "What is the capital of France?"')
    assert (done.returncode, done.stdout) == (0, "The capital of France is Paris.\n")
    done = shell(
        f'mkdir {gone} && cd {gone} && rmdir {gone} && HELIX_NB_LOG=l.db "$@" ask "capital of France"'
    )
    assert done.returncode == 0 and "l.db is in no folder that there is" in done.stderr


def test_the_demo_says_when_no_row_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the log off there is a sentence instead of an empty frame."""
    monkeypatch.setenv("HELIX_NB_LOG", "off")
    done = run("demo", "--no-lab")
    assert done.returncode == 0 and "The log is off" in done.stdout and "Empty" not in done.stdout
