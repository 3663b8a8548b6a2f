"""The corpus in cells of a live JupyterLab: nothing is fetched, nothing runs, formulas are only drawn."""

# ruff: noqa: E501 - scripts for the page are one line
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import ATTACKS, REMOTE
from browser import browser, lab, lab_factory, page  # noqa: F401 - fixtures
from wire_server import Answer, WireServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="needs Debian's chromium"),
]

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


def test_attacks_in_cells_of_a_live_lab(lab, page, listener):  # noqa: F811 - fixtures
    """With every attack displayed, the listener hears nothing, no script ran and no element is Lab's own."""
    here = listener.url + "/"
    texts = [text.replace(REMOTE, here) for text in ATTACKS.values()]
    (lab.root / "texts.json").write_text(json.dumps(texts))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script("window.hacks = 0; window.hacked = () => { window.hacks += 1 }")
    lab.open(page, lab.write("attacks", CELL))
    lab.run_all(page)
    page.wait_for_function(f"() => document.querySelectorAll('.helix-nb').length === {len(texts)}")
    page.wait_for_selector(".helix-nb mjx-container")
    page.wait_for_timeout(
        3_000
    )  # what an image or a script would need; nothing can be waited for that must not come
    assert page.evaluate("() => window.hacks") == 0
    assert listener.got == []
    assert [url for url in asked if "attacker" in url or url.startswith(here)] == []
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


def test_only_formulas_are_typeset(lab, page):  # noqa: F811 - fixtures
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
