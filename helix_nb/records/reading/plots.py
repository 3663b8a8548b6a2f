"""Pictures of the log: tokens over time, how fast, how dear, how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from ...errors import ConfigError
from ...text import count_of
from ..storage.log import current_log
from ..storage.schema import STATUSES
from .analysis import usage
from .figure import GREY, new_figure, set_legend, set_remarks, set_style, set_time_axis, set_title, show_note
from .filters import LogKeywords, filter_from
from .frames import frame_of
from .sums import TOKENS, refuse_filters, unknown_usage, with_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDED = (
    *("model", "model_requested", "status", "started_at", "duration_ms", "time_to_first_token_ms"),
    *(*TOKENS, "usage_source", "cost", "currency"),
)
COLOURS = ("#4a90d9", "#e0892b", "#3fa56a", "#b07bd6", "#c9a227", "#5fb3b3")
STATUS_COLOURS = {
    "ok": "#3fa56a",
    "truncated": "#c9a227",
    "interrupted": "#4a90d9",
    "error": "#d9534f",
    "pending": "#8f8f8f",
    "lost": "#b07bd6",
}
MODELS_SHOWN = len(COLOURS)
BUCKETS = ("1s", "10s", "1min", "10min", "1h", "6h", "1D", "7D", "30D", "90D")
BUCKETS_SHOWN = 48
ROWS_LEAST = 3


def plot(
    frame: pd.DataFrame | None = None, kind: str | None = None, **filters: Unpack[LogKeywords]
) -> Figure:
    """Draw the log: four pictures in one, or one of them alone.

    Args:
        frame: rows of `hx.log()` that you filtered; None takes the log itself.
        kind: "tokens" (over time), "latency" (share of answers within a time), "cost" (by model),
            "status" (how exchanges ended, by model), or None for all four.
        **filters: without a frame, what `hx.log` takes.

    Returns:
        A matplotlib Figure, which displays itself and stays in the saved notebook; save it with
        `.savefig("log.png")`. Rows whose tokens or price nobody knows are counted in words, never
        drawn as zero.

    Raises:
        ConfigError: no such kind, the frame is not one of the log, or matplotlib is missing.

    >>> import helix_nb as hx
    >>> _ = hx.ask("What is the capital of France?", endpoint="demo")
    >>> len(hx.plot().axes)
    4
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"kind={kind!r} is none of {', '.join(KINDS)}.")
    if frame is None:
        frame = frame_of(current_log(), filter_from(filters), text=False)
    else:
        refuse_filters(filters)
    return _draw(with_keys(frame, [], NEEDED), kind)


def _draw(frame: pd.DataFrame, kind: str | None) -> Figure:
    figure = new_figure((10, 6.4) if kind is None else (6.4, 3.8))
    plots = KINDS if kind is None else {kind: KINDS[kind]}
    axes = figure.subplots(2, 2).flat if kind is None else [figure.subplots()]
    frame = frame.assign(model=_model_names(frame))
    for axis, draw in zip(axes, plots.values(), strict=True):
        set_style(axis)
        if frame.empty:
            show_note(axis, "no exchanges yet")
        else:
            draw(axis, frame)
    return figure


def _model_names(frame: pd.DataFrame) -> pd.Series:
    """Return the model of each row as text: the most used ones by name, the rest as "others"."""
    names = frame["model"].astype("str").fillna(frame["model_requested"].astype("str")).fillna("unknown")
    names = names.map(lambda name: _abbreviate(name.rpartition("/")[2]))
    common = list(names.value_counts().index)
    if len(common) <= MODELS_SHOWN:
        return names
    return names.where(names.isin(common[: MODELS_SHOWN - 1]), "others")


