"""The panel in a live JupyterLab: it loses nothing that its user has in hand, whatever else goes on."""

# ruff: noqa: F811 - a fixture's name is also a parameter

from __future__ import annotations

from pathlib import Path

import pytest
from panel_page import Panel, axe, panel, server  # noqa: F401 - fixtures
from panel_server import PanelServer

pytestmark = pytest.mark.browser


def run_cell(panel: Panel, code: str) -> None:
    """Run code in the notebook's second cell."""
    panel.page.evaluate(_SET_CELL, code)
    panel.lab.run(panel.page, "notebook:run-cell")


_SET_CELL = """code => { const notebook = jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = 1; notebook.activeCell.model.sharedModel.setSource(code); }"""


def test_keys_of_an_input_method_are_its_own(panel: Panel) -> None:
    """While characters are composed, Escape stops no answer and leaves no edit, and Enter chooses nothing."""
    page = panel.page
    panel.model("slow")
    panel.send("go")
    page.wait_for_selector(".hx-tail p")
    page.evaluate(_COMPOSED, [".hx-composer textarea", "Escape"])
    panel.box.press("Escape")
    page.wait_for_selector("[data-status=interrupted]")
    panel.box.press("ArrowUp")
    for key in ("Escape", "Enter"):
        page.evaluate(_COMPOSED, [".hx-editing textarea", key])
    assert page.locator(".hx-editing textarea").input_value() == "go"
    page.keyboard.press("Escape")
    page.click(".hx-place")
    page.fill(".hx-sheet [role=combobox]", "echo")
    page.evaluate(_COMPOSED, [".hx-sheet [role=combobox]", "Enter"])
    page.evaluate(_COMPOSED, [".hx-sheet [role=combobox]", "Escape"])
    assert page.locator(".hx-sheet").is_visible()


# Fails at once where the key was acted upon: what acts on a key prevents or stops it.
_COMPOSED = """([where, key]) => { let passed = false;
  const event = new KeyboardEvent('keydown', { key, isComposing: true, bubbles: true, cancelable: true });
  const heard = () => { passed = true; };
  document.body.addEventListener('keydown', heard);
  document.querySelector(where).dispatchEvent(event);
  document.body.removeEventListener('keydown', heard);
  if (!passed || event.defaultPrevented) throw new Error(`${key} was acted upon`); }"""


def test_a_cell_on_the_same_chat_disturbs_nobody(panel: Panel) -> None:
    """An edit under way, and the place a reader scrolled to, outlast the turn of a cell."""
    page = panel.page
    for number in range(3):
        panel.ask(f"Question {number}.\n\n" * 15)
    page.locator(".hx-log").hover()
    page.mouse.wheel(0, -5000)
    page.wait_for_selector(".hx-jump:not([hidden])")
    first = page.locator(".hx-turn").first
    first.locator("[aria-label='Edit and ask again']").click()
    page.keyboard.type("half an edit")
    before = page.evaluate("document.querySelector('.hx-log').scrollTop")
    run_cell(panel, "panel.chat.start('a first', 'cell-1').result(); panel.chat.ask('a second')")
    run_cell(panel, "panel.chat.start('a first, again', 'cell-1').result()")
    page.wait_for_function(_LAST_TWO, arg=["a first, again", "a second"])
    assert page.locator(".hx-editing textarea").input_value().endswith("half an edit")
    assert abs(page.evaluate("document.querySelector('.hx-log').scrollTop") - before) < 2
    assert page.locator(".hx-jump").is_visible()


_LAST_TWO = """texts => JSON.stringify([...document.querySelectorAll('.hx-text')]
  .slice(-2).map((text) => text.innerText)) === JSON.stringify(texts)"""


def test_focus_and_typing_stay(panel: Panel) -> None:
    """The end of an answer takes no focus, deleting gives it back, and undo overwrites nothing typed."""
    page = panel.page
    panel.model("tells")
    panel.send("Tell me")
    page.wait_for_selector(".hx-tail p")
    page.locator("[aria-label='Copy message']").focus()
    page.wait_for_selector("[data-status=ok]")
    page.wait_for_function(_SPOKEN, arg="five")
    assert page.evaluate("document.activeElement.ariaLabel") == "Copy message"
    page.locator("[aria-label='Delete this turn']").press("Enter")
    page.get_by_role("button", name="Restore").wait_for()
    assert page.evaluate("document.activeElement.matches('.hx-composer textarea')")
    page.get_by_role("button", name="Restore").click()
    page.wait_for_selector(".hx-turn")
    panel.box.fill("half a question")
    page.click("[aria-label=More]")
    page.get_by_role("button", name="Undo the last turn").click()
    page.get_by_role("button", name="Restore").wait_for()
    assert panel.box.input_value() == "half a question"


