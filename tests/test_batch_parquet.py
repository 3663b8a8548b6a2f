"""`hx.ask_parquet`: chunks that are one batch, and parts that are one dataset."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

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


def parts_of(tmp_path: Path, source: Path, ask: str = "{{q}}", **options: Any) -> pd.DataFrame:
    """The parts of a source, asked two rows at a time, read back as one frame."""
    hx.ask_parquet(source, tmp_path / "out", ask, chunk_rows=2, **{**QUIET, **options})
    return pd.read_parquet(tmp_path / "out")


STORED = [
    [Decimal("1.5"), Decimal("100.25"), None, Decimal("0.01")],
    [None, None, [1], [2, 3]],
    [{"a": 1}, None, {"a": None}, {"a": 4}],
    [None, None, b"x", None],
    pd.array([1, None, None, 2**60 + 1], dtype="Int64"),
]


@pytest.mark.parametrize("values", STORED)
def test_the_sources_columns_come_back_as_they_were_stored(tmp_path: Path, values: Any) -> None:
    """A type is that of the whole source, whatever the rows of one part hold: the parts are one dataset."""
    frame = pd.DataFrame({"q": list("abcd"), "kept": values})
    frame.to_parquet(tmp_path / "in.parquet")
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        done = parts_of(tmp_path, tmp_path / "in.parquet")
    stored = pd.read_parquet(tmp_path / "in.parquet")
    pd.testing.assert_frame_equal(done[["q", "kept"]], stored, check_flags=False)
    assert done["answer"].tolist() == [f"echo: {q}" for q in "abcd"]


NESTED = [
    (list[str], [[], [], ["u"], ["v", "w"]], [[], [], ["u"], ["v", "w"]]),
    ({"y": [{"z": int}]}, [{"y": []}] * 2 + [{"y": [{"z": 1}]}] * 2, None),
    (dict, [{}, {"k": 1}, {"l": "z"}, {}], ["{}", '{"k": 1}', '{"l": "z"}', "{}"]),
    (int | str, [1, 2, "x", 3], ["1", "2", "x", "3"]),
    (Decimal, ["1.5", "2", "100.123456", "3"], ["1.5", "2", "100.123456", "3"]),
    (Literal["p", 1], ["p", "p", 1, 1], ["p", "p", "1", "1"]),
]


@pytest.mark.parametrize(("kind", "answers", "read"), NESTED, ids=lambda case: str(case)[:20])
def test_nested_fields_have_one_type_in_all_parts(
    tmp_path: Path, kind: Any, answers: list[Any], read: Any
) -> None:
    """What a schema says has its Parquet type, also where a part is empty of it; the rest is text."""
    pd.DataFrame({"q": range(len(answers))}).to_parquet(tmp_path / "in.parquet")

    def answer(body: dict[str, Any]) -> str:
        return json.dumps({"x": answers[int(body["messages"][0]["content"])]})

    with BatchServer(answer=answer) as server:
        hx.connect(server.url, name="s")
        done = parts_of(tmp_path, tmp_path / "in.parquet", schema={"x": kind})
    assert set(done["answer_status"]) == {"ok"}
    plain = json.loads(done["x"].to_json(orient="values"))
    assert plain == (answers if read is None else read)


def test_a_dataset_is_all_its_columns(tmp_path: Path) -> None:
    """Folders such as `year=2026`, columns that only later files have, and wider types there are read."""
    for year, more in ((2025, {"n": [None]}), (2026, {"n": [1.5], "late": ["x"]})):
        folder = tmp_path / "in" / f"year={year}"
        folder.mkdir(parents=True)
        pd.DataFrame({"q": ["a"], **more}).to_parquet(folder / "rows.parquet")
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        done = parts_of(tmp_path, tmp_path / "in", "{{q}} {{year}} {{n}} {{late}}", missing="blank")
    assert done["answer"].tolist() == ["echo: a 2025  ", "echo: a 2026 1.5 x"]
    assert done["year"].tolist() == [2025, 2026] and done["late"].tolist()[1] == "x"


def test_a_whole_number_reads_the_same_in_every_chunk(tmp_path: Path) -> None:
    """Beside a missing value too, so that chunks of another size ask the same again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"n": [1, 2, 3, None], "f": [True, None, True, False]}), tmp_path / "in.parquet")
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        done = parts_of(tmp_path, tmp_path / "in.parquet", "{{n}} {{f}}", missing="blank", name="same")
        hx.ask_parquet(
            tmp_path / "in.parquet", tmp_path / "out", "{{n}} {{f}}", missing="blank", name="same", **QUIET
        )
    assert done["answer"].tolist() == ["echo: 1 True", "echo: 2 ", "echo: 3 True", "echo:  False"]
    assert server.count == 4


def test_a_place_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    """No source, an empty one, and a destination that is a file, or that the source would be read from."""
    (tmp_path / "in").mkdir()
    for places, said in {
        ("nope", "out"): "There is no file or folder",
        ("in", "out"): "holds no Parquet files",
        ("in", "in/out"): "lies in the source",
    }.items():
        with pytest.raises(hx.ConfigError, match=said):
            hx.ask_parquet(*(tmp_path / place for place in places), "{{q}}", endpoint="demo", progress=False)
    frame = pd.DataFrame({"q": ["a"]})
    for source, place, said in (
        ("in/part-7.parquet", "in", "could replace"),
        ("in/part-7.parquet", "a-file", "cannot be a folder"),
    ):
        frame.to_parquet(tmp_path / source)
        (tmp_path / "a-file").write_text("")
        with pytest.raises(hx.ConfigError, match=said):
            hx.ask_parquet(tmp_path / source, tmp_path / place, "{{q}}", endpoint="demo", progress=False)
