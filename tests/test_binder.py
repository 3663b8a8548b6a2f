"""Binder, without Docker: what repo2docker would do with this repository, and the same by hand."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nbformat
import psutil
import pytest
from browser import CHROMIUM

ROOT = Path(__file__).parent.parent
PINNED = ("jupyterlab", "ipywidgets", "ipykernel", "jupyter_server", "notebook")
MOST_BYTES = 700_000_000


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_binder_asks_for_a_python_the_package_runs_on() -> None:
    """With binder/ present repo2docker ignores requires-python: runtime.txt must agree with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = re.fullmatch(r">=3\.(\d+)", project["requires-python"])
    asked = re.fullmatch(r"python-3\.(\d+)\n", (ROOT / "binder" / "runtime.txt").read_text())
    assert least and asked and int(asked[1]) >= int(least[1])
    comment, install = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    assert comment.startswith("#")  # a file of two bytes is taken for UTF-16
    assert install == "-e .[plot]"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone, as Binder makes one."""
    folder = tmp_path_factory.mktemp("binder") / "helix-nb"
    run("git", "clone", "--quiet", ROOT, folder)
    return folder


def lock() -> dict[str, str]:
    """The versions that repo2docker freezes under Python 3.12, of what a notebook's page is made of."""
    found = find_spec("repo2docker")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "buildpacks" / "conda"
    text = (folder / "environment.py-3.12-linux-64.lock").read_text()
    return {
        name: version for name in PINNED for version in re.findall(rf"/{name}-([\d.]+)-[^/]*$", text, re.M)
    }


@pytest.mark.slow
def test_repo2docker_installs_this_checkout(checkout: Path) -> None:
    """Python 3.12, and the package installed after the repository has been copied."""
    pytest.importorskip("repo2docker", reason="the ci extra is not installed")
    steps = run(sys.executable, "-m", "repo2docker", "--no-build", "--debug", checkout)
    assert "environment-2epy-2d3-2e12" in steps
    assert (
        steps.index("COPY --chown")
        < steps.index("COPY --chown=0:0 src/ ")
        < steps.index('-r "binder/requirements.txt"')
    )


def python() -> str:
    """Binder's Python where this machine has it, else the one that runs the tests."""
    found = shutil.which("python3.12")
    works = found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0
    return found if found and works else sys.executable


@pytest.fixture(scope="module")
def image(checkout: Path) -> Iterator[Path]:
    """The environment of the image: the lock's versions, then the step of binder/."""
    pytest.importorskip("repo2docker", reason="the ci extra is not installed")
    venv = checkout.parent / "image"
    run(python(), "-m", "venv", venv)
    pip = (venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, *(f"{name}=={version}" for name, version in lock().items()))
    run(*pip, "-r", "binder/requirements.txt", cwd=checkout)
    yield venv / "bin"


@pytest.mark.slow
def test_installing_leaves_binders_own_versions_alone(image: Path) -> None:
    """The floors are at or below the lock: nothing of the page's own is replaced, nothing conflicts."""
    freeze = run(image / "pip", "freeze").lower().replace("-", "_")
    for name, version in lock().items():
        assert f"{name}=={version}" in freeze
    run(image / "pip", "check")


@pytest.mark.slow
def test_the_notebooks_run_in_little_memory(image: Path, checkout: Path) -> None:
    """Every notebook runs to its end, and at its highest the runner and its kernel take under 700 MB."""
    for notebook in sorted((checkout / "notebooks").glob("*.ipynb")):
        if notebook.stem == "local":  # says what it needs: the local extra, which the image leaves out
            continue
        process = psutil.Popen([str(image / "jupyter"), "execute", str(notebook)], stderr=subprocess.PIPE)
        peak = Peak(process)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
        assert peak.result() < MOST_BYTES, notebook.name


