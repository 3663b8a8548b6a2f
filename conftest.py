"""Keeps the tests, the notebooks among them, away from the user's own log, keys and endpoints."""

from __future__ import annotations

import os
import signal
import tempfile
from importlib.util import find_spec

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Clear HELIX_* and point the log to a temporary file; kernels that run notebooks inherit both."""
    for name in [name for name in os.environ if name.startswith("HELIX_")]:
        del os.environ[name]
    # Started in the background, a process ignores Ctrl-C, and so would everything tested here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tempfile.TemporaryDirectory(prefix="helix_nb-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["HELIX_NB_LOG"] = os.path.join(folder.name, "log.db")  # noqa: PTH118 - an environment value


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count the notebook about local models among the `local` tests: it needs their extra."""
    for item in items:
        if item.path.name == "local.ipynb":
            item.add_marker("local")
            if find_spec("mlx_lm") is None:
                item.add_marker(
                    pytest.mark.skip("local models need the extra: pip install 'helix-nb[local]'")
                )
