"""Questions to the log: the same sums from SQL and from a frame, and unknown is never zero."""

from __future__ import annotations

import io
import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd
import pytest
from records_fixtures import begun, demo, ended, record, request

import helix_nb as hx
from helix_nb.origin import Origin
from helix_nb.records import pricing
from helix_nb.records.reading.totals import Totals, totals
from helix_nb.records.storage.log import current_log
from helix_nb.replies import Usage
from helix_nb.runtime.loop import run_sync

KEYS = ["model", "day", "hour", "cell", "notebook", "status", "prompt", "currency", ["model", "day"], None]


async def many(count: int, currencies: tuple[str, ...]) -> None:
    """A log with everything that occurs: unknown usage, no price, every status, several days."""
    chance, log = random.Random(7), current_log()
    for number in range(count):
        origin = Origin(cell_id=chance.choice([None, "c1", "c2"]), notebook=chance.choice([None, "a.ipynb"]))
        asked = request(f"prompt {number % 4}", origin=origin)
        started = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=chance.uniform(0, 60))
        reply = begun(started_at=started)
        await log.begin(asked, reply, demo)
        if number % 13 == 0:
            continue
        known = chance.random() < 0.7
        priced = known and chance.random() < 0.6
        facts = {
            "model": chance.choice([None, "m1", "m2", "m3"]),
            "status": chance.choice(["ok", "ok", "ok", "truncated", "interrupted", "error"]),
            "usage": Usage(chance.randrange(100), 5, None, 3, source="server") if known else Usage(),
            "cost": chance.randrange(100) / 64 if priced else None,
            "currency": chance.choice(currencies) if priced else None,
            "replay_of": "x" if chance.random() < 0.1 else None,
            "time_to_first_token_ms": chance.choice([None, chance.uniform(1, 50)]),
            "duration_ms": chance.uniform(50, 500),
        }
        log.finish(asked, ended(reply, **facts))


@pytest.mark.parametrize("currencies", [("USD",), ("USD", "EUR")])
def test_sums_by_sql_and_from_a_frame_are_the_same_table(currencies: tuple[str, ...]) -> None:
    """For every key, `usage()` and `usage(hx.log())` agree in values, dtypes, index and order."""
    run_sync(many(150, currencies))
    frame = hx.log()
    for by in KEYS:
        from_sql, from_frame = hx.usage(by=by), hx.usage(frame, by=by)
        pd.testing.assert_frame_equal(from_sql, from_frame, check_categorical=False)
        assert from_sql["n"].sum() == 150
        known = frame["prompt_tokens"]
        assert from_sql["prompt_tokens"].sum() == known.sum()
        pd.testing.assert_frame_equal(hx.latency(by=by), hx.latency(frame, by=by), check_categorical=False)
    if len(currencies) == 2:
        assert hx.usage(by="model").index.names == ["model", "currency"]
    some = {"status": ["ok", "error"], "model": "m[12]", "since": "2026-03-02"}
    pd.testing.assert_frame_equal(hx.usage(**some), hx.usage(hx.log(**some)), check_categorical=False)
    assert hx.usage(search="prompt 1")["n"].sum() == len(hx.log(search="prompt 1"))


def test_what_nobody_reported_is_missing_and_counted() -> None:
    """A group without usage or price sums to NA, beside the number of such rows."""
    log = current_log()
    run_sync(record(log, model="quiet", usage=Usage()))
    run_sync(record(log, model="mixed", usage=Usage()))
    run_sync(record(log, model="mixed", cost=0.5, currency="USD"))
    sums = hx.usage()
    assert sums.loc["quiet", ["prompt_tokens", "completion_tokens", "cached_tokens", "cost"]].isna().all()
    assert sums.loc["quiet", ["n", "unknown_usage", "unpriced"]].tolist() == [1, 1, 1]
    assert sums.loc["mixed", ["n", "prompt_tokens", "unknown_usage", "cost", "unpriced"]].tolist() == [
        2,
        10,
        1,
        0.5,
        1,
    ]
    assert [str(dtype) for dtype in sums.dtypes] == ["Int64"] * 11 + ["Float64", "category", "Int64"]
    assert totals().tokens == 15 and totals().unknown == 2
    run_sync(record(log, model="half", usage=Usage(9)))
    for halves in (hx.usage(), hx.usage(hx.log())):
        known = halves.loc["half", ["prompt_tokens", "completion_tokens", "unknown_usage"]]
        assert known.isna().tolist() == [False, True, False] and known["unknown_usage"] == 1
    empty = hx.usage(status="lost")
    assert empty.empty and list(empty.columns) == list(sums.columns)


