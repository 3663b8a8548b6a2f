"""What a large batch keeps in memory; takes some minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "memory.py"


@pytest.mark.slow
def test_memory_stays_flat_over_many_rows() -> None:
    """100,000 rows with 50 MB of prompts and as much of answers take less than 150 MB over the frame."""
    command = [sys.executable, str(BENCHMARK), "100000"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said[:2] == ["100000", "rows:"] and float(said[2]) < 150
