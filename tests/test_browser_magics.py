"""`%%helix` in a live JupyterLab and Notebook 7: how it looks, and what people do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import PAGE_MS, Lab
from slow_server import SlowServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SHOTS = Path(__file__).parents[1] / "screenshots"
ANSWER = r"""The **mean** of a sample is $\bar{x} = \frac{1}{n}\sum_i x_i$, and in Python:

```python
def mean(values: list[float]) -> float:
    "Return the arithmetic mean."
    return sum(values) / len(values)  # no NaN handling
```

| values | mean |
|--------|-----:|
| 1, 2   | 1.5  |
| 1, 2, 6 | 3   |

1. Sum them up.
2. Divide by how many there are; it costs between $5 and $6 to have it done.
"""
CODE_OUTPUT = ".jp-OutputArea-output"


@pytest.fixture(scope="module")
def server() -> Iterator[SlowServer]:
    """A server that streams a page of Markdown, or repeats what starts with "say"."""

    def answer(body: dict[str, Any]) -> list[str]:
        prompt = body["messages"][-1]["content"]
        text = prompt[4:] if prompt.startswith("say ") else ANSWER * (4 if "long" in prompt else 1)
        return [text[at : at + 5] for at in range(0, len(text), 5)]

    with SlowServer(answer, pause_s=0.002) as started:
        yield started


def opened(lab: Lab, page: Page, server: SlowServer, name: str, *cells: str) -> None:
    """Open a notebook whose first cell loads the magics and connects."""
    first = f"%load_ext helix_nb\n%helix connect {server.url} --name lab -m qwen3:8b"
    lab.open(page, lab.write(name, first, *cells))
    page.evaluate("jupyterapp.shell.collapseLeft()")


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"magics-{name}.png")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_an_answer_streams_into_the_page(lab: Lab, page: Page, server: SlowServer, dark: bool) -> None:
    """The output grows while the answer runs; at the end code is coloured, the table is one, LaTeX is set."""
    theme = "dark" if dark else "light"
    opened(lab, page, server, f"stream-{theme}", "%%helix\nHow do I compute a mean? long")
    lab.dark(page, dark)
    server.hold_at = 120
    server.release.clear()
    lab.start_all(page)
    page.wait_for_selector(f"{CODE_OUTPUT} table", timeout=PAGE_MS)
    assert not page.locator(CODE_OUTPUT, has_text="tokens in").count()
    shot(page, f"streaming-{theme}")
    server.hold_at = None
    server.release.set()
    page.wait_for_selector(f"{CODE_OUTPUT} >> text=lab · qwen3:8b · 5 tokens in", timeout=PAGE_MS)
    page.wait_for_selector(f"{CODE_OUTPUT} mjx-container", timeout=PAGE_MS)
    last = page.locator(".jp-Cell").last.locator(CODE_OUTPUT)
    assert last.count() == 1
    spans = "[...document.querySelectorAll('.helix-nb pre span')]"
    colours = page.evaluate(f"() => new Set({spans}.map(span => getComputedStyle(span).color)).size")
    assert colours > 3
    assert "$5 and $6" in last.inner_text()
    page.locator(".helix-nb table").last.scroll_into_view_if_needed()
    shot(page, f"done-{theme}")
    lab.dark(page, False)


def test_tab_completes(lab: Lab, page: Page, server: SlowServer) -> None:
    """Tab offers the options and nothing else, and takes a model's name across its colon."""
    opened(lab, page, server, "complete", "%%helix --m")
    lab.run_all(page)
    editor = page.locator(".jp-Cell").last.locator(".cm-content")
    editor.click()
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.wait_for_selector(".jp-Completer-item")
    assert sorted(page.locator(".jp-Completer-match").all_inner_texts()) == ["--max-tokens", "--model"]
    shot(page, "completion")
    page.keyboard.press("Escape")
    page.keyboard.type("odel qwen3:")
    page.keyboard.press("Tab")
    page.wait_for_selector(".jp-Completer-match >> text=qwen3:8b")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelectorAll('.cm-content')[1].textContent.includes('qwen3:8b')"
    )


