"""Keeps the tests, the notebooks among them, away from the user's own log, keys and endpoints."""

from __future__ import annotations

import os
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Clear HELIX_* and point the log to a temporary file; kernels that run notebooks inherit both."""
    for name in [name for name in os.environ if name.startswith("HELIX_")]:
        del os.environ[name]
    folder = tempfile.TemporaryDirectory(prefix="helix_nb-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["HELIX_NB_LOG"] = os.path.join(folder.name, "log.db")  # noqa: PTH118 - an environment value
