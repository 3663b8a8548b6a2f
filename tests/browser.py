"""A live JupyterLab for tests in a browser.

It listens on 127.0.0.1 with a port of its own choice and a token, in directories that start empty.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "chromium")
START_S = 90.0
PAGE_MS = 60_000


class Lab:
    """A running JupyterLab: its URL, its notebooks, and what its page can be told to do."""

    def __init__(self, root: Path, app: str = "jupyterlab", **environ: str) -> None:
        self.root = root / "notebooks"
        self.runtime = root / "runtime"
        self.token = secrets.token_hex(16)
        self.log = root / "log.db"
        for folder in (self.root, self.runtime, root / "home", root / "config", root / "data"):
            folder.mkdir(parents=True, exist_ok=True)
        _quiet(root / "config" / "settings")
        self.environ = _environment(root) | {"HELIX_NB_LOG": str(self.log)} | environ
        self._output = (root / "lab.log").open("wb")
        self._process = subprocess.Popen(
            _command(app, self.root, self.token),
            env=self.environ,
            cwd=self.root,
            stdout=self._output,
            stderr=self._output,
        )
        self.url = self._wait()

    def _wait(self) -> str:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for info in self.runtime.glob("jpserver-*.json"):
                try:
                    return str(json.loads(info.read_text())["url"])
                except (ValueError, KeyError):
                    continue
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        self.close()
        raise RuntimeError(f"JupyterLab did not start: {(self.root.parent / 'lab.log').read_text()[-2000:]}")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells; its path for `open`. Every test needs a name of its own."""
        import nbformat

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        path = self.root / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path.name

    def open(self, page: Page, path: str) -> None:
        """Open a notebook and wait until its kernel is there; a page with this JupyterLab stays loaded."""
        if page.url.startswith(f"{self.url}lab"):
            page.evaluate("path => { jupyterapp.commands.execute('docmanager:open', { path }) }", path)
            page.wait_for_function(_SHOWN, arg=path, timeout=PAGE_MS)
        else:
            self.load(page, path)
        self.ready(page)

    def load(self, page: Page, path: str = "") -> None:
        """Load JupyterLab, anew where it is there, with nothing in it but a notebook."""
        tree = f"/tree/{path}" if path else ""
        page.goto(f"{self.url}lab{tree}?token={self.token}&reset", timeout=PAGE_MS)
        page.wait_for_function(_LOADED, timeout=PAGE_MS)

    def leave(self, page: Page) -> None:
        """End every kernel and close everything that is open in the page, unsaved."""
        page.evaluate(_LEAVE)

    def ready(self, page: Page) -> None:
        page.wait_for_function(_KERNEL_READY, timeout=PAGE_MS)

    def run(self, page: Page, command: str, **args: Any) -> Any:
        """Execute a JupyterLab command, such as `notebook:run-all-cells`."""
        return page.evaluate("([name, args]) => jupyterapp.commands.execute(name, args)", [command, args])

    def run_all(self, page: Page) -> None:
        """Run every cell; returns when the kernel is idle and no cell is left to run."""
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
        page.wait_for_function(_ALL_RUN, timeout=PAGE_MS)

    def start_all(self, page: Page) -> None:
        """Run every cell without waiting for any."""
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")

    def save(self, page: Page) -> None:
        page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")

    def dark(self, page: Page, dark: bool = True) -> None:
        """Switch JupyterLab's theme."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.run(page, "apputils:change-theme", theme=name)
        page.wait_for_function(_THEMED, arg=name)


_PANEL = "jupyterapp.shell.currentWidget"
_LOADED = "() => window.jupyterapp?.shell.currentWidget && !document.querySelector('#jupyterlab-splash')"
_SHOWN = f"path => {_PANEL}?.context?.path === path"
_LEAVE = """async () => { const { shell, serviceManager } = jupyterapp;
  for (const area of ['main', 'right', 'down']) for (const one of [...shell.widgets(area)])
    if (one.context || one.node.querySelector('.jp-LinkedOutputView')) one.dispose();
  await serviceManager.sessions.shutdownAll();
  shell.collapseLeft(); shell.collapseRight(); }"""
_KERNEL_READY = f"""() => window.jupyterapp && {_PANEL}?.context?.isReady
  && {_PANEL}.sessionContext?.session?.kernel?.status === 'idle'
  && {_PANEL}.content?.widgets?.length > 0
  && !document.querySelector('#jupyterlab-splash')"""
_THEMED = """name => document.body.dataset.jpThemeName === name
  && !document.querySelector('#jupyterlab-splash')"""
_ALL_RUN = f"""() => {_PANEL}.content.widgets.every(cell => cell.model.type !== 'code'
    || !cell.model.sharedModel.getSource() || cell.model.executionCount)
  && {_PANEL}.sessionContext.session.kernel.status === 'idle'"""


def _quiet(settings: Path) -> None:
    """Have no news and no question about news on the first page."""
    folder = settings / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True)
    choice = {"fetchNews": "false", "checkForUpdates": False}
    (folder / "notification.jupyterlab-settings").write_text(json.dumps(choice))


def _command(app: str, root: Path, token: str) -> list[str]:
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "0",
        "ServerApp.open_browser": "False",
        "ServerApp.root_dir": str(root),
        "ServerApp.allow_root": "True",
        "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": "True",
        "JupyterNotebookApp.expose_app_in_browser": "True",
    }
    return [sys.executable, "-m", app, *(f"--{name}={value}" for name, value in options.items())]


def _environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELIX_", "JUPYTER"))}
    return kept | {
        "HOME": str(root / "home"),
        "IPYTHONDIR": str(root / "home" / "ipython"),
        "JUPYTER_CONFIG_DIR": str(root / "config"),
        "JUPYTER_DATA_DIR": str(root / "data"),
        "JUPYTER_RUNTIME_DIR": str(root / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(root / "config" / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / "config" / "workspaces"),
        "JUPYTER_NO_CONFIG": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