class Peak(threading.Thread):
    """The highest memory, summed over a process and its children, seen while it ran."""

    def __init__(self, process: psutil.Popen) -> None:
        super().__init__(daemon=True)
        self.process, self.bytes = process, 0
        self.start()

    def run(self) -> None:
        try:
            while self.process.is_running():
                family = [self.process, *self.process.children(recursive=True)]
                self.bytes = max(self.bytes, sum(one.memory_info().rss for one in family))
                time.sleep(0.05)
        except psutil.Error:
            return  # it has ended

    def result(self) -> int:
        self.join(10)
        return self.bytes


@pytest.fixture
def served(image: Path, checkout: Path, tmp_path: Path) -> Iterator[str]:
    """JupyterLab of the image under a base URL, as on Binder: its address, and a page that runs."""
    with socket.socket() as probe:  # jupyter_server 2.17 writes "port 0" down as it is
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = (
        "ip=127.0.0.1",
        f"port={port}",
        "open_browser=False",
        "allow_root=True",
        "base_url=/user/someone/",
    )
    options = [f"--ServerApp.{name}" for name in names] + ["--IdentityProvider.token=t"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environ |= {"HOME": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    with (tmp_path / "lab.log").open("wb") as output:
        command = [str(image / "jupyter"), "lab", *options, "--LabApp.expose_app_in_browser=True"]
        process = subprocess.Popen(command, cwd=checkout, env=environ, stdout=output, stderr=output)
    try:
        while not answers(port):
            assert process.poll() is None, (tmp_path / "lab.log").read_text()[-2000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/user/someone/"
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


RUN = """async () => {
  await jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
  jupyterapp.commands.execute('notebook:run-all-cells');
}"""
READY = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"


@pytest.mark.slow
def test_the_badges_address_opens_and_runs_in_a_browser(served: str) -> None:
    """Under Binder's base URL the badge's path opens the quickstart, and its cells answer."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the ci extra is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("no chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(f"{served}lab/tree/notebooks/quickstart.ipynb?token=t", timeout=60_000)
        page.wait_for_function(READY, timeout=60_000)
        page.evaluate(RUN)
        answer = page.locator(".jp-OutputArea-output", has_text="The capital of France is Paris.")
        answer.first.wait_for(state="attached", timeout=60_000)
        chromium.close()


def repository() -> str:
    """Where the project says that it lives."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["urls"]["Repository"]).removeprefix("https://github.com/")


def test_badges_lead_to_notebooks_of_this_repository() -> None:
    """Each notebook has a badge, each badge a notebook, and all of them the project's own address."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    badges = re.findall(r"mybinder\.org/v2/gh/([\w.-]+/[\w.-]+)/HEAD\?urlpath=lab/tree/(\S+)\)", readme)
    assert sorted(badges) == sorted(
        (repository(), f"notebooks/{path.name}") for path in (ROOT / "notebooks").glob("*.ipynb")
    )


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_first_cell_brings_the_package_where_it_is_missing(path: Path) -> None:
    """From this repository, as on Colab; on Binder and a laptop the same cell installs nothing."""
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    missing = 'if importlib.util.find_spec("helix_nb") is None:'
    install = f"    %pip install -q git+https://github.com/{repository()}\n"
    assert re.search(rf"^{re.escape(missing)}[^\n]*\n{re.escape(install)}", first, re.M), first
    assert "import helix_nb as hx" in first


def test_a_key_is_typed_and_nowhere_kept() -> None:
    """The marked cell for Helix asks by getpass, deletes the key, and is run by people alone."""
    cells = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if "hx.connect(" in cell.source and cell.cell_type == "code"]
    assert re.search(r"if key := getpass\(", cell.source) and "del key" in cell.source
    assert {"nbval-skip", "skip-execution"} <= set(cell.metadata.tags) and not cell.outputs
    heading = cells[cells.index(cell) - 1].source
    assert heading.startswith("## Talk to a real model") and "never saved" in heading
