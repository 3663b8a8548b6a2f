"""The house: which way its imports run, where each library lives, what it shows and what loading it costs."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import helix_nb as hx

ROOT = Path(hx.__file__).parent
# From the top floor down. A file may import lower floors, and in its own folder only what does not import
# it back; an import for typing alone, or inside a function, counts like any other.
FLOORS = (
    ("__init__", "__main__", "cli"),
    ("notebook", "dataframes"),
    ("chat",),
    ("exchange",),
    ("records",),
    ("endpoints",),
    ("config", "runtime", "prompts", "schemas", "messages"),
    ("errors",),
    ("replies", "redaction"),
    ("markdown", "demo", "origin", "text", "_version"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LIBRARIES = {
    "pandas": ("records", "dataframes", "notebook"),
    "aiohttp": ("endpoints/transports",),
    "httpx": ("endpoints/transports",),
    "IPython": ("notebook", "__init__"),
    "mlx": ("endpoints/local/worker", "endpoints/local/tiny_model"),
    "mlx_lm": ("endpoints/local/worker", "endpoints/local/tiny_model"),
    "ipywidgets": ("notebook",),
    "anywidget": ("notebook",),
    "sqlite3": ("records",),
    "tornado": ("demo",),
}


def module_of(path: Path) -> str:
    """Return the dotted name of a file inside the package; a package's own is its folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def module_named(name: str) -> str:
    """Return the longest part of a dotted name that is a module of the package, or an empty text."""
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name


@cache
def imports(module: str) -> tuple[tuple[int, str], ...]:
    """Return (line, target) of each import in a module: "/name" for what stands outside the package."""
    return tuple(_imports(module))


def _imports(module: str) -> Iterator[tuple[int, str]]:
    path = FILES[module]
    here = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                yield node.lineno, (module_named(rest) or "__init__") if top == ROOT.name else f"/{top}"
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                source = ".".join([*here[: len(here) - node.level + 1], *filter(None, [source])])
            elif source.split(".")[0] == ROOT.name:
                source = source.partition(".")[2]
            else:
                yield node.lineno, f"/{source.split('.')[0]}"
                continue
            for alias in node.names:
                inner = f"{source}.{alias.name}".strip(".")
                yield node.lineno, module_named(inner) or "__init__"


def circles() -> list[set[str]]:
    """Return each set of modules that import one another, directly or by way of others."""
    graph = {
        module: {t for _, t in imports(module) if not t.startswith("/") and t not in (module, "__init__")}
        for module in FILES
    }
    reach = {module: _reachable(graph, module) for module in graph}
    found: list[set[str]] = []
    for module in graph:
        circle = {other for other in reach[module] if module in reach[other]}
        if len(circle | {module}) > 1 and circle not in found:
            found.append(circle)
    return found


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for other in graph[todo.pop()] - seen:
            seen.add(other)
            todo.append(other)
    return seen


def test_every_room_has_a_floor() -> None:
    """A new file at the top of the package is given its place here before it is used."""
    assert {module.split(".")[0] for module in FILES} <= set(FLOOR)


@pytest.mark.parametrize("module", FILES)
def test_imports_run_down(module: str) -> None:
    """No file imports a room on a higher floor, nor do the front doors import one another."""
    room = module.split(".")[0]
    for line, target in imports(module):
        other = target.split(".")[0]
        if target.startswith("/") or other == room:
            continue
        sideways = {room, other} == {"notebook", "dataframes"}
        assert FLOOR[other] >= FLOOR[room] and not sideways, f"{module}:{line} imports {target}"


def test_no_file_imports_itself_back() -> None:
    """Imports make no circle, those for typing and those inside functions counted."""
    assert circles() == []


@pytest.mark.parametrize("module", FILES)
def test_libraries_stay_in_their_rooms(module: str) -> None:
    """Endpoints know no pandas, front doors no HTTP, and only the worker imports mlx."""
    place = FILES[module].relative_to(ROOT).with_suffix("").as_posix()
    for line, target in imports(module):
        rooms = LIBRARIES.get(target.removeprefix("/")) if target.startswith("/") else None
        if rooms is not None:
            assert place.startswith(rooms), f"{place}:{line} imports {target[1:]}"


def test_the_demo_imports_nothing_of_the_package() -> None:
    """The embedded endpoint could be any server: nothing but its own folder."""
    for module in FILES:
        if module.split(".")[0] == "demo":
            inside = {target for _, target in imports(module) if not target.startswith("/")}
            assert all(target.split(".")[0] == "demo" for target in inside), module


def test_every_public_name_exists_and_none_is_a_module() -> None:
    """`hx.log` is a function now and after any import; no file may take its name."""
    modules = {module.name for module in pkgutil.iter_modules([str(ROOT)])}
    assert not modules & set(hx.__all__)
    for name in hx.__all__:
        assert hasattr(hx, name), name
        assert name in dir(hx)


def test_type_checkers_see_every_public_name_where_it_lives() -> None:
    """The names that load at first use stand in the block for type checkers, with the same homes."""
    tree = ast.parse(FILES["__init__"].read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert homes == {**hx._PUBLIC, **dict.fromkeys(hx._ERRORS, "errors")}


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
