"""Every test has a log of its own, no configuration from outside, a forgotten session and a new loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pages import browser, fresh_page, lab, lacking, loaded, page  # noqa: F401 - fixtures

from helix_nb.config.session import reset_session
from helix_nb.runtime.loop import stop_loop

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")  # a busy machine is no failure


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests in a browser where there is none, and say what is missing."""
    missing = lacking()
    for item in items:
        if missing and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(missing))


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a fresh log file, an empty working directory and no HELIX_* settings."""
    for name in [name for name in os.environ if name.startswith("HELIX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HELIX_NB_LOG", str(tmp_path / "log.db"))
    monkeypatch.chdir(tmp_path)
    reset_session()
    yield
    reset_session()
    # What is known of a server goes with the loop: the next one may be given the same port.
    stop_loop()