def test_stop_keeps_what_arrived(lab: Lab, page: Page, server: SlowServer) -> None:
    """The stop button leaves the partial answer and one red line, and the cells after it do not run."""
    opened(lab, page, server, "stop", "%%helix\nlong", "print('after' + 'wards')")
    server.hold_at = 120
    server.release.clear()
    lab.start_all(page)
    page.wait_for_selector(f"{CODE_OUTPUT} table", timeout=PAGE_MS)
    lab.run(page, "notebook:interrupt-kernel")
    page.wait_for_selector(f"{CODE_OUTPUT} >> text=KeyboardInterrupt: stopped", timeout=PAGE_MS)
    outputs = page.locator(".jp-Cell").nth(1).locator(CODE_OUTPUT)
    assert outputs.count() == 2 and "interrupted" in outputs.first.inner_text()
    assert "Traceback" not in outputs.last.inner_text()
    assert not page.locator(CODE_OUTPUT, has_text="afterwards").count()
    server.hold_at = None
    server.release.set()
    shot(page, "stopped")


def test_a_rerun_says_that_it_replaced_its_turn(lab: Lab, page: Page, server: SlowServer) -> None:
    """JupyterLab sends cell ids: running a chat's cell again replaces its turn, and the output says so."""
    opened(lab, page, server, "rerun", "%%helix -c\nsay hello")
    lab.run_all(page)
    page.wait_for_selector(f"{CODE_OUTPUT} >> text=chat default, turn 1")
    lab.run_all(page)
    page.wait_for_selector(f"{CODE_OUTPUT} >> text=turn 1 replaced")


def test_insert_makes_the_next_cell(lab: Lab, page: Page, server: SlowServer) -> None:
    """--insert puts the code of an answer into a new cell below, and shows it as well."""
    opened(lab, page, server, "insert", "%%helix --insert -f code\nHow?")
    lab.start_all(page)
    page.wait_for_function("() => jupyterapp.shell.currentWidget.content.widgets.length === 3")
    source = page.evaluate(
        "() => jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.getSource()"
    )
    assert source.startswith("def mean(values") and "The **mean**" not in source
    assert "def mean" in page.locator(".jp-Cell").nth(1).locator(CODE_OUTPUT).inner_text()


def test_errors_are_one_red_line(lab: Lab, page: Page, server: SlowServer) -> None:
    """What is wrong with a cell stands under it in one red line."""
    opened(lab, page, server, "errors", "%%helix --temprature 0\nHello")
    lab.run_all(page)
    error = page.locator(".jp-Cell").last.locator(CODE_OUTPUT)
    assert error.inner_text().strip().splitlines() == [
        "ConfigError: %%helix has no option --temprature. Did you mean --temperature?"
    ]
    shot(page, "error")


def test_models_stand_side_by_side(lab: Lab, page: Page, server: SlowServer) -> None:
    """Two models' answers are two columns of one output."""
    opened(lab, page, server, "sides", "%%helix -m alpha -m beta\nHow do I compute a mean?")
    lab.run_all(page)
    columns = page.locator(f"{CODE_OUTPUT} .helix-nb")
    left, right = columns.nth(0).bounding_box(), columns.nth(1).bounding_box()
    assert left is not None and right is not None and left["x"] + left["width"] <= right["x"]
    shot(page, "side-by-side")


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[Lab]:
    """A Notebook 7 server."""
    started = Lab(tmp_path, app="notebook")
    yield started
    started.close()


@pytest.mark.slow  # it has a server, a page and a kernel of its own
def test_notebook_7_shows_the_same(classic: Lab, fresh_page: Page, server: SlowServer) -> None:
    """In Notebook 7 an answer streams into one output, typeset and coloured."""
    page = fresh_page
    first = f"%load_ext helix_nb\n%helix connect {server.url} --name lab -m qwen3:8b"
    path = classic.write("classic", first, "%%helix\nHow do I compute a mean?")
    page.goto(f"{classic.url}notebooks/{path}?token={classic.token}", timeout=PAGE_MS)
    classic.ready(page)
    classic.start_all(page)
    page.wait_for_selector(f"{CODE_OUTPUT} >> text=lab · qwen3:8b · 5 tokens in", timeout=PAGE_MS)
    page.wait_for_selector(f"{CODE_OUTPUT} mjx-container", timeout=PAGE_MS)
    assert page.locator(f"{CODE_OUTPUT} .helix-nb").count() == 1
    shot(page, "notebook7")
