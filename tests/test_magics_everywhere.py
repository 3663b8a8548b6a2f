"""One notebook with `%%helix` under everything that runs notebooks, and the magics in a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pexpect
import pytest
from nbclient import NotebookClient
from slow_server import SlowServer

CELLS = [
    "%load_ext helix_nb\nimport helix_nb as hx",
    "%%helix -o reply\nWhat is the capital of France?",
    "%%helix -c\nmy name is Ada",
    "%%helix -c\nwhat is my name?",
    "mood = %helix ask -- Sentiment, positive, negative or neutral: dry and lovely\nmood",
    "%%helix --dry-run\nhello",
]
EXPECTED = [
    "",
    "The capital of France is Paris.",
    "Hello, Ada.",
    "Your name is Ada.",
    "positive",
    "would be sent",
]


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook of those cells, as yet without outputs."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "story.ipynb"
    nbformat.write(made, path)
    return path


def check(path: Path) -> None:
    """Each cell has one output, and that holds the whole answer."""
    cells = nbformat.read(path, as_version=4).cells
    cells = [cell for cell in cells if cell.source in CELLS]  # papermill adds one of its own
    for cell, expected in zip(cells, EXPECTED, strict=True):
        assert len(cell.outputs) == (1 if expected else 0), cell.outputs
        assert expected in "".join(map(text_of, cell.outputs))
    answer = cells[1].outputs[0]
    assert answer.output_type == "display_data" and "text/html" in answer.data
    assert answer.metadata["helix_nb"]["status"] == "ok"


def text_of(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nbclient_and_strict_nbval_agree(notebook: Path) -> None:
    """What nbclient writes, strict nbval finds again, output by output."""
    made = nbformat.read(notebook, as_version=4)
    NotebookClient(made, timeout=60, resources={"metadata": {"path": notebook.parent}}).execute()
    nbformat.write(made, notebook)
    check(notebook)
    run(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "--nbval-current-env",
        notebook.name,
        cwd=notebook.parent,
    )


@pytest.mark.slow
def test_nbconvert_executes_it(notebook: Path) -> None:
    """`jupyter nbconvert --execute` gives each cell its one output."""
    run("-m", "nbconvert", "--execute", "--to", "notebook", "--inplace", notebook.name, cwd=notebook.parent)
    check(notebook)


@pytest.mark.slow
def test_papermill_executes_it(notebook: Path) -> None:
    """papermill gives each cell its one output."""
    run("-m", "papermill", "--no-progress-bar", notebook.name, notebook.name, cwd=notebook.parent)
    check(notebook)


def test_a_terminal_gets_plain_text(tmp_path: Path) -> None:
    """In a terminal answers are printed as they come, without control characters, and errors are one line."""
    options = ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=NoColor"]
    environ = {
        **os.environ,
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "HELIX_NB_LOG": ":memory:",
        "TERM": "dumb",
    }
    with SlowServer(["**Red** \x1b[3", "1malert\x07", "\nsecond line"], pause_s=0.05) as server:
        shell = pexpect.spawn(sys.executable, options, env=environ, encoding="utf-8", timeout=60, echo=False)
        shell.expect_exact("In [1]: ")
        shell.sendline("%load_ext helix_nb")
        shell.expect_exact("In [2]: ")
        shell.sendline(f"%helix connect {server.url} --name lab -m m")
        shell.expect_exact("In [3]: ")
        shell.send("%%helix\nhello\n\n\n")
        shell.expect_exact("In [4]: ")
        answered = shell.before
        shell.sendline("%helix ask")
        shell.expect_exact("In [5]: ")
        refused = shell.before
        shell.sendline("exit")
        shell.expect(pexpect.EOF)
        shell.close()
    assert "**Red** alert\r\nsecond line\r\nlab · m · 5 tokens in, 3 out" in answered
    assert "ConfigError: " in refused and "Traceback" not in refused
    assert shell.exitstatus == 0
