"""The corpus in a live JupyterLab, in cells and in the panel: nothing is fetched, nothing runs."""

# ruff: noqa: E501, F811 - scripts for the page are one line; a fixture's name is also a parameter's

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from attacks import ATTACKS, REMOTE
from browser import Lab
from pages import listen
from panel_page import Panel, server  # noqa: F401 - fixtures
from panel_server import PanelServer
from wire_server import Answer, WireServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

CELL = """
import json
from IPython.display import HTML, display
from helix_nb.markdown import to_html
display(HTML("".join(to_html(text) for text in json.load(open("texts.json")))))
"""
FORMULAS = [r"$x^2$ costs $5 and $6, \(y\)", "$$\n\\frac{1}{2}\n$$", "C:\\\\(x\\\\) \\$a\\$ `$z$` \\ref{a} \\\\begin{align}x\\\\end{align}"]  # fmt: skip


@pytest.fixture
def listener() -> Iterator[WireServer]:
    """A server that nothing may ask."""
    with WireServer(Answer(b"", 200, "text/plain", framing="length")) as started:
        yield started


def test_attacks_in_cells_of_a_live_lab(lab, page, listener):
    """With every attack displayed, the listener hears nothing, no script ran and no element is Lab's own."""
    here = listener.url + "/"
    texts = [text.replace(REMOTE, here) for text in ATTACKS.values()]
    (lab.root / "texts.json").write_text(json.dumps(texts))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("() => { window.hacks = 0; window.hacked = () => { window.hacks += 1 } }")
    lab.open(page, lab.write("attacks", CELL))
    lab.run_all(page)
    page.wait_for_function(f"() => document.querySelectorAll('.helix-nb').length === {len(texts)}")
    page.wait_for_selector(".helix-nb mjx-container")
    listen(page, here + "last")
    assert page.evaluate("() => window.hacks") == 0
    assert [got.target for got in listener.got] == ["/last"]
    assert [url for url in asked if "attacker" in url or url.startswith(here)] == [here + "last"]
    inside = "document.querySelectorAll('.helix-nb')"
    found = page.evaluate(
        f"""() => [...{inside}].flatMap(root => [...root.querySelectorAll('*')]).filter(e => !e.closest('mjx-container')
            && (e.matches('img, script, iframe, svg, form, input, button, object, embed, link, meta, base, [style], [id], [name]')
            || [...e.attributes].some(a => a.name.startsWith('on') || a.name.startsWith('data-')))).map(e => e.outerHTML)"""
    )
    assert found == []
    assert (
        page.locator(".helix-nb mjx-container")
        .locator("a, [href], [onclick], [data-commandlinker-command]")
        .count()
        == 0
    )
    for href in page.eval_on_selector_all(".helix-nb a", "found => found.map(e => e.getAttribute('href'))"):
        assert href.lower().startswith(("http://", "https://", "mailto:"))


def test_only_formulas_are_typeset(lab, page):
    """MathJax draws the formulas of an answer and leaves prices, paths and code alone."""
    (lab.root / "texts.json").write_text(json.dumps(FORMULAS))
    lab.open(page, lab.write("formulas", CELL))
    lab.run_all(page)
    page.wait_for_function("() => document.querySelectorAll('.helix-nb mjx-container').length === 3")
    texts = page.evaluate(
        """() => [...document.querySelectorAll('.helix-nb')].map(root => { const copy = root.cloneNode(true);
            copy.querySelectorAll('style, mjx-container').forEach(e => e.remove()); return copy.textContent.trim() })"""
    )
    assert texts[0] == "costs $5 and $6,"
    assert "$a$" in texts[2] and "$z$" in texts[2] and "begin{align}" in texts[2]


@pytest.fixture(params=["with the browser's sanitiser", "without it"])
def wall(page: Page, request: pytest.FixtureRequest) -> Iterator[str]:
    """The browser's own sanitiser, or none, as in older browsers."""
    if request.param == "without it":
        page.evaluate("() => { window.kept = Element.prototype.setHTML; delete Element.prototype.setHTML }")
    yield request.param.split()[0]
    if request.param == "without it":
        page.evaluate("() => { Element.prototype.setHTML = window.kept }")


def test_attacks_in_the_panel(
    lab: Lab, page: Page, server: PanelServer, listener: WireServer, wall: str
) -> None:
    """No answer runs a script, a JupyterLab command or a request: while it streams, closed, or clicked."""
    texts = [text.replace(REMOTE, f"{listener.url}/") for text in ATTACKS.values() if len(text) < 20_000]
    (lab.root / "attacks.json").write_text(json.dumps(texts))
    page.evaluate("() => { window.hacked = () => { window.wasHacked = true } }")
    panel = Panel(lab, page, server.url, f"attacks-{wall}", _ATTACK)
    page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    lab.run(page, "notebook:run-cell")
    page.wait_for_function(_ALL_SHOWN, arg=len(texts), timeout=120_000)
    cells = page.evaluate(_CELLS)
    page.evaluate(_CLICK_ALL)
    listen(page, f"{listener.url}/last")
    assert not page.evaluate("window.wasHacked")
    assert page.evaluate(_CELLS) == cells
    assert panel.page.evaluate(_ODD_ELEMENTS) == [] and page.evaluate(_ODD_ATTRIBUTES) == []
    assert [got.target for got in listener.got] == ["/last"]


_ATTACK = """import json
for text in json.load(open('attacks.json')):
    panel.send(text).result()"""
_ALL_SHOWN = "n => document.querySelectorAll('.hx-turn[data-status=ok]').length === n"
_CELLS = "jupyterapp.shell.currentWidget.content.widgets.length"
_ODD = "script, img, iframe, form, object, embed, video, audio, link, style, input, button:not(.hx-copy)"
_ODD_ELEMENTS = f"[...document.querySelectorAll('.hx-body :is({_ODD})')].map(node => node.outerHTML)"
_CLICK_ALL = """() => { for (const node of document.querySelectorAll('.hx-body *')) {
  if (node.closest('a')) continue;
  for (const kind of ['mouseover', 'focus', 'click', 'dblclick'])
    node.dispatchEvent(new MouseEvent(kind, {bubbles: true}));
} }"""
_ODD_ATTRIBUTES = """() => [...document.querySelectorAll('.hx-body *')].flatMap(node => [...node.attributes]
  .filter(({name, value}) => name.startsWith('on') || name.startsWith('data-')
    || ['id', 'style', 'src', 'srcset', 'action'].includes(name)
    || (name === 'href' && !/^(https?|mailto):/i.test(value)))
  .map(({name, value}) => `${name}=${value}`))"""
