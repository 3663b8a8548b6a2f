"""`df.helix.ask`: what comes back, what is sent once, what typed columns hold."""

from __future__ import annotations

import gc
import inspect
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pytest
from batch_server import BatchServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import helix_nb as hx
from helix_nb.dataframes.options import build_batch
from helix_nb.errors import RowsFailed
from helix_nb.records.storage.log import current_log

QUIET: dict[str, Any] = {"model": "m", "progress": False}
DTYPES = {
    "answer": "str",
    "answer_status": "str",
    "answer_error": "str",
    "answer_finish_reason": "str",
    "answer_prompt_tokens": "Int64",
    "answer_completion_tokens": "Int64",
}


@pytest.mark.parametrize("order", ["pandas, helix_nb", "helix_nb, pandas"])
@pytest.mark.parametrize("between", ["", "import importlib.util; importlib.util.find_spec('pandas')"])
def test_the_accessor_is_there_whichever_is_imported_first(order: str, between: str) -> None:
    """Importing helix_nb imports no pandas; once both are there, so is `.helix`, whoever looked before."""
    code = (
        f"import {order.split(', ')[0]}, sys\n"
        f"assert ('pandas' in sys.modules) == {order.startswith('pandas')}\n"
        f"{between}\n"
        f"import {order.split(', ')[1]}, pandas\n"
        "assert pandas.DataFrame.helix.ask and pandas.Series.helix.ask\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_help_and_tab_know_every_keyword() -> None:
    """What asks about rows shows the keywords of `ask` with their defaults, and what it adds to them."""
    frame = pd.DataFrame({"q": ["a"]})
    ask = inspect.signature(frame.helix.ask).parameters
    assert list(ask)[:3] == ["template", "into", "model"] and ask["concurrency"].default == "auto"
    assert ask["params"].kind is inspect.Parameter.VAR_KEYWORD
    for other in (frame.helix.aask, frame["q"].helix.ask, frame["q"].helix.aask):
        assert inspect.signature(other).parameters == ask
    for other, added in (
        (frame.helix.estimate, {"pilot"}),
        (hx.ask_parquet, {"source", "destination", "chunk_rows"}),
    ):
        parameters = inspect.signature(other).parameters
        assert set(parameters) == {*ask, *added}
        assert all(parameters[name] == ask[name] for name in ask)


def test_a_frame_gets_its_answers_in_place() -> None:
    """The index (duplicates too) and the order stay, dtypes are right, NA is skipped, the frame unchanged."""
    frame = pd.DataFrame({"n": [1, 2, None, 1]}, index=["a", "b", "c", "a"], dtype="Int64")
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        done = frame.helix.ask("row {{n}}", **QUIET)
    assert done.index.tolist() == ["a", "b", "c", "a"] and list(frame.columns) == ["n"]
    assert done.dtypes.astype(str).to_dict() == {"n": "Int64", **DTYPES}
    assert done["answer"].tolist()[:2] == ["echo: row 1", "echo: row 2"] and done["answer"].isna().iloc[2]
    assert done["answer_status"].tolist() == ["ok", "ok", "skipped", "ok"]
    assert done["answer_prompt_tokens"].tolist() == [10, 10, pd.NA, 10]
    assert sorted(server.prompts()) == ["row 1", "row 2"]
    facts = done.attrs["batch"]
    assert (facts["requests"], facts["duplicates"], facts["prompt_tokens"]) == (2, 1, 20)
    rows = hx.log(scope="all", tags=None)
    assert rows["source"].tolist() == ["batch"] * 2 and set(rows["batch_id"]) == {facts["name"]}
    assert sorted(rows["row_key"]) == ['"a"', '"b"'] and rows["total_tokens"].sum() == 30


@pytest.mark.parametrize(
    ("index", "keys"),
    [
        (pd.RangeIndex(2), ["0", "1"]),
        (pd.Index([10, 20]), ["10", "20"]),
        (pd.Index([1.5, None]), ["1.5", "null"]),
        (pd.Index([float("inf"), 2.0]), ['"inf"', "2.0"]),
        (pd.Index([True, False]), ["true", "false"]),
        (pd.Index([7, None], dtype="Int64"), ["7", "null"]),
        (pd.Index(["é", None]), ['"é"', "null"]),
        (pd.Index(["\ud800", "é"], dtype=object), ['"\\ud800"', '"é"']),
        (pd.DatetimeIndex(["2026-01-02T03:04:05Z", None]), ['"2026-01-02T03:04:05+00:00"', "null"]),
        (pd.MultiIndex.from_tuples([("a", 1), (None, 2)]), ['["a", 1]', "[null, 2]"]),
    ],
)
def test_a_row_key_is_the_label_as_json(index: pd.Index, keys: list[str]) -> None:
    """Whatever kind of index holds a label, its key is the same JSON, so that a filtered frame keeps it."""
    frame = pd.DataFrame({"q": ["a", "b"]}, index=index)
    frame.helix.ask("What is {{q}}?", endpoint="demo", name="keys", progress=False)
    assert hx.batch("keys")["row_key"].tolist() == keys


indexes = st.sampled_from(
    [
        lambda n: pd.RangeIndex(5, 5 + n),
        lambda n: pd.Index(["x", "y", "x", "z", "x", "é"][:n]),
        lambda n: pd.date_range("2026-01-01", periods=n, tz="UTC"),
        lambda n: pd.MultiIndex.from_tuples([(i // 2, "{{a}}") for i in range(n)]),
        lambda n: pd.CategoricalIndex((["p", "q", None] * 2)[:n]),
    ]
)
words = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("{}"), max_size=8)
texts = st.lists(st.none() | words | st.just("{{b}}"), min_size=1, max_size=6)
numbers = st.sampled_from(["Int64", "float64", "boolean", "datetime64[us]", "category", "object"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=texts, index=indexes, dtype=numbers)
def test_any_frame_comes_back_as_it_was_with_its_own_answers(texts: Any, index: Any, dtype: str) -> None:
    """Whatever the index, dtypes, NA and characters, each row holds the answer to its own prompt."""
    other = pd.Series(([1, 0, None] * 2)[: len(texts)]).astype(dtype)
    frame = pd.DataFrame({"a b": pd.Series(texts, dtype="str"), "b": other})
    frame.index = index(len(texts))
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        done = frame.helix.ask("<{{a b}}> {{b}}", **QUIET)
    pd.testing.assert_frame_equal(done[["a b", "b"]], frame)
    for position, text in enumerate(texts):
        row, value = done.iloc[position], frame["b"].tolist()[position]
        if text is None or pd.isna(value):
            assert row["answer_status"] == "skipped" and pd.isna(row["answer"])
        else:
            assert row["answer_status"] == "ok" and row["answer"] == f"echo: <{text}> {value}"


def test_rows_can_make_everything_themselves() -> None:
    """Callables make prompts or messages, `system=` and `model=` vary by row, images come from a column."""
    frame = pd.DataFrame(
        {"q": ["a", "b"], "who": ["m1", "m2"], "img": ["https://x/1.png", "https://x/2.png"]}
    )
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        options = {"endpoint": "s", "progress": False}
        frame.helix.ask(lambda row: f"<{row.q}>", system="be {{who}}", model="who", **options)
        frame.helix.ask(lambda row: [{"role": "user", "content": row["q"]}], model="m", **options)
        frame.helix.ask("{{q}}", images="img", model="m", **options)
        answers = frame["q"].helix.ask(str.upper, model="m", **options)
    bodies = [seen.body for seen in server.seen]
    by_row = {body["model"]: body["messages"] for body in bodies[:2]}
    assert by_row["m2"] == [{"role": "system", "content": "be m2"}, {"role": "user", "content": "<b>"}]
    assert {body["messages"][0]["content"] for body in bodies[2:4]} == {"a", "b"}
    parts = [body["messages"][0]["content"] for body in bodies[4:6]]
    assert {part[1]["image_url"]["url"] for part in parts} == set(frame["img"])
    assert isinstance(answers, pd.Series) and answers.tolist() == ["echo: A", "echo: B"]


def test_a_row_whose_messages_say_nothing_is_not_sent() -> None:
    """A list of blank messages is as empty as a blank text: that row's own error."""
    frame = pd.DataFrame({"q": ["a", " "]})
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        done = frame.helix.ask(lambda row: [{"role": "user", "content": row["q"]}], model="m", progress=False)
    assert done["answer_status"].tolist() == ["ok", "error"]
    assert "empty" in done["answer_error"][1]
    assert len(server.seen) == 1


def test_no_part_of_a_rows_messages_sends_a_known_key() -> None:
    """A key is replaced in the arguments of a recorded tool call as it is in texts."""
    key = "hl-CANARYcanaryCANARYcanary"
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "look_up", "arguments": f'{{"key": "{key}"}}'},
    }
    messages = [
        {"role": "user", "content": f"try {key}"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    ]
    with BatchServer() as server:
        hx.connect(server.url, name="s", key=key)
        pd.DataFrame({"q": ["a"]}).helix.ask(lambda row: messages, **QUIET)
    sent = json.dumps(server.seen[0].body)
    assert "CANARY" not in sent and "look_up" in sent


@pytest.mark.parametrize("prompts", [[""], [" ", ""]])
def test_a_frame_of_empty_prompts_is_a_frame_of_row_errors(prompts: list[str]) -> None:
    """Empty values are the rows' own fault, not the template's, also when every row has one."""
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        done = pd.DataFrame({"q": prompts}).helix.ask("{{q}}", **QUIET)
    assert set(done["answer_status"]) == {"error"} and done["answer_error"].str.contains("empty").all()


async def _async_prompt(row: pd.Series) -> str:
    return str(row.q)


def _tool(city: str) -> str:
    """Say something of a city."""
    return city


CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)


def test_a_wrong_call_sends_nothing() -> None:
    """Wrong columns, settings and templates that fit no row are ConfigErrors before any request."""
    frame = pd.DataFrame({"q": ["a"], "answer": ["mine"]})
    wrong: list[tuple[Any, dict[str, Any]]] = [
        ("{{qq}}", {"into": "x"}),
        ("{{q}}", {}),  # would write over the column `answer`
        ("{{q}}", {"into": "x", "concurrency": 0}),
        ("{{q}}", {"into": "x", "images": "nope"}),
        ("{{q}}", {"into": "x", "missing": "drop"}),
        ("{{q}}", {"into": "x", "errors": "ignore"}),
        ("{{q}}", {"into": "x", "max_cost": -1}),
        ("{{q.upper}}", {"into": "x"}),
        (lambda row: row.nope, {"into": "x"}),
        (_async_prompt, {"into": "x"}),
        (lambda row: [{"role": "user", "content": "hi"}], {"into": "x", "images": "q"}),
        ("{{q}}", {"into": "x", "images": 4}),
        ("{{q}}", {"into": "x", "model": ["m"]}),
        ("{{q}}", {"into": "x", "max_cost": float("nan")}),
        ("{{q}}", {"into": "x", "temperature": float("nan")}),
        ("{{q}}", {"into": "x", "attachments": ["a"]}),
        ("{{q}}", {"into": "x", "max_rounds": 2}),
        ("{{q}}", {"into": "x", "tools": [_tool]}),
        ("{{q}}", {"into": "x", "logit_bias": CIRCULAR}),
    ]
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        for template, options in wrong:
            with pytest.raises(hx.ConfigError):
                frame.helix.ask(template, **{**QUIET, **options})
        again = frame.helix.ask("{{q}}", into="x", **QUIET).helix.ask("{{q}}", into="x", **QUIET)
    assert server.count == 1 and again["x"].tolist() == ["echo: a"]


def test_equal_rows_are_sent_once_unless_told_otherwise() -> None:
    """Duplicates share one exchange and one link each; `dedupe=False` sends each, and each is reused."""
    frame = pd.DataFrame({"q": ["a", "b", "a", "a"]})
    count = iter(range(100))
    with BatchServer(answer=lambda body: f"number {next(count)}") as server:
        hx.connect(server.url, name="s")
        once = frame.helix.ask("{{q}}", name="once", temperature=1.0, **QUIET)
        each = frame.helix.ask("{{q}}", name="each", dedupe=False, **QUIET)
        again = frame.helix.ask("{{q}}", name="each", dedupe=False, **QUIET)
        fresh = frame.helix.ask("{{q}}", name="once", temperature=1.0, fresh=True, **QUIET)
    assert once["answer"].nunique() == 2 and each["answer"].nunique() == 4
    assert sorted(again["answer"]) == sorted(each["answer"]) and again.attrs["batch"]["requests"] == 0
    assert not set(fresh["answer"]) & set(once["answer"])
    assert server.count == 2 + 4 + 0 + 2
    linked = hx.batch("once")
    assert linked["exchange_id"].nunique() == 2 and linked["answer"].tolist() == fresh["answer"].tolist()


def test_reuse_stays_within_batch_and_request() -> None:
    """Another name, model or endpoint is asked anew; cut answers too, unless `reuse_cut=True`."""
    frame = pd.DataFrame({"q": ["a"]})
    with BatchServer() as server, BatchServer() as other:
        hx.connect(other.url, name="o")
        hx.connect(server.url, name="s")
        sent = []
        for options in [
            {"name": "n"},
            {"name": "n"},
            {"name": "n2"},
            {"name": "n", "model": "m2"},
            {"name": "n", "seed": 1},
            {"name": "n", "endpoint": "o"},
        ]:
            done = frame.helix.ask("{{q}}", **{**QUIET, **options})
            sent.append(done.attrs["batch"]["requests"])
        assert sent == [1, 0, 1, 1, 1, 1]
    cut = {"endpoint": "demo", "name": "cut", "max_tokens": 3, "progress": False}
    ask = "What is the capital of France?"
    runs = [frame.helix.ask(ask, **cut, reuse_cut=reuse) for reuse in (False, False, True)]
    assert [run.attrs["batch"]["requests"] for run in runs] == [1, 1, 0]
    assert {run["answer_finish_reason"].iloc[0] for run in runs} == {"length"}


@dataclass
class Verdict:
    mood: Literal["good", "bad"]
    stars: int
    price: float | None
    words: list[str]
    sure: bool


VERDICT = '{"mood": "good", "stars": 4, "price": 1.5, "words": ["a", "b"], "sure": true}'


def test_typed_columns_are_validated_and_repaired_once() -> None:
    """Fields get their dtypes; a row that does not fit is repaired once, then keeps its raw text."""

    def answer(body: dict[str, Any]) -> str:
        first, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        if first == "hopeless":
            return "no JSON"
        return "wrong" if first == "repairable" and last == first else VERDICT

    frame = pd.DataFrame({"q": ["fine", "repairable", "hopeless"]})
    with BatchServer(answer=answer) as server:
        hx.connect(server.url, name="s")
        done = frame.helix.ask("{{q}}", schema=Verdict, name="typed", **QUIET)
        assert server.count == 1 + 2 + 2
        again = frame.helix.ask("{{q}}", schema=Verdict, name="typed", **QUIET)
        assert server.count == 5 + 2  # only the hopeless row is asked again
    assert done.dtypes.astype(str).to_dict() | {"q": "str"} == {
        "q": "str",
        **DTYPES,
        "mood": "category",
        "stars": "Int64",
        "price": "Float64",
        "words": "object",
        "sure": "boolean",
    }
    assert done["stars"].tolist() == [4, 4, pd.NA] and done["words"].iloc[1] == ["a", "b"]
    assert done["answer_status"].tolist() == ["ok", "ok", "error"] and done["answer"].iloc[2] == "no JSON"
    assert done["answer_error"].iloc[2].startswith("SchemaMismatch")
    pd.testing.assert_frame_equal(again, done, check_flags=False)


def test_raising_waits_for_the_end_and_holds_the_frame() -> None:
    """`errors="raise"` asks every row first; a Batch in a pickle does the same as a chunk function."""
    frame = pd.DataFrame({"q": ["a", "bad", "c"]})
    with BatchServer(lambda seen: 400 if seen.prompt == "bad" else None) as server:
        hx.connect(server.url, name="s")
        with pytest.raises(RowsFailed, match="1 of 3 rows failed") as error:
            frame.helix.ask("{{q}}", errors="raise", **QUIET)
        assert error.value.frame["answer_status"].tolist() == ["ok", "error", "ok"]
        assert "BadRequest" in error.value.frame["answer_error"].iloc[1]
        again = pickle.loads(pickle.dumps(error.value))
        assert isinstance(again, hx.RowsFailed) and again.frame.equals(error.value.frame)
        chunk = pickle.loads(pickle.dumps(build_batch("{{q}}", **QUIET)))
        assert chunk(frame)["answer"].tolist()[::2] == ["echo: a", "echo: c"]


async def _asked(frame: pd.DataFrame) -> pd.DataFrame:
    return await frame.helix.aask("{{q}}", **QUIET)


def test_the_awaited_face_and_the_log_off_do_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`aask` awaits on any loop; with the log off rows are answered, and it is said that nothing resumes."""
    import asyncio

    monkeypatch.setenv("HELIX_NB_LOG", "off")
    frame = pd.DataFrame({"q": ["a", "a"]})
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        assert asyncio.run(_asked(frame))["answer"].tolist() == ["echo: a"] * 2
        frame.helix.ask("{{q}}", model="m")
    said = capsys.readouterr().err.splitlines()
    assert "The log is off" in said[0] and "share" in said[0] and said[1] == "2 rows: 2 ok (1 shared)"


@pytest.mark.parametrize("name", [5, None, "", ["a"], 2**70, "\ud800"])
def test_a_batch_is_named_by_a_text(name: Any) -> None:
    """Anything else is one sentence, where a batch is asked and where it is looked up."""
    with pytest.raises(hx.ConfigError, match="text as its name"):
        hx.batch(name)
    if name is not None:
        with pytest.raises(hx.ConfigError, match="text as its name"):
            pd.DataFrame({"q": ["a"]}).helix.ask("{{q}}", name=name, endpoint="demo", progress=False)


def test_limits_take_the_numbers_of_numpy() -> None:
    """Limits are often computed, from a frame for one."""
    frame = pd.DataFrame({"q": ["a", "b"]})
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        some = frame["q"].str.len().sum()
        limits = {"concurrency": some, "rpm": some * 6000, "max_total_tokens": some * 100}
        assert frame.helix.estimate("{{q}}", pilot=some, **limits, **QUIET).loc["to_send", "estimate"] == 0
        assert (frame.helix.ask("{{q}}", **limits, **QUIET)["answer_status"] == "ok").all()


def test_estimates_count_first_and_measure_on_a_pilot() -> None:
    """Counts are exact before anything is sent; a pilot's answers belong to the batch; unknown is NA."""
    frame = pd.DataFrame({"q": ["a", "b", "c", "a", None]})
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        before = frame.helix.estimate("{{q}}", **QUIET)
        assert before["estimate"].tolist()[:5] == [5, 1, 3, 0, 3] and server.count == 0
        assert before.loc["prompt_tokens":].isna().all(axis=None)
        pilot = frame.helix.estimate("{{q}}", pilot=2, **QUIET)
        assert pilot.loc[["answered", "to_send", "prompt_tokens"], "estimate"].tolist() == [2, 1, 10]
        assert pilot.loc["cost"].isna().all() and pilot.loc["prompt_tokens", "source"] == "pilot of 2"
        assert frame.helix.estimate("{{q}}", **QUIET).loc["completion_tokens", "low"] == 5
        for limit in ({"rpm": 6}, {"tpm": 90}):  # an answer is 15 tokens: each takes ten seconds
            assert frame.helix.estimate("{{q}}", **limit, **QUIET).loc["duration_s", "estimate"] == 10
        assert frame.helix.ask("{{q}}", **QUIET).attrs["batch"]["requests"] == 1


def test_parquet_goes_chunk_by_chunk_and_resumes(tmp_path: Any) -> None:
    """Parts hold all columns, positions run through the source, a rerun pays only what is missing."""
    pytest.importorskip("pyarrow", reason="the parquet extra is not installed")
    frame = pd.DataFrame({"n": range(25), "t": ["é{{n}}"] * 25})
    (tmp_path / "in").mkdir()
    frame.iloc[:13].to_parquet(tmp_path / "in" / "a.parquet")
    frame.iloc[13:].to_parquet(tmp_path / "in" / "b.parquet")
    broken = {"on": True}
    fault = lambda seen: 400 if broken["on"] and seen.prompt.startswith("row 17 ") else None  # noqa: E731
    with BatchServer(fault) as server:
        hx.connect(server.url, name="s")
        ask = ("row {{n}} {{t}}", "said")
        parts = hx.ask_parquet(tmp_path / "in", tmp_path / "out", *ask, chunk_rows=10, name="p", **QUIET)
        assert parts[["rows", "ok", "error"]].to_numpy().tolist() == [[10, 10, 0], [10, 9, 1], [5, 5, 0]]
        broken["on"] = False
        parts = hx.ask_parquet(tmp_path / "in", tmp_path / "out", *ask, chunk_rows=20, name="p", **QUIET)
        assert parts["requests"].sum() == 1 and server.count == 26
    done = pd.read_parquet(tmp_path / "out")
    assert done["said"].tolist() == [f"echo: row {n} é{{{{n}}}}" for n in range(25)]
    assert hx.batch("p").index.tolist() == list(range(25))


def test_what_was_there_before_is_not_searched_for_garbage() -> None:
    """While rows are asked the collector leaves older objects alone; a freeze of the user stays as it is."""
    counts: list[int] = []

    def answer(body: dict[str, Any]) -> str:
        counts.append(gc.get_freeze_count())
        return "yes"

    with BatchServer(answer=answer) as server:
        hx.connect(server.url, name="s")
        rows = pd.DataFrame({"n": range(3)})
        rows.helix.ask("row {{n}} please", model="m", progress=False)
        assert all(counts) and gc.get_freeze_count() == 0
        gc.freeze()
        try:
            frozen = gc.get_freeze_count()
            rows.helix.ask("row {{n}} again", model="m", progress=False)
            assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.01)
        finally:
            gc.unfreeze()


def test_a_repaired_row_is_never_asked_again() -> None:
    """The third run still finds the repair, and `hx.batch` shows it, not the answer that did not fit."""

    def answer(body: dict[str, Any]) -> str:
        return '{"a": 1}' if len(body["messages"]) > 1 else "nope"

    frame = pd.DataFrame({"q": ["x", "y"]})
    with BatchServer(answer=answer) as server:
        hx.connect(server.url, name="s")
        counts = []
        for _ in range(3):
            done = frame.helix.ask("{{q}}", schema={"a": int}, name="repaired", **QUIET)
            counts.append(server.count)
            assert hx.batch("repaired")["answer"].tolist() == done["answer"].tolist() == ['{"a": 1}'] * 2
    assert counts == [4, 4, 4]


def test_a_rerun_keeps_the_links_of_its_rows() -> None:
    """A row that is answered out of the log stays linked to the exchange that answered it."""
    with BatchServer() as server:
        hx.connect(server.url, name="s")
        for _ in range(2):
            pd.DataFrame({"q": ["x", "y"]}).helix.ask("{{q}}", name="linked", **QUIET)
            links = current_log().write(lambda own: own.execute("SELECT exchange_id FROM links").fetchall())
            assert links is not None and all(exchange_id is not None for (exchange_id,) in links)


def test_the_log_says_error_where_the_frame_does() -> None:
    """An answer that arrived well and does not follow the schema is an error in `hx.batch`, too."""
    frame = pd.DataFrame({"q": ["x"]})
    with BatchServer(answer=lambda body: "nope") as server:
        hx.connect(server.url, name="s")
        done = frame.helix.ask("{{q}}", schema={"a": int}, name="unfit", **QUIET)
        seen = hx.batch("unfit")
        server.answer = lambda body: '{"a": 1}'
        frame.helix.ask("{{q}}", schema={"a": int}, name="unfit", **QUIET)
    for column in ("answer", "answer_status", "answer_error"):
        assert seen[column].tolist() == done[column].tolist()
    assert seen["answer_error"].iloc[0].startswith("SchemaMismatch: ")
    assert hx.batch("unfit")["answer_status"].tolist() == ["ok"]


def test_an_error_that_quotes_an_answer_is_named_where_no_text_is_stored() -> None:
    """With `hx.logbook.text = False` the log keeps the error's name and none of its words."""
    with BatchServer(answer=lambda body: "nope") as server:
        hx.connect(server.url, name="s")
        hx.logbook.text = False
        try:
            pd.DataFrame({"q": ["x"]}).helix.ask("{{q}}", schema={"a": int}, name="mute", **QUIET)
        finally:
            hx.logbook.text = True
    seen = hx.batch("mute")
    assert seen["answer_error"].tolist() == ["SchemaMismatch"] and seen["answer_status"].tolist() == ["error"]


def test_a_repair_counts_like_any_other_request() -> None:
    """Both exchanges of a row are in `attrs["batch"]` and under `max_total_tokens=`."""
    frame = pd.DataFrame({"q": [str(n) for n in range(40)]})
    with BatchServer(answer=lambda body: "nope") as server:
        hx.connect(server.url, name="s")
        one = frame[:1].helix.ask("{{q}}", schema={"a": int}, **QUIET).attrs["batch"]
        some = frame.helix.ask("{{q}}", schema={"a": int}, max_total_tokens=300, name="few", **QUIET)
    assert (one["requests"], one["prompt_tokens"], one["completion_tokens"]) == (2, 20, 10)
    facts = some.attrs["batch"]
    assert 240 < facts["prompt_tokens"] + facts["completion_tokens"] <= 300
    assert facts["requests"] == server.count - 2 and facts["stopped"].startswith("max_total_tokens=300")
