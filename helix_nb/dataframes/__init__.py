"""Prompts over DataFrames: `df.helix.ask(template)`, `Series.helix.ask(template)`, `hx.ask_parquet`.

Importing this costs nothing and imports no pandas: `install` registers the accessors at once where
pandas is loaded already, and otherwise at the moment something imports it.

Inside, imports run accessor, parquet > options, estimate, logged_batch > batch > runner > batch_log, limits,
progress, text_column > results > rows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType


def install() -> None:
    """Have `DataFrame.helix` and `Series.helix` exist as soon as pandas does, and not before."""
    if hasattr(sys.modules.get("pandas"), "DataFrame"):
        _register_accessors()
    elif not any(isinstance(finder, _PandasHook) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PandasHook())


def _register_accessors() -> None:
    """Import the accessors, which registers them."""
    import_module(".accessor", __name__)


class _PandasHook:
    """A finder that finds nothing itself, and registers the accessors once pandas has run.

    It stays until then, because a look whether pandas is installed finds a spec and never runs it.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "pandas":
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register_accessors()

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec
