"""Every example in a docstring runs, against the demo endpoint, and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import helix_nb as hx

ROOT = Path(hx.__file__).parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


# Which package of an extra an example needs; .ci/run has them all.
NEEDS = {"local/worker": "mlx_lm", "tiny_model": "mlx_lm", "parquet": "pyarrow"}


def examples() -> Iterator[doctest.DocTest]:
    """The docstrings with examples, of every module that has one."""
    for path in sorted(ROOT.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8") and not lacking(str(path.relative_to(ROOT))):
            parts = path.relative_to(ROOT.parent).with_suffix("").parts
            module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
            yield from (found for found in doctest.DocTestFinder().find(module) if found.examples)


def lacking(name: str) -> bool:
    """Whether a package that a module of this name needs is not installed."""
    return any(find_spec(package) is None for word, package in NEEDS.items() if word in name)


@pytest.mark.parametrize(
    "example", list(examples()), ids=lambda example: example.name.removeprefix("helix_nb.")
)
def test_examples_in_docstrings_are_true(example: doctest.DocTest) -> None:
    """The example prints exactly what the docstring shows."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    assert runner.run(example, out=said.append).failed == 0, "".join(said)


def test_everything_public_is_documented_with_an_example() -> None:
    """Each public function and class says in its first line what it does, and shows it."""
    for name in hx.__all__:
        value = getattr(hx, name)
        if inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, Exception)):
            doc = inspect.getdoc(value) or ""
            assert doc.split("\n")[0].endswith((".", ";", ":", "`")), name
            if name not in ("load_ipython_extension", "Reply", "Usage"):
                assert ">>>" in doc or ">>>" in (inspect.getdoc(value.__init__) or ""), name
