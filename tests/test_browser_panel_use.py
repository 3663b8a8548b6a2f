"""The panel in a live JupyterLab: what goes in and out of it, who listens to it, and where it fits."""

# ruff: noqa: F811 - a fixture's name is also a parameter

from __future__ import annotations

import base64

import pytest
from panel_page import Panel, axe, panel, server  # noqa: F401 - fixtures
from panel_server import STORY, PanelServer

pytestmark = pytest.mark.browser

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PYTHON = "x = '''\n```\n'''\n"


@pytest.mark.parametrize("way", ["button", "paste", "drop"])
def test_attachments(panel: Panel, server: PanelServer, way: str) -> None:
    """An image and a text file go along however they came; what is neither is refused; one can be removed."""
    page = panel.page
    files = [("dot.png", "image/png", PNG), ("a.py", "text/x-python", PYTHON.encode())]
    files += [("b.md", "text/markdown", b"# b"), ("c.bin", "application/octet-stream", b"\xff\x00\xfe")]
    if way == "button":
        with page.expect_file_chooser() as chooser:
            page.click("[aria-label='Attach images or text files']")
        chooser.value.set_files([{"name": n, "mimeType": kind, "buffer": data} for n, kind, data in files])
    else:
        given = [[name, kind, base64.b64encode(data).decode()] for name, kind, data in files]
        assert page.evaluate(_HAND_OVER, [way, given]) == [], "left to the browser or to JupyterLab"
    page.wait_for_function("document.querySelectorAll('.hx-composer .hx-chip').length === 3")
    page.wait_for_function("document.querySelector('.hx-notice').innerText.includes('c.bin is neither')")
    page.click("[aria-label='Remove b.md']")
    assert page.locator(".hx-drop").count() == 0
    panel.ask("Look.")
    content = server.requests[-1]["messages"][-1]["content"]
    assert content[0]["text"] == f"Look.\n\nFile a.py:\n````\n{PYTHON.rstrip()}\n````"
    assert content[1]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert page.locator(".hx-ask .hx-chip").all_inner_texts() == ["dot.png\n70 B", f"a.py\n{len(PYTHON)} B"]
    assert page.evaluate("document.querySelector('.hx-ask .hx-chip img').naturalWidth") == 1
    assert page.locator(".hx-composer .hx-chip").count() == 0


_HAND_OVER = """([way, files]) => {
  const data = new DataTransfer();
  for (const [name, type, bytes] of files)
    data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
  const box = document.querySelector('.hx-composer textarea');
  const options = { bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data };
  if (way === 'paste') return box.dispatchEvent(new ClipboardEvent('paste', options)) ? ['paste'] : [];
  const left = [], heard = (event) => left.push(`${event.type} went on`);
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    document.body.addEventListener(kind, heard);
    if (document.querySelector('.hx-log').dispatchEvent(new DragEvent(kind, options))) left.push(kind);
    document.body.removeEventListener(kind, heard);
  }
  return left;
}"""


def test_taking_away(panel: Panel) -> None:
    """Copy message, copy answer and copy code fill the clipboard with what was written; export is a file."""
    page = panel.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    text = "Use **this**:\n\n```python\nprint('a')  # $x$\nif b:\n    c()\n```\n"
    panel.ask(text)
    code = "print('a')  # $x$\nif b:\n    c()"
    for label, copied in [("Copy message", text.strip()), ("Copy answer", text), ("Copy code", code)]:
        page.locator(f"[aria-label='{label}']").hover()
        page.click(f"[aria-label='{label}']")
        page.wait_for_function(_CLIPBOARD, arg=copied.strip())
        page.wait_for_selector("[aria-label=Copied]")
    page.wait_for_selector("[aria-label=Copied]", state="detached")
    page.click("[aria-label=More]")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as Markdown").click()
    assert download.value.suggested_filename == "conversation.md"
    written = download.value.path().read_text()
    assert written.startswith("# Conversation\n\n## You\n\nUse **this**:") and written.count(code) == 2


_CLIPBOARD = "async copied => (await navigator.clipboard.readText()).trim() === copied"