def test_tokens_of_a_kernel_that_nobody_counted_are_unknown_in_its_status() -> None:
    """`%helix` never says 0 tokens for exchanges without usage; a replay used none and is not unknown."""
    assert totals() == Totals(0, 0, 0)
    run_sync(record(current_log(), usage=Usage()))
    assert totals() == Totals(1, None, 1)
    run_sync(record(current_log(), replay_of="x"))
    assert totals() == Totals(2, None, 1)


def test_a_row_that_is_in_a_frame_twice_counts_once() -> None:
    """Rows of a batch that share an exchange do not double its tokens."""
    run_sync(record(current_log()))
    frame = hx.log()
    twice = pd.concat([frame, frame])
    assert hx.usage(twice).loc["m", ["n", "prompt_tokens"]].tolist() == [1, 10]
    assert hx.latency(twice).loc["m", "n"] == 1


def test_latency_speaks_of_finished_answers_only() -> None:
    """Quantiles interpolate over `ok` rows; tokens per second starts at the first token."""
    log = current_log()
    for duration in (1000.0, 2000.0, 3000.0):
        run_sync(record(log, duration_ms=duration, time_to_first_token_ms=500.0, usage=Usage(1, 11)))
    run_sync(record(log, duration_ms=9e9, status="error"))
    run_sync(record(log, model="whole", duration_ms=2000.0, usage=Usage(1, 10)))
    speed = hx.latency()
    assert speed.loc["m", "n"] == 3 and speed.loc["m", "duration_ms_p50"] == 2000
    assert speed.loc["m", "duration_ms_p90"] == pytest.approx(2800)
    assert speed.loc["m", "tokens_per_s"] == pytest.approx(10 / 1.5)
    assert speed.loc["whole", "tokens_per_s"] == pytest.approx(5)
    assert pd.isna(speed.loc["whole", "time_to_first_token_ms_p50"])


def test_answers_stand_side_by_side() -> None:
    """A row per prompt in the order asked, a column per model, the newest finished answer in it."""
    log = current_log()
    for prompt, model, text, status in [
        ("q2", "b", "b2", "ok"),
        ("q1", "a", "old", "ok"),
        ("q1", "a", "a1", "ok"),
        ("q1", "b", "partial", "error"),
    ]:
        run_sync(record(log, request(prompt), model=model, text=text, status=status))
    table = hx.compare()
    assert table.index.tolist() == ["q2", "q1"] and table.columns.tolist() == ["a", "b"]
    assert table.loc["q1", "a"] == "a1" and table.loc["q2", "b"] == "b2"
    assert pd.isna(table.loc["q1", "b"]) and pd.isna(table.loc["q2", "a"])
    pd.testing.assert_frame_equal(table, hx.compare(hx.log()))
    both = hx.compare(values=["response", "total_tokens"])
    assert both.loc["q1", ("total_tokens", "a")] == 15


def test_wrong_questions_are_one_sentence() -> None:
    """Unknown keys, and frames that are not of the log, name what is wrong."""
    run_sync(record(current_log()))
    with pytest.raises(hx.ConfigError, match="by='modle' is neither a column"):
        hx.usage(by="modle")
    with pytest.raises(hx.ConfigError, match=r"no column .*prompt_tokens"):
        hx.usage(pd.DataFrame({"model": ["a"]}))
    for table in (hx.usage, hx.latency, hx.compare, hx.plot):
        with pytest.raises(hx.ConfigError, match=r"Filter the frame itself.*since="):
            table(hx.log(), since="7d")
    with pytest.raises(hx.ConfigError, match="is none of tokens, latency, cost, status"):
        hx.plot(kind="speed")
    with pytest.raises(hx.ConfigError, match=r"rows of hx\.log"):
        hx.plot(3)


