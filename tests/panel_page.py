"""The panel in a page: `from panel_page import Panel, panel, server`, and what a user does with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import Lab
from panel_server import PanelServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOTS = Path(__file__).parents[1] / "screenshots"


@pytest.fixture(scope="module")
def server() -> Iterator[PanelServer]:
    """The server that the notebooks ask."""
    started = PanelServer()
    yield started
    started.close()


@pytest.fixture
def panel(lab: Lab, page: Page, server: PanelServer, request: pytest.FixtureRequest) -> Panel:
    """A notebook with a panel in its first cell, in a browser."""
    server.release.clear()
    return Panel(lab, page, server.url, request.node.name.partition("[")[0])


class Panel:
    """A panel in a page, and what a user does with it."""

    def __init__(self, lab: Lab, page: Page, url: str, name: str, *cells: str) -> None:
        self.lab, self.page = lab, page
        first = (
            f"import helix_nb as hx\nhx.connect({url!r}, key='canary-' + 'key-0123456789', "
            "name='lab', model='echo')\npanel = hx.ChatPanel(height='560px')\npanel"
        )
        self.path = lab.write(name, first, *(cells or ["1 + 1"]))
        lab.open(page, self.path)
        page.evaluate("jupyterapp.shell.collapseLeft()")
        lab.run(page, "notebook:run-cell")
        page.wait_for_selector(".hx-panel .hx-hello")

    @property
    def box(self) -> Any:
        return self.page.locator(".hx-composer textarea").first

    def model(self, name: str) -> None:
        """Choose a model in the picker, by keyboard."""
        self.page.click(".hx-place")
        self.page.fill(".hx-sheet [role=combobox]", name)
        self.page.wait_for_function("name => document.querySelector('.hx-marked')?.value === name", arg=name)
        self.page.keyboard.press("Enter")
        self.page.wait_for_function(
            "name => document.querySelector('.hx-place').textContent.includes(name)", arg=name
        )

    def send(self, text: str) -> None:
        self.box.fill(text)
        self.box.press("Enter")

    def ask(self, text: str) -> None:
        count = self.page.locator(".hx-turn").count()
        self.send(text)
        self.page.wait_for_function(
            "n => document.querySelectorAll('.hx-turn:not([data-status=pending])').length === n",
            arg=count + 1,
        )

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(5, 500)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def answered(self, *texts: str) -> None:
        """Wait until these are the answers, and all of them whole."""
        self.page.wait_for_function(_ANSWERED, arg=list(texts))


_ANSWERED = """texts => { const turns = [...document.querySelectorAll('.hx-turn')];
  return turns.every(turn => turn.dataset.status === 'ok') && JSON.stringify(texts)
    === JSON.stringify(turns.map(turn => turn.querySelector('.hx-body').innerText.trim())) }"""


def axe(page: Page) -> list[str]:
    """What axe-core finds wrong inside the panel."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=".hx-panel").response["violations"]
    return [f"{one['id']}: {[node['html'][:160] for node in one['nodes']]}" for one in found]
