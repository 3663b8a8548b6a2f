"""README.md does what it says: its Python runs as one notebook, its commands run in a shell."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = ("README.md", "CONTRIBUTING.md")


@dataclass(frozen=True)
class Block:
    """A code block, the words after its language, and the output that the page shows for it."""

    language: str
    words: str
    code: str
    shown: str | None


def blocks() -> list[Block]:
    found = [match.groups() for match in BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))]
    after = [*found[1:], ("", "", "")]
    return [
        Block(language, words.strip(), code.strip("\n"), follow[2].rstrip() if follow[0] == "text" else None)
        for (language, words, code), follow in zip(found, after, strict=True)
        if language != "text"
    ]


def shown(cell: nbformat.NotebookNode) -> str:
    """What a reader of plain text sees under a cell, without colours."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.append("\n".join(output.traceback))
        else:
            parts.append(output.data["text/plain"] + "\n")
    return re.sub(r"\x1b\[[\d;]*m", "", "".join(parts)).rstrip()


def test_every_block_is_of_a_kind_that_runs() -> None:
    """No block is only for show: Python runs in a kernel, sh in a shell, text is what came of it."""
    assert {block.language for block in blocks()} <= {"python", "sh"}


def test_python_blocks_run_in_order_and_show_what_the_page_shows(tmp_path: Path) -> None:
    """The Python of the page is one notebook; where output is shown, it is the output."""
    python = [block for block in blocks() if block.language == "python"]
    cells = [nbformat.v4.new_code_cell(block.code) for block in python]
    for cell, block in zip(cells, python, strict=True):
        if "raises" in block.words:
            cell.metadata["tags"] = ["raises-exception"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    for cell, block in zip(notebook.cells, python, strict=True):
        raised = any(output.output_type == "error" for output in cell.outputs)
        assert raised is ("raises" in block.words), block.code
        if block.shown is not None:
            assert shown(cell) == block.shown, block.code


def commands() -> list[tuple[str, str | None]]:
    """Every shell line of the page, with the output shown for a block of one line."""
    found = []
    for block in blocks():
        if block.language == "sh":
            lines = [line.split(" #")[0].strip() for line in block.code.splitlines()]
            found += [(line, block.shown if len(lines) == 1 else None) for line in lines if line]
    return found


QUICK = [(line, output) for line, output in commands() if line.startswith("python -m helix_nb ask")]
SLOW = ("scripts/demo", "scripts/test")
BY_OTHERS = (
    "python -m helix_nb serve",
    "python -m helix_nb doctor",
    "python -m helix_nb demo",
)  # test_main.py
INSTALLS = ("pip install",)  # test_package.py installs the wheel; extras only add packages


@pytest.mark.parametrize(("line", "output"), QUICK)
def test_commands_of_the_page_run(line: str, output: str | None, tmp_path: Path) -> None:
    """A command that ends at once exits with 0 and prints what the page shows."""
    done = subprocess.run(
        [sys.executable, *shlex.split(line)[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert output is None or done.stdout.rstrip() == output


def test_no_command_of_the_page_is_left_out() -> None:
    """Every shell line is run: here, by the slow test of a newcomer's clone, or by test_main.py."""
    for line, _ in commands():
        assert line.startswith(("python -m helix_nb ask", *SLOW, *BY_OTHERS, *INSTALLS)), line


@pytest.mark.slow
def test_a_newcomers_two_commands_work_in_a_fresh_clone(tmp_path: Path) -> None:
    """With an empty environment and a system's Python, the demo answers and the tests start and pass."""
    clone = tmp_path / "helix-nb"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    bare = {"PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=clone, env=bare, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    assert "The capital of France is Paris." in run("scripts/demo", "--no-lab")
    assert " passed" in run("scripts/test", "tests/test_demo.py", "notebooks/quickstart.ipynb")
    stamps = {stamp: stamp.stat().st_mtime_ns for stamp in (clone / ".venv").glob(".stamp-*")}
    run("scripts/demo", "--no-lab")
    assert {stamp: stamp.stat().st_mtime_ns for stamp in (clone / ".venv").glob(".stamp-*")} == stamps


def test_the_house_on_one_page_has_every_room() -> None:
    """CONTRIBUTING names each module and folder at the top of the package."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for room in (ROOT / "helix_nb").iterdir():
        name = room.name if room.suffix == ".py" else f"{room.name}/"
        if room.suffix in ("", ".py") and room.name != "__pycache__":
            assert f"`{name}`" in page, name


@pytest.mark.parametrize("page", PAGES)
def test_links_inside_the_repository_lead_somewhere(page: str) -> None:
    """Relative links and pictures exist."""
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if not urlsplit(target).scheme and not target.startswith("#"):
            assert (ROOT / target.split("#")[0]).exists(), target