def test_an_earlier_conversation_goes_on_until_the_kernel_has_gone(panel: Panel, server: PanelServer) -> None:
    """A conversation found in the log is opened and gone on with; a restart of the kernel is said."""
    page = panel.page
    panel.ask("about owls")
    panel.ask("and about larks")
    page.click("[aria-label='New conversation']")
    page.wait_for_selector(".hx-hello", state="visible")
    panel.ask("something else")
    page.click("[aria-label='Recent conversations']")
    page.fill(".hx-sheet input", "LARKS")
    page.wait_for_function("document.querySelectorAll('.hx-thread').length === 1")
    assert "2 exchanges" in page.locator(".hx-thread").inner_text()
    page.locator(".hx-thread").click()
    page.wait_for_function("document.querySelectorAll('.hx-turn').length === 2")
    assert page.locator(".hx-title").inner_text() == "about owls"
    panel.ask("and now?")
    asked = [message["content"] for message in server.requests[-1]["messages"]]
    assert asked == ["about owls", "about owls", "and about larks", "and about larks", "and now?"]
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_function("document.querySelector('.hx-notice').innerText.includes('kernel has gone')")
    assert page.locator(".hx-notice").get_attribute("role") == "alert"
    panel.answered("about owls", "and about larks", "and now?")
    assert panel.box.is_disabled()


def test_sentences_are_spoken_and_motion_is_reduced(panel: Panel) -> None:
    """The live region gets whole sentences, each once and in order; who wants no motion sees none."""
    page = panel.page
    panel.model("held")
    panel.send("x")
    page.wait_for_function("document.querySelector('.hx-body').innerText.includes('first part')")
    assert page.evaluate(_MOVING) == ["hx-pulse", "opacity"]
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(_MOVING) == []
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-status=interrupted]")
    page.evaluate(_LISTEN)
    panel.model("tells")
    panel.send("Tell me")
    page.wait_for_selector(".hx-turn:last-child[data-status=ok]")
    page.wait_for_function("window.spoken.join(' ').includes('five')")
    spoken = page.evaluate("window.spoken")
    assert " ".join(spoken) == STORY
    assert 2 <= len(spoken) <= 5 and all(part.endswith(".") for part in spoken)


# Every animation and every transition that something in the panel may make.
_MOVING = """() => { const names = new Set();
  for (const node of document.querySelectorAll('.hx-panel, .hx-panel *'))
    for (const part of [null, '::before', '::after']) {
      const style = getComputedStyle(node, part);
      if (style.animationName !== 'none') names.add(style.animationName);
      if (parseFloat(style.transitionDuration)) names.add(style.transitionProperty);
      if (style.scrollBehavior === 'smooth') names.add('scrolling');
    }
  return [...names].sort(); }"""
_LISTEN = """() => { window.spoken = [];
  const live = document.querySelector('.hx-panel > [aria-live=polite]');
  live.textContent = '';
  new MutationObserver(() => live.textContent && window.spoken.push(live.textContent))
    .observe(live, { childList: true, characterData: true, subtree: true }); }"""


def test_answers_that_are_not_whole(panel: Panel) -> None:
    """Thinking is folded; cut and refused answers say so and offer Retry; clearing can be taken back."""
    page = panel.page
    panel.model("thinks")
    panel.ask("Why?")
    thought = page.locator(".hx-thought").first
    assert not thought.is_visible() and page.locator(".hx-think summary").first.inner_text() == "Thoughts"
    page.locator(".hx-think summary").first.click()
    assert thought.inner_text() == "Let me see. It is <b>42</b>."
    panel.model("cut")
    panel.ask("And then?")
    cut = page.locator(".hx-turn:last-child .hx-strip")
    assert cut.get_attribute("class") == "hx-strip hx-warn" and "ended before it was" in cut.inner_text()
    panel.model("refuses")
    page.locator(".hx-turn:last-child").get_by_role("button", name="Retry").click()
    page.wait_for_selector(".hx-turn:last-child[data-status=error]")
    refused = page.locator(".hx-turn:last-child .hx-strip")
    assert (
        refused.get_attribute("class") == "hx-strip hx-error"
        and "refuses every request" in refused.inner_text()
    )
    assert axe(page) == []
    panel.shot("panel-failed")
    panel.model("echo")
    page.locator(".hx-turn:last-child").get_by_role("button", name="Retry").click()
    panel.answered("The answer is 42.", "And then?")
    page.click("[aria-label='New conversation']")
    page.wait_for_function("document.querySelectorAll('.hx-turn').length === 0")
    page.get_by_role("button", name="Restore").click()
    page.wait_for_function("document.querySelectorAll('.hx-turn').length === 2")


