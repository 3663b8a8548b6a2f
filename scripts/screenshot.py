"""Take README's pictures in a real JupyterLab: `.venv/bin/python scripts/screenshot.py [FOLDER]`.

Needs the ci extra and Debian's chromium. A fresh JupyterLab, with settings, log and home of its own, runs
the cells below against the demo endpoint; what is photographed is what a user sees.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from browser import _ALL_RUN, CHROMIUM, Lab  # noqa: E402 - the tests' own JupyterLab
from PIL import Image  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
SIZE = {"width": 1000, "height": 1080}
CELLS = (
    "%load_ext helix_nb\nimport helix_nb as hx, pandas as pd",
    '%%helix -s "You are a helpful assistant."\nWhat is the capital of France?',
    "%%helix\nTell me a story.",
    "entries = ['We loved the plum cake.', 'The stove was broken.', 'Left at two.']\n"
    "guestbook = pd.DataFrame({'entry': entries})\n"
    "guestbook.helix.ask('Sentiment, positive, negative or neutral: {{entry}}', into='mood').iloc[:, :3]",
    'hx.log()[["source", "status", "model", "prompt_tokens", "completion_tokens", "duration_ms"]].round(1)',
)
FRAMES, FRAME_MS = 40, 20
SHOWN_MS, LAST_MS = 160, 5000
NOTEBOOK = ".jp-NotebookPanel-notebook"
CLEAR = """() => { jupyterapp.shell.collapseLeft(); jupyterapp.shell.mode = 'single-document'; }"""


def shot(page: Page) -> Image.Image:
    """The notebook as it looks now, without the chrome around it."""
    return Image.open(io.BytesIO(page.locator(NOTEBOOK).screenshot())).convert("RGB")


def photograph(page: Page, lab: Lab) -> list[Image.Image]:
    """Run the cells and take a frame every now and then until all have run."""
    lab.open(page, lab.write("guestbook", *CELLS))
    page.evaluate(CLEAR)
    lab.start_all(page)
    frames = []
    for _ in range(FRAMES):
        frames.append(shot(page))
        page.wait_for_timeout(FRAME_MS)
    page.wait_for_function(_ALL_RUN)
    page.wait_for_timeout(1500)
    return [*frames, shot(page)]


def panel(page: Page, lab: Lab) -> Image.Image:
    """A conversation in the panel, as somebody types it."""
    lab.open(page, lab.write("panel", "import helix_nb as hx\nhx.ChatPanel(hx.Chat())"))
    lab.run_all(page)
    for words in ("My name is Ines. Nice to meet you!", "What is my name?", "Show me a formula in Markdown."):
        page.locator(".hx-composer textarea").first.fill(words)
        page.locator(".hx-composer textarea").first.press("Enter")
        page.wait_for_timeout(3000)
    return Image.open(io.BytesIO(page.locator(".hx-panel").first.screenshot())).convert("RGB")


def main() -> None:
    """Write quickstart.gif, cells as they run, and panel.png."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        lab = Lab(Path(temporary))
        try:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            frames = photograph(chromium.new_page(viewport=SIZE), lab)
            panel(chromium.new_page(viewport=SIZE), lab).quantize(64).save(
                folder / "panel.png", optimize=True
            )
            chromium.close()
        finally:
            lab.close()
    small = [frame.quantize(64) for frame in frames]
    times = [SHOWN_MS] * len(frames[1:]) + [LAST_MS]
    small[0].save(
        folder / "quickstart.gif",
        save_all=True,
        append_images=small[1:],
        duration=times,
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    main()