def test_what_cannot_be_attached_is_named(panel: Panel, server: PanelServer, tmp_path: Path) -> None:
    """Of a drop each refused item is named, a folder too, and the rest goes along, however large as JSON."""
    page = panel.page
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "quotes.txt").write_text('"' * 6_000_000)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "over.png").write_bytes(b"\x89PNG".ljust(7_100_000, b"\0"))
    names = ("folder", "latin.txt", "over.png", "empty.txt", "quotes.txt")
    _drop(panel, *(tmp_path / name for name in names))
    page.wait_for_function("document.querySelectorAll('.hx-composer .hx-chip').length === 2")
    said = page.locator(".hx-notice").inner_text()
    assert "over.png (7.1 MB) is too large: one message takes 7.0 MB in all." in said
    assert "folder cannot be read" in said and "latin.txt is neither" in said and "null" not in said
    page.evaluate(_PASTE_MUCH)
    page.wait_for_function("document.querySelector('.hx-notice').innerText.includes('is too large')")
    panel.model("thinks")  # whose answer is short
    panel.ask("Look.")
    assert '"' * 6_000_000 in server.requests[-1]["messages"][-1]["content"]


def _drop(panel: Panel, *paths: Path) -> None:
    """Drag files from outside into the conversation, as the browser gets them from a desktop."""
    browser = panel.page.context.new_cdp_session(panel.page)
    box = panel.page.locator(".hx-log").bounding_box()
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": box["x"] + 40, "y": box["y"] + 40}
        browser.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})


# Not shown meanwhile: laying out one line of that length takes a browser half a minute.
_PASTE_MUCH = """() => { const box = document.querySelector('.hx-composer textarea');
  box.style.display = 'none'; box.value = '"'.repeat(4_000_000);
  box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
  box.value = ''; box.style.display = ''; }"""


def test_keys_stay_in_the_panel(panel: Panel) -> None:
    """With the focus on a button or in the conversation no key edits the notebook, and arrows scroll."""
    page = panel.page
    for number in range(3):
        panel.ask(f"Question {number}.\n\n" * 15)
    cells = page.evaluate(_CELLS)
    for where in ("[aria-label=More]", ".hx-turn:last-child [aria-label='Copy answer']", ".hx-log"):
        page.locator(where).focus()
        page.keyboard.type("abmxdd")
        assert page.evaluate(_CELLS) == cells
    before = page.evaluate("document.querySelector('.hx-log').scrollTop")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("top => document.querySelector('.hx-log').scrollTop < top", arg=before)


_CELLS = "jupyterapp.shell.currentWidget.content.widgets.map(({ model }) => [model.id, model.type])"


def test_failures_are_spoken(panel: Panel) -> None:
    """The live region says that an answer failed, and why."""
    panel.model("refuses")
    panel.ask("x")
    panel.page.wait_for_function(_SPOKEN, arg="refuses every request")


_SPOKEN = "text => document.querySelector('.hx-panel > [role=status]').textContent.includes(text)"


def test_the_header_follows_the_session(panel: Panel, server: PanelServer) -> None:
    """What a cell connects or chooses stands in the header and in the picker at once."""
    page = panel.page
    run_cell(panel, f"hx.connect({server.url!r}, name='elsewhere', model='plain')")
    page.wait_for_function("document.querySelector('.hx-place').innerText === 'elsewhere · plain'")
    page.click(".hx-place")
    assert "elsewhere" in page.locator(".hx-sheet option").all_inner_texts()
    page.keyboard.press("Escape")
    run_cell(panel, "panel.chat.model = 'thinks'")
    page.wait_for_function("document.querySelector('.hx-place').innerText === 'elsewhere · thinks'")


def test_panels_keep_names_of_their_own(panel: Panel) -> None:
    """After their cells ran again in any order, no two panels of a page have the same name."""
    page = panel.page
    run_cell(panel, "other = hx.ChatPanel(endpoint='lab')\nother")
    page.wait_for_function("document.querySelectorAll('.hx-panel').length === 2")
    page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    panel.lab.run(page, "notebook:run-cell")
    page.wait_for_function(_NAMES, arg=["Chat", "Chat 2"])
    assert axe(page) == []


_NAMES = """names => JSON.stringify([...document.querySelectorAll('.hx-panel')]
  .map((panel) => panel.ariaLabel).sort()) === JSON.stringify(names)"""


def test_right_to_left(panel: Panel) -> None:
    """Text from right to left reads so, in the prompt and in the answer; code in it stays as it is."""
    page = panel.page
    panel.ask("שלום עולם, English בפנים.\n\n- אחת\n\n```\nx = 1\n```")
    found = page.evaluate(_DIRECTIONS, [".hx-text", ".hx-body p", ".hx-body li", ".hx-body pre"])
    assert found == ["rtl", "rtl", "rtl", "ltr"]
    panel.shot("panel-right-to-left")


_DIRECTIONS = "all => all.map((one) => getComputedStyle(document.querySelector(one)).direction)"
