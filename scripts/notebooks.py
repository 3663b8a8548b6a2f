"""Run the notebooks and keep what they show: `.venv/bin/python scripts/notebooks.py [NAME ...]`.

Each runs in a kernel of its own, without keys and with a log of its own, and its outputs are written
back without times, execution metadata or the version of this Python. The tests then hold every output
to what was written here.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def refresh(path: Path) -> None:
    """Run one notebook where it lies and write its outputs back."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    client = NotebookClient(
        notebook, timeout=120, record_timing=False, resources={"metadata": {"path": path.parent}}
    )
    client.execute()
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


def main() -> None:
    """Refresh the notebooks named, or all of them."""
    for name in [name for name in os.environ if name.startswith("HELIX_")]:
        del os.environ[name]
    paths = [NOTEBOOKS / f"{Path(name).stem}.ipynb" for name in sys.argv[1:]] or sorted(
        NOTEBOOKS.glob("*.ipynb")
    )
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HELIX_NB_LOG"] = str(Path(folder) / "log.db")
            refresh(path)
        print(path.relative_to(NOTEBOOKS.parent))


if __name__ == "__main__":
    main()
