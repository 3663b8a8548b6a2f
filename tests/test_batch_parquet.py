"""`hx.ask_parquet`: chunks that are one batch, and parts that are one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from batch_server import BatchServer

import helix_nb as hx

pytest.importorskip("pyarrow", reason="the parquet extra is not installed")

QUIET: dict[str, Any] = {"model": "m", "progress": False}


def test_a_chunk_of_bad_rows_does_not_end_the_batch(tmp_path: Path) -> None:
    """Rows that cannot be asked are row errors, also where they fill a chunk of their own."""
    rows: list[Any] = [{"k": "a"}, {"k": "b"}, {"z": ""}, {"z": ""}, {"k": "e"}, {"k": ""}]
    pd.DataFrame({"t": rows}).to_parquet(tmp_path / "in.parquet")
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        parts = hx.ask_parquet(tmp_path / "in.parquet", tmp_path / "out", _k, chunk_rows=2, **QUIET)
    assert parts[["ok", "error"]].to_numpy().tolist() == [[2, 0], [0, 2], [1, 1]]


@pytest.mark.parametrize(
    "index", [pd.RangeIndex(5), pd.RangeIndex(7, 17, 2, name="id"), pd.Index([10, 20, 20, 30, 40])]
)
def test_an_index_goes_on_from_chunk_to_chunk(tmp_path: Path, index: pd.Index) -> None:
    """`{{index}}` and the rows' keys are those of the whole source, and the index comes back as it was."""
    pd.DataFrame({"t": list("abcde")}, index=index).to_parquet(tmp_path / "in.parquet")
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        ask = ("{{t}} {{index}}", "said")
        hx.ask_parquet(tmp_path / "in.parquet", tmp_path / "out", *ask, chunk_rows=2, name="p", **QUIET)
    done = pd.read_parquet(tmp_path / "out")
    assert done["said"].tolist() == [f"echo: {t} {n}" for t, n in zip("abcde", index, strict=True)]
    assert done.index.tolist() == index.tolist() and done.index.name == index.name
    assert hx.batch("p")["row_key"].tolist() == [str(n) for n in index]


def _k(row: Any) -> str:
    if row["t"]["k"] is None:
        raise KeyError("k")
    return str(row["t"]["k"])


def test_the_parts_do_not_go_where_the_rows_come_from(tmp_path: Path) -> None:
    """Source and destination in one place would be read as rows again; it is refused, and nothing is sent."""
    pd.DataFrame({"t": ["a"]}).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(hx.ConfigError, match="is the source itself"):
        hx.ask_parquet(tmp_path, tmp_path, "{{t}}", endpoint="demo", **QUIET)