def test_pictures_show_every_kind_of_log() -> None:
    """All four and each alone, of many rows, of one, of none; each is a PNG that shows itself."""
    run_sync(many(60, ("USD", "EUR")))
    frame = hx.log()
    alone = [(frame, kind) for kind in ("tokens", "latency", "cost", "status")]
    for rows, kind in [(frame, None), (frame.head(1), None), (frame.head(0), None), *alone]:
        picture = hx.plot(rows, kind=kind)
        png = picture._repr_png_()  # type: ignore[attr-defined]
        assert png.startswith(b"\x89PNG") and len(picture.axes) == (4 if kind is None else 1)
    remarks = " ".join(axis.get_xlabel() for axis in hx.plot(frame).axes)
    unknown = hx.usage(frame, by=None)["unknown_usage"].sum()
    assert f"{unknown} exchanges without known usage" in remarks


def test_prices_go_by_url_and_model_and_never_price_the_unknown() -> None:
    """The user's table first (the last match decides), then the server's own cost, else nobody knows."""
    table, usage = hx.logbook.prices, Usage(1_000_000, 500_000, cached_tokens=400_000)
    patterns = [("*", "*"), ("https://a/*", "qwen*"), ("https://a/*", "qwen3:*")]
    try:
        table[patterns[0]] = {"input": 9.0, "output": 9.0}
        table[patterns[1]] = {"input": 1.0, "output": 2.0, "currency": "EUR"}
        table[patterns[2]] = {"input": 1.0, "output": 2.0, "cached": 0.5}
        assert pricing.cost_of("https://a/v1", "qwen2", usage) == (2.0, "EUR", "user")
        assert pricing.cost_of("https://a/v1", "qwen3:8b", usage) == (pytest.approx(1.8), "USD", "user")
        assert pricing.cost_of("https://b/v1", "qwen3:8b", usage)[0] == pytest.approx(13.5)
        assert pricing.cost_of("https://a/v1", "qwen3:8b", Usage()) == (None, None, None)
        assert pricing.cost_of("https://a/v1", "qwen3:8b", Usage(), 0.7, "USD") == (0.7, "USD", "server")
    finally:
        for each in patterns:
            del table[each]
    assert pricing.cost_of("https://a/v1", "gpt-4o", usage) == (None, None, None)
    assert pricing.cost_of("https://a/v1", "gpt-4o", usage, 0.7) == (0.7, "USD", "server")


