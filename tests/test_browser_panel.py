"""The panel in a live JupyterLab: what people do with it, what it looks like, what it withstands."""

# ruff: noqa: F811 - a fixture's name is also a parameter's

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from panel_page import Panel, axe, panel, server  # noqa: F401 - fixtures
from panel_server import PanelServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

CANARY = "canary-key-0123456789"


def test_conversation(panel: Panel, server: PanelServer) -> None:
    """Send, stop, edit, regenerate, delete and undo work, by keyboard too, and focus stays."""
    page = panel.page
    panel.ask("first *question*")
    panel.answered("first question")
    assert page.locator(".hx-body em").count() == 1
    assert page.evaluate("document.activeElement.matches('.hx-composer textarea')")
    panel.model("slow")
    panel.send("go on")
    assert page.locator(".hx-go").get_attribute("aria-label") == "Stop"
    page.wait_for_selector(".hx-turn:last-child .hx-tail p")
    panel.box.type("typed while it streams")
    assert page.evaluate("document.activeElement.value") == "typed while it streams"
    page.keyboard.press("Escape")
    page.wait_for_selector(".hx-turn:last-child[data-status=interrupted]")
    assert server.left.acquire(timeout=10)
    assert "Interrupted" in page.locator(".hx-turn:last-child .hx-strip").inner_text()
    panel.model("echo")
    page.locator(".hx-turn:last-child [aria-label='Answer again']").click()
    panel.answered("first question", "go on")
    panel.box.fill("")
    panel.box.press("ArrowUp")
    page.keyboard.type(" and on")
    page.keyboard.press("Enter")
    panel.answered("first question", "go on and on")
    page.locator(".hx-turn:first-child [aria-label='Delete this turn']").click()
    page.wait_for_function("document.querySelectorAll('.hx-turn').length === 1")
    page.get_by_role("button", name="Restore").click()
    page.wait_for_function("document.querySelectorAll('.hx-turn').length === 2")
    page.locator("[aria-label=More]").click()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.hx-turn').length === 1")
    page.wait_for_function("document.querySelector('.hx-composer textarea').value === 'go on and on'")


def test_scrolling_follows_unless_the_reader_scrolls_up(panel: Panel) -> None:
    """The log follows the answer, stays where a reader scrolled to, and jumps back when asked."""
    page = panel.page
    panel.ask("A paragraph.\n\n" * 30)
    panel.model("slow")
    panel.send("go")
    page.wait_for_selector(".hx-turn:last-child .hx-tail p")
    at_end = _AT_END
    page.wait_for_function(at_end, timeout=60_000)
    page.locator(".hx-log").hover()
    page.mouse.wheel(0, -400)
    page.wait_for_selector(".hx-jump:not([hidden])")
    before = page.evaluate("document.querySelector('.hx-log').scrollTop")
    height = page.evaluate("document.querySelector('.hx-log').scrollHeight")
    page.wait_for_function("h => document.querySelector('.hx-log').scrollHeight > h + 60", arg=height)
    assert abs(page.evaluate("document.querySelector('.hx-log').scrollTop") - before) < 2
    page.click(".hx-jump")
    page.wait_for_function(at_end)
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-status=interrupted]")


_AT_END = """() => { const log = document.querySelector('.hx-log');
  return log.scrollHeight - log.scrollTop - log.clientHeight < 40
    && log.scrollHeight > log.clientHeight + 200 }"""


def test_reload_and_second_view(panel: Panel, server: PanelServer) -> None:
    """A second view shows the same; after a page reload in mid-stream the view catches up."""
    page = panel.page
    panel.model("held")
    panel.send("x")
    page.wait_for_function("document.querySelector('.hx-body').innerText.includes('The first part')")
    page.locator(".hx-panel").first.hover()
    page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    panel.lab.run(page, "notebook:create-output-view")
    page.wait_for_function(_TWO_VIEWS)
    panel.shot("panel-two-views")
    panel.lab.save(page)
    panel.lab.load(page, panel.path)
    panel.lab.ready(page)
    page.wait_for_function(
        "document.querySelector('.hx-body')?.innerText.includes('The first part')", timeout=60_000
    )
    assert page.locator(".hx-panel").first.get_attribute("aria-busy") == "true"
    server.release.set()
    page.wait_for_function("document.querySelector('.hx-body').innerText.includes('And the second part')")
    page.wait_for_selector("[data-status=ok]")


_TWO_VIEWS = """() => [...document.querySelectorAll('.hx-body')]
  .filter(body => body.innerText.includes('The first part')).length === 2"""


