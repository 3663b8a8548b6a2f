"""Every test has a log of its own, no configuration from outside, and a forgotten session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from helix_nb import config


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a fresh log file, an empty working directory and no HELIX_* settings."""
    for name in [name for name in os.environ if name.startswith("HELIX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HELIX_NB_LOG", str(tmp_path / "log.db"))
    monkeypatch.chdir(tmp_path)
    config.forget()
    yield
    config.forget()