@pytest.mark.parametrize(
    ("patterns", "price"),
    [
        (("*", "*"), {"input": 1.0}),
        (("*", "*"), {"input": -1, "output": 1}),
        (("*", "*"), {"input": 1, "output": 1, "per": "1k"}),
        (("*", "*"), {"input": "much", "output": 1}),
        (("*", "*"), {"input": None, "output": 1}),
        (("*", "*"), {"input": 1, "output": 1, "currency": None}),
        (("*", "*"), 0.5),
        (("*",), {"input": 1, "output": 1}),
        (("*", None), {"input": 1, "output": 1}),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_and_costs_no_answer(patterns: object, price: object) -> None:
    """It is a ConfigError where it is set, and later exchanges are priced as before."""
    with pytest.raises(hx.ConfigError):
        hx.logbook.prices[patterns] = price  # type: ignore[index,assignment]
    assert str(hx.ask("What is the capital of France?", endpoint="demo"))
    assert hx.log(last=1)["cost"].isna().all()


def test_published_prices_go_by_url_only() -> None:
    """With genai-prices a known API is priced; the same model name on another server is not."""
    version = pytest.importorskip("genai_prices").__version__
    usage = Usage(1000, 100)
    cost, currency, source = pricing.cost_of("https://api.openai.com/v1", "gpt-4o", usage)
    assert cost == pytest.approx(0.0035) and (currency, source) == ("USD", f"genai-prices {version}")
    assert pricing.cost_of("https://app.tryhelix.ai/v1", "gpt-4o", usage) == (None, None, None)
    assert pricing.cost_of("http://127.0.0.1:8000/v1", "deepseek-r1:32b", usage) == (None, None, None)


def test_a_frame_can_be_priced_again() -> None:
    """`reprice` uses today's table, keeps what a server charged, and leaves the log as it is."""
    log = current_log()
    run_sync(record(log, model="a"))
    run_sync(record(log, model="b", cost=0.25, currency="USD", cost_source="server"))
    run_sync(record(log, model="a", usage=Usage()))
    hx.logbook.prices["demo", "a"] = {"input": 100_000, "output": 0}
    try:
        again = hx.logbook.reprice(hx.log())
    finally:
        del hx.logbook.prices["demo", "a"]
    assert again["cost"].tolist()[:2] == [1.0, 0.25] and pd.isna(again["cost"].iloc[2])
    assert again["cost_source"].tolist()[:2] == ["user", "server"]
    assert again.dtypes.astype("str").tolist() == hx.log().dtypes.astype("str").tolist()
    assert hx.log()["cost"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize("by", ["prompt_tokens", "cost", 3, ["model", 3], "duration_ms", "n"])
def test_by_is_what_rows_have_in_common(by: Any) -> None:
    """A number that is summed up, and what is no column, is a sentence: with a frame and without."""
    hx.ask("Where?", endpoint="demo")
    for table in (hx.usage, hx.latency):
        for frame in (None, hx.log()):
            with pytest.raises(hx.ConfigError, match="by="):
                table(frame, by=by)


@pytest.mark.parametrize("wrong", [{"across": "prompt"}, {"by": []}, {"across": ["model"]}, {"values": 3}])
def test_what_cannot_be_compared_is_a_sentence(wrong: dict[str, Any]) -> None:
    """A comparison needs rows, one other column, and cells."""
    hx.ask("Where?", endpoint="demo")
    with pytest.raises(hx.ConfigError):
        hx.compare(**wrong)


def test_an_unknown_filter_names_those_there_are() -> None:
    """The keywords of `hx.log` are the filters."""
    for table in (hx.usage, hx.latency, hx.compare, hx.plot, partial(hx.logbook.export, "log.csv")):
        with pytest.raises(hx.ConfigError, match="scope, since, model, status, search, tags"):
            table(stauts="ok")


def test_no_rows_are_none_and_their_tokens_unknown() -> None:
    """One total of nothing counts 0 rows; what they used is NA, never 0."""
    for total in (hx.usage(by=None), hx.usage(hx.log(), by=None)):
        assert (total["n"].iloc[0], total["error"].iloc[0], total["unknown_usage"].iloc[0]) == (0, 0, 0)
        assert total[["prompt_tokens", "cost"]].isna().all(axis=None)


def test_a_frame_back_from_a_file_is_summed_like_the_log() -> None:
    """Times that came back as texts are times; a name given twice counts once."""
    hx.ask("Where?", endpoint="demo")
    back = pd.read_csv(io.StringIO(hx.log().to_csv()))
    pd.testing.assert_frame_equal(
        hx.usage(back, by=["day", "day"]), hx.usage(by="day"), check_index_type=False
    )
    with pytest.raises(hx.ConfigError, match="no time") as failed:
        hx.usage(back.assign(started_at="x"), by="hour")
    assert "\n" not in str(failed.value)


def test_frames_that_lost_their_dtypes_are_measured_and_drawn() -> None:
    """From a CSV file, of objects, with naive times: the same figures; without its columns, a sentence."""
    for model in ("a", "b"):
        hx.ask("Where?", endpoint="demo", model=model)
    frame = hx.log()
    naive = frame.assign(started_at=frame["started_at"].dt.tz_localize(None))
    for back in (pd.read_csv(io.StringIO(frame.to_csv())), frame.astype(object), naive):
        pd.testing.assert_frame_equal(*(hx.latency(each).reset_index(drop=True) for each in (back, frame)))
        assert len(hx.plot(back).axes) == 4
    for drawn in (hx.plot, hx.latency, hx.usage):
        with pytest.raises(hx.ConfigError, match=r"has no column .*: give rows of hx\.log"):
            drawn(frame[["id", "model", "status", "started_at", "cost"]])