_CODE = (
    "```\n"
    + "a long line of code " * 20
    + "\n```\n\n|"
    + " wide |" * 20
    + "\n|"
    + "-|" * 20
    + "\n\n$$"
    + "x+" * 80
    + "y$$"
)


@pytest.mark.parametrize("place", ["400 px", "side panel"])
def test_narrow_places(panel: Panel, place: str) -> None:
    """At exactly 400 px and in a side panel nothing sticks out, and every control is within reach."""
    page = panel.page
    panel.ask("A long_unbroken_word_" + "of_many_letters_" * 12 + "\n\n" + _CODE)
    if place == "400 px":
        page.locator(".hx-panel").evaluate("panel => { panel.style.width = '400px' }")
        here = ".hx-panel"
    else:
        page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
        panel.lab.run(page, "notebook:create-output-view")
        page.wait_for_function("document.querySelectorAll('.hx-panel').length === 2")
        page.evaluate(_INTO_SIDE_PANEL)
        here = "#jp-right-stack .hx-panel"
    page.wait_for_function("here => document.querySelector(here)?.offsetWidth > 200", arg=here)
    width = page.evaluate("here => document.querySelector(here).offsetWidth", here)
    assert width == 400 if place == "400 px" else width < 520
    panel.shot(f"panel-{place.replace(' ', '-')}")
    assert page.evaluate(_STICKS_OUT, here) == []
    for opener in ("Settings", "Recent conversations", "More"):
        page.locator(f"{here} [aria-label='{opener}']").click()
        page.wait_for_function("here => !document.querySelector(`${here} .hx-sheet`).hidden", arg=here)
        assert page.evaluate(_STICKS_OUT, here) == []
        page.keyboard.press("Escape")
    box = page.locator(f"{here} .hx-composer textarea")
    box.fill("from here")
    page.locator(f"{here} [aria-label=Send]").click()
    page.wait_for_function(_BOTH_SAY, arg="from here")
    assert axe(page) == []


_INTO_SIDE_PANEL = """() => { const { shell } = jupyterapp;
  const output = [...shell.widgets('main')].find(({ node }) => node.querySelector('.jp-LinkedOutputView'));
  shell.add(output, 'right');
  shell.activateById(output.id);
  shell._hsplitPanel.setRelativeSizes([0, 5, 2]); }"""  # what dragging its edge does
_BOTH_SAY = """text => [...document.querySelectorAll('.hx-list')]
  .every((list) => list.lastElementChild.querySelector('.hx-body').innerText.trim() === text)"""
# Scrollers of their own (code, tables, formulas, rows) may be wider inside; nothing else may.
_STICKS_OUT = """here => { const panel = document.querySelector(here), edge = panel.getBoundingClientRect();
  const inside = (node) => node.closest('pre, .hx-table, math, .hx-rows, .hx-away, input[type=file]');
  const sideways = [panel, panel.querySelector('.hx-log'), panel.querySelector('.hx-sheet')];
  const out = [...panel.querySelectorAll('*')].filter((node) => {
    const { left, right, width } = node.getBoundingClientRect();
    if (!width || !node.checkVisibility() || inside(node)) return false;
    return left < edge.left - 1 || right > edge.right + 1;
  });
  return [...out, ...sideways.filter((node) => node.scrollWidth > node.clientWidth)]
    .map((node) => node.outerHTML.slice(0, 120)); }"""