def _abbreviate(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"


def _draw_tokens(axis: Axes, frame: pd.DataFrame) -> None:
    set_title(axis, "Tokens over time")
    known = frame[frame["prompt_tokens"].notna() & frame["started_at"].notna()]
    if known.empty:
        show_note(axis, "no usage reported")
        return
    width = _bucket_width(known["started_at"])
    starts = known["started_at"].dt.tz_convert(None).dt.floor(width)
    sums = known.groupby(starts)[["prompt_tokens", "completion_tokens"]].sum().astype(float)
    at = pd.DatetimeIndex(sums.index).to_pydatetime()
    bar: dict[str, Any] = {"width": width.to_pytimedelta() * 0.9, "align": "edge"}
    prompt, completion = sums["prompt_tokens"].to_numpy(), sums["completion_tokens"].to_numpy()
    axis.bar(at, prompt, color=COLOURS[0], label="prompt", **bar)
    axis.bar(at, completion, bottom=prompt, color=COLOURS[1], label="completion", **bar)
    unknown = int(unknown_usage(frame).sum())
    set_time_axis(axis, sums.index[0], sums.index[-1] + width, width, _remark(unknown, "without known usage"))
    axis.yaxis.set_major_formatter(lambda value, _at: f"{value:,.0f}")
    set_legend(axis)


def _bucket_width(times: pd.Series) -> pd.Timedelta:
    """Return a round stretch of time that gives a readable number of bars."""
    span = times.max() - times.min()
    widths = [pd.Timedelta(bucket) for bucket in BUCKETS]
    return next((width for width in widths if span / width <= BUCKETS_SHOWN), widths[-1])


def _draw_latency(axis: Axes, frame: pd.DataFrame) -> None:
    done = frame[(frame["status"] == "ok") & (frame["usage_source"] != "replay").fillna(True)]
    set_title(axis, "Answers within a time")
    if done.empty:
        show_note(axis, "no finished answers")
        return
    for colour, (model, rows) in zip(COLOURS, done.groupby("model"), strict=False):
        _draw_ecdf(axis, rows["duration_ms"], color=colour, label=str(model))
        _draw_ecdf(axis, rows["time_to_first_token_ms"], color=colour, linestyle="--")
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, high / 30), high)
    set_remarks(axis, "seconds", "solid: whole answer, dashed: first text")
    axis.xaxis.set_major_formatter(lambda value, _at: f"{value:g}")
    axis.xaxis.set_minor_formatter("")
    axis.tick_params(which="both", colors=GREY)
    axis.set_ylim(0, 1.02)
    axis.yaxis.set_major_formatter(lambda value, _at: f"{value:.0%}")
    set_legend(axis)


def _draw_ecdf(axis: Axes, values_ms: pd.Series, **style: Any) -> None:
    seconds = values_ms.dropna().astype(float) / 1000
    seconds = seconds[seconds > 0]
    if len(seconds):
        axis.ecdf(seconds, linewidth=1.6, **style)


def _draw_cost(axis: Axes, frame: pd.DataFrame) -> None:
    set_title(axis, "Cost by model")
    priced = frame[frame["cost"].notna() & frame["currency"].notna()]
    if priced.empty:
        show_note(axis, "no prices known\n(hx.logbook.prices sets them)")
        return
    sums = usage(priced, by=["model", "currency"]).reset_index().sort_values("cost")
    currencies = sums["currency"].unique()
    labels = sums["model"] if len(currencies) < 2 else sums["model"] + " " + sums["currency"].astype("str")
    costs = sums["cost"].astype(float)
    bars = axis.barh(list(labels), list(costs), color=COLOURS[0], height=0.6)
    axis.bar_label(bars, [f"{cost:.3g}" for cost in costs], color=GREY, fontsize=9, padding=3)
    axis.margins(x=0.18)
    axis.set_ylim(-0.5, max(len(bars), ROWS_LEAST) - 0.5)
    currency = ", ".join(map(str, currencies)) or "cost"
    remark = _remark(int(frame["cost"].isna().sum()), "without a price")
    set_remarks(axis, currency, remark)


def _draw_status(axis: Axes, frame: pd.DataFrame) -> None:
    set_title(axis, "How they ended")
    counts = pd.crosstab(frame["model"], frame["status"].astype("str"))
    counts = counts.loc[counts.sum(axis=1).sort_values().index]
    shares = counts.div(counts.sum(axis=1), axis=0)
    left = pd.Series(0.0, index=shares.index)
    for status in (name for name in STATUSES if name in shares):
        axis.barh(
            shares.index, shares[status], left=left, height=0.6, color=STATUS_COLOURS[status], label=status
        )
        left = left + shares[status]
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.5, max(len(shares), ROWS_LEAST) - 0.5)
    set_remarks(axis, _remark(len(frame), "in all"))
    axis.xaxis.set_major_formatter(lambda value, _at: f"{value:.0%}")
    set_legend(axis)


def _remark(count: int, what: str) -> str:
    return f"{count_of(count, 'exchange')} {what}" if count else ""


KINDS: dict[str, Callable[[Axes, pd.DataFrame], None]] = {
    "tokens": _draw_tokens,
    "latency": _draw_latency,
    "cost": _draw_cost,
    "status": _draw_status,
}
