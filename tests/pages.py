"""The fixtures of tests in a browser: `lab`, `browser`, `page` and `fresh_page`.

The browser is Debian's chromium, driven by Playwright. JupyterLab is seconds of work to load, so the
tests of one process share one server, and those of one file one browser and one loaded page, in which
each opens a notebook with a kernel of its own. No longer than a file: while Playwright is there, its
event loop runs in the tests' own thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import CHROMIUM, NAMES, Lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

VIEWPORT = {"width": 1280, "height": 900}


def lacking() -> str | None:
    """What a test in a browser would miss on this machine; None where all is there."""
    if not Path(CHROMIUM).exists():
        return f"no browser on PATH ({', '.join(NAMES)}); Debian's: apt-get install chromium"
    if not all(find_spec(name) for name in ("playwright", "axe_playwright_python", "jupyterlab")):
        return "the browser's driver or JupyterLab is missing: pip install 'helix-nb[test]'"
    return None


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The JupyterLab that all tests of this process share."""
    started = Lab(tmp_path_factory.mktemp("lab"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def fresh_page(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own, for a test of something else than JupyterLab."""
    page = _page(browser)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def loaded() -> list[Page]:
    """The page that `page` lends, once there is one."""
    return []


@pytest.fixture
def page(browser: Browser, lab: Lab, loaded: list[Page], request: pytest.FixtureRequest) -> Iterator[Page]:
    """The shared page, with nothing open in it; one that a test failed in is not lent again."""
    if not loaded:
        loaded.append(_page(browser))
        lab.load(loaded[0])
    page, failed = loaded[0], request.session.testsfailed
    yield page
    if request.session.testsfailed > failed:
        loaded.remove(page)
        page.context.close()
        return
    lab.leave(page)
    page.set_viewport_size(VIEWPORT)
    page.emulate_media(reduced_motion="no-preference")
    page.context.clear_permissions()


def _page(browser: Browser) -> Page:
    context = browser.new_context(viewport=VIEWPORT)
    context.set_default_timeout(30_000)
    return context.new_page()


def listen(page: Page, url: str) -> None:
    """Have the page fetch an image, so that whatever it was to fetch before has been asked for."""
    page.evaluate(_FETCH, url)


_FETCH = """url => new Promise(done => { const image = new Image();
  image.onload = image.onerror = done; image.src = url; })"""