def test_saved_notebook_reads_as_a_document_and_holds_no_key(panel: Panel) -> None:
    """Saved, closed and opened without its kernel, the conversation is there as text; no key is."""
    page, lab = panel.page, panel.lab
    panel.ask(f"my key is {CANARY}, and **this** is the question")
    saved = lab.root / panel.path
    _keep_state(page, False)
    _saved(panel, lambda text: "this</strong>" in text)
    (lab.root / "plain.ipynb").write_text(saved.read_text())
    _keep_state(page, True)
    _saved(panel, lambda text: "widget-state" in text)
    (lab.root / "untrusted.ipynb").write_text(saved.read_text().replace("1 + 1", "1 + 2"))
    assert CANARY not in saved.read_text() and "model_id" in saved.read_text()
    for name in ("plain", "untrusted"):
        lab.leave(page)
        lab.open(page, f"{name}.ipynb")
        page.wait_for_function(_READABLE)
        assert _complaints(page) == []
        panel.shot(f"panel-reopened-{name}")


def test_saved_widget_state_does_not_hide_the_conversation(panel: Panel) -> None:
    """Reopened with its widget's state but without its kernel, the notebook shows the transcript alone."""
    page, lab = panel.page, panel.lab
    panel.ask("and **this** is the question")
    _keep_state(page, True)
    _saved(panel, lambda text: "widget-state" in text and "this</strong>" in text)
    lab.leave(page)
    lab.load(page, panel.path)
    lab.ready(page)
    page.wait_for_function(_READABLE)
    assert _complaints(page) == [] and page.evaluate(_BOXES) == ["and **this** is the question"]
    lab.run(page, "kernelmenu:shutdown")
    page.wait_for_function("!jupyterapp.shell.currentWidget.sessionContext.session")
    page.wait_for_function(_READABLE)
    assert _complaints(page) == [] and page.evaluate(_BOXES) == ["and **this** is the question"]
    panel.shot("panel-reopened-with-state")


def _keep_state(page: Page, keep: bool) -> None:
    """Have JupyterLab save the state of widgets in the notebook, or not: its own setting."""
    page.evaluate(_KEEP_STATE, keep)
    page.wait_for_function(f"keep => jupyterapp.commands.isToggled('{_STATE}') === keep", arg=keep)


_STATE = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
_KEEP_STATE = f"""keep => {{ if (jupyterapp.commands.isToggled('{_STATE}') !== keep)
  jupyterapp.commands.execute('{_STATE}'); }}"""
_BOXES = """[...document.querySelectorAll('.jp-OutputArea-output')].filter(box => box.offsetHeight > 0)
  .map(box => box.querySelector('.hx-said')?.innerText ?? box.outerHTML.slice(0, 200))"""


def _complaints(page: Page) -> list[str]:
    """What JupyterLab says in place of a widget that it cannot show."""
    shown = page.locator(".jp-Notebook").inner_text()
    return [said for said in ("model not found", "Loading widget", "Error displaying") if said in shown]


def _saved(panel: Panel, there: Callable[[str], bool]) -> None:
    """Save until the file holds what is looked for: outputs reach the document a little later."""
    for _ in range(100):
        panel.lab.save(panel.page)
        if there((panel.lab.root / panel.path).read_text()):
            return
        panel.page.wait_for_timeout(100)
    raise AssertionError("never saved")


_READABLE = """() => { const text = document.querySelector('.helix-transcript');
  const panel = document.querySelector('.hx-panel');
  return text && text.innerText.includes('is the question') && text.offsetHeight > 0
    && (!panel || panel.offsetHeight === 0) && !document.body.innerText.includes('Loading widget') }"""


def test_looks_and_accessibility(panel: Panel) -> None:
    """Light, dark and at 400 px the panel passes axe, is screenshot, and nothing overflows."""
    page = panel.page
    panel.model("thinks")
    panel.ask("What is the answer?")
    panel.model("echo")
    panel.ask(_SHOWCASE)
    panel.model("cut")
    panel.ask("And what comes next?")
    panel.shot("panel-light")
    assert axe(page) == []
    page.click("[aria-label=Settings]")
    assert axe(page) == []
    panel.shot("panel-settings")
    page.keyboard.press("Escape")
    page.click(".hx-place")
    page.wait_for_selector(".hx-rows [role=option]")
    assert axe(page) == []
    panel.shot("panel-models")
    page.keyboard.press("Escape")
    panel.lab.dark(page)
    assert axe(page) == []
    panel.shot("panel-dark")
    panel.lab.dark(page, False)
    page.set_viewport_size({"width": 560, "height": 900})
    page.wait_for_timeout(300)
    panel.shot("panel-narrow")
    wide = _WIDE
    assert page.evaluate(wide) == []
    assert axe(page) == []


_WIDE = """() => [...document.querySelectorAll('.hx-panel, .hx-log, .hx-head, .hx-bottom')]
  .filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.className)"""


_SHOWCASE = """## Rain by station

Sorted by the number of wet days, with the mean $\\bar{x} = \\frac{1}{n}\\sum_{i=1}^n x_i$:

| Station | Days of rain | Wettest month |
|:--------|-------------:|:--------------|
| Bergen  | 235          | October       |
| Lisbon  | 113          | November      |

```python
import pandas as pd

rain = pd.Series({"Bergen": 235, "Lisbon": 113})
print(rain.sort_values())  # a row for each station
```

- Take **daily** sums, not hourly ones.
- See [the method](https://example.org/method).
"""
