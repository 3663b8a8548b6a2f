"""What would be released: the wheel and the sdist, built and used in an environment of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import helix_nb as hx
from helix_nb.cli.doctor import PACKAGES

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), **environ}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_version_stands_in_one_place() -> None:
    """The project file takes it from the package, and the changelog knows it or what comes after."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", hx.__version__)
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in project
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changelog or f"## {hx.__version__}" in changelog


def test_every_extra_that_is_named_exists() -> None:
    """What doctor, an error or the README tells people to install is an extra of the project."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pages = [*(ROOT / "helix_nb").rglob("*.py"), ROOT / "README.md", *(ROOT / "notebooks").glob("*.ipynb")]
    named = {name for page in pages for name in re.findall(r"helix-nb\[(\w+)\]", page.read_text("utf-8"))}
    assert named | {extra for extra in PACKAGES.values() if extra} <= set(extras)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, made from a clone."""
    pytest.importorskip("build", reason="the ci extra is not installed")
    folder = tmp_path_factory.mktemp("built")
    run("git", "clone", "--quiet", ROOT, folder / "clone", cwd=folder)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "clone", cwd=folder)
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_is_small_and_holds_the_package_alone(built: Path) -> None:
    """Under 1 MB: the modules, the panel's static files, the licence; no tests, no notebooks."""
    (wheel,) = built.glob("*.whl")
    assert wheel.stat().st_size < 1_000_000
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"helix_nb"}
    assert "helix_nb/py.typed" in names
    assert any(name.startswith("helix_nb/notebook/panel/static/") for name in names)
    assert any(name.endswith("LICENSE") for name in names)


@pytest.fixture(scope="module")
def alone(built: Path) -> Path:
    """The Python of an environment with nothing in it but the wheel and what it needs."""
    run(sys.executable, "-m", "venv", built.parent / "venv", cwd=built)
    python = built.parent / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *built.glob("*.whl"), cwd=built)
    return python


@pytest.mark.slow
def test_the_wheel_runs_in_an_environment_of_its_own(alone: Path, tmp_path: Path) -> None:
    """Installed alone, it asks, logs and says kindly where the quickstart is; nothing conflicts."""
    said = run(alone, "-m", "helix_nb", "demo", cwd=tmp_path, HELIX_NB_LOG=str(tmp_path / "log.db"))
    assert "The capital of France is Paris." in said
    assert "comes with the repository" in said
    assert "%load_ext helix_nb" in said
    run(alone, "-m", "pip", "check", cwd=tmp_path)


AT_THE_FLOORS = """
import pandas as pd
import helix_nb as hx

for carrier in ("aiohttp", "httpx"):
    hx.connect("demo", carrier=carrier)
    assert "Paris" in hx.ask("What is the capital of France?")._repr_mimebundle_()["text/html"]
read = "Read this: Arrived with 4 people. Ann"
assert hx.ask(read, schema={"name": str, "people": int}).parsed["people"] == 4
assert hx.ask(read, schema={"type": "object", "properties": {"people": {"type": "integer"}}}).parsed
moods = pd.DataFrame({"entry": ["We loved it."]}).helix.ask("Sentiment: {{entry}}", progress=False)
assert moods["answer_status"].tolist() == ["ok"]
assert hx.ChatPanel(endpoint="demo").send("What is $x^2$?").result().status == "ok"
assert hx.usage(by=None)["n"].tolist() == [6]
"""


@pytest.mark.slow
def test_the_lowest_versions_that_are_named_are_enough(built: Path, tmp_path: Path) -> None:
    """With each dependency at its floor the wheel asks, reads schemas, shows answers and opens a panel."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (tmp_path / "floors.txt").write_text("\n".join(line.replace(">=", "==") for line in needed))
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    run(python, "-m", "pip", "install", "--quiet", "-c", "floors.txt", wheel, cwd=tmp_path)
    run(python, "-c", AT_THE_FLOORS, cwd=tmp_path, HELIX_NB_LOG=":memory:")


@pytest.mark.slow
def test_the_sdist_holds_what_its_readme_names(built: Path) -> None:
    """Every file of the repository that README links to, and the scripts that it says to run."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {*links, "scripts/demo", "scripts/test", "scripts/install", "benchmarks/batch.py"} <= names
    assert len(links) > 5


@pytest.mark.slow
def test_the_sdist_installs_to_the_same(alone: Path, built: Path, tmp_path: Path) -> None:
    """Built from the sdist, the package has the same files as the wheel, and answers."""
    (wheel,) = built.glob("*.whl")
    run(
        alone,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--force-reinstall",
        *built.glob("*.tar.gz"),
        cwd=tmp_path,
    )
    where = Path(run(alone, "-c", "import helix_nb; print(helix_nb.__file__)", cwd=tmp_path).strip()).parents[
        1
    ]
    packed = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("helix_nb/")]
    assert all((where / name).is_file() for name in packed)
    log = str(tmp_path / "log.db")
    assert "Paris" in run(alone, "-m", "helix_nb", "ask", "capital of France", cwd=tmp_path, HELIX_NB_LOG=log)


@pytest.mark.slow
def test_the_api_reference_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    """Each public name and `df.helix` have their entry; the pages load nothing from elsewhere."""
    pytest.importorskip("pdoc", reason="the docs extra is not installed")
    modules = ("helix_nb", "helix_nb.dataframes.accessor")
    run(
        sys.executable,
        "-m",
        "pdoc",
        "-d",
        "google",
        "--no-show-source",
        "-o",
        tmp_path,
        *modules,
        cwd=tmp_path,
    )
    page = (tmp_path / "helix_nb.html").read_text(encoding="utf-8")
    assert [name for name in hx.__all__ if f'id="{name}"' not in page] == []
    assert 'id="FrameAccessor.ask"' in (tmp_path / "helix_nb" / "dataframes" / "accessor.html").read_text()
    for path in tmp_path.rglob("*.html"):
        assert not re.search(
            r"<(?:script|link|img)[^>]+(?:src|href)=.https?:", path.read_text(encoding="utf-8")
        )
