"""The house: what the package shows, which way its imports run, and what loading it costs."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import helix_nb as hx

ROOT = Path(hx.__file__).parent
FLOORS = [
    {"notebook", "dataframes", "__main__", "__init__", "doctor"},
    {"chat", "faces", "rounds", "running", "asking", "streams", "turns"},
    {"exchange", "gate", "pacing", "draft"},
    {"endpoints", "records"},
    {"demo", "runtime", "blocking", "config", "session", "environment", "connection"},
    {
        "messages",
        "errors",
        "markdown",
        "schemas",
        "images",
        "keys",
        "braces",
        "urls",
        "provenance",
        "interrupts",
        "showing",
    },
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ROOMS_OF = {
    "pandas": {"records", "dataframes", "notebook"},
    "aiohttp": {"endpoints"},
    "httpx": {"endpoints"},
    "IPython": {"notebook", "__init__"},
    "mlx": {"endpoints/mlx_", "endpoints/tiny"},
    "mlx_lm": {"endpoints/mlx_", "endpoints/tiny"},
    "ipywidgets": {"notebook"},
    "anywidget": {"notebook"},
    "sqlite3": {"records"},
    "tornado": {"demo"},
}


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the modules a file imports: package modules by their room's path, others by name."""
    here = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((".".join(("helix_nb", *base, name)), node.lineno) for name in names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno


def test_every_room_has_a_floor() -> None:
    """A new file at the top of the package is given its place here before it is used."""
    assert {room_of(path) for path in files()} <= set(FLOOR)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down(path: Path) -> None:
    """No file imports a room that stands on a higher floor."""
    room = room_of(path)
    for name, line in imported(path):
        if name.startswith("helix_nb.") and (other := name.split(".")[1]) in FLOOR and other != room:
            assert FLOOR[other] >= FLOOR[room], f"{path.name}:{line} imports {other}, which is above it"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    """Endpoints know no pandas, front doors no HTTP, and only the worker imports mlx."""
    place = path.relative_to(ROOT).with_suffix("").as_posix()
    typing_only = {
        line
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    for name, line in imported(path):
        rooms = ROOMS_OF.get(name.split(".")[0])
        if rooms is not None and line not in typing_only:
            assert any(place.startswith(room) for room in rooms), f"{place}:{line} imports {name}"


def test_the_demo_knows_only_messages() -> None:
    """The embedded endpoint could be any server: it shares nothing but the nouns."""
    for path in sorted((ROOT / "demo").glob("*.py")):
        rooms = {name.split(".")[1] for name, _ in imported(path) if name.startswith("helix_nb.")}
        assert rooms <= {"demo", "messages"}, path.name


def test_every_public_name_exists_and_none_is_a_module() -> None:
    """`hx.log` is a function now and after any import; no file may take its name."""
    modules = {module.name for module in pkgutil.iter_modules([str(ROOT)])}
    assert not modules & set(hx.__all__)
    for name in hx.__all__:
        assert hasattr(hx, name), name
        assert name in dir(hx)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy package behaves as any module does."""
    with pytest.raises(AttributeError, match="no attribute 'asks'"):
        hx.asks


def test_loading_imports_nothing_heavy_opens_nothing_prints_nothing() -> None:
    """`import helix_nb` and `%load_ext helix_nb` leave the heavy libraries and the network alone."""
    code = """
        import json, sys
        def hook(event, args):
            if event in ("socket.connect", "socket.bind", "sqlite3.connect"):
                raise SystemExit(event)
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.history_manager.enabled = False
        sys.addaudithook(hook)
        before = set(sys.modules)
        shell.run_line_magic("load_ext", "helix_nb")
        new = {name.split(".")[0] for name in set(sys.modules) - before}
        print(json.dumps(sorted(new)))
        import os
        os._exit(0) if sys.stdout.flush() is None else None
    """
    import textwrap

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "IPYTHONDIR": "/nonexistent",
            "PYTHONPATH": str(ROOT.parent),
        },
    )
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    loaded = set(json.loads(done.stdout))
    heavy = {
        "pandas",
        "numpy",
        "ipywidgets",
        "anywidget",
        "httpx",
        "pydantic",
        "mlx",
        "mlx_lm",
        "tornado",
        "nh3",
    }
    assert not loaded & heavy
