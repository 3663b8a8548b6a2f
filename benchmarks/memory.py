"""What a large batch keeps in memory beyond its frame: prints MB grown, the goal being 150 for 100,000 rows.

usage: python benchmarks/memory.py [ROWS]

Half a kilobyte of prompt a row, every row recorded in a log of its own; takes some minutes.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    os.environ["HELIX_NB_LOG"] = str(Path(tempfile.mkdtemp()) / "log.db")
    script = Path(__file__).parent.parent / "tests" / "batch_server.py"
    command = [sys.executable, str(script), "0"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stdin is not None
    try:
        print(f"{rows} rows: {grown_mb(server.stdout.readline().strip(), rows):.0f} MB over the frame")
    finally:
        server.stdin.close()
        server.wait(10)


def grown_mb(url: str, rows: int) -> float:
    import pandas as pd

    import helix_nb as hx

    hx.connect(url, name="s")
    frame = pd.DataFrame({"n": range(rows), "text": ["x" * 500 + str(n) for n in range(rows)]})
    frame[:50].helix.ask("{{n}}", model="m", progress=False, name="warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = frame.helix.ask("{{n}} {{text}}", model="m", progress=False, concurrency=64)
    assert (done["answer_status"] == "ok").all()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


if __name__ == "__main__":
    main()
