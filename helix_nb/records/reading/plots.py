"""Pictures of the log: tokens over time, how fast, how dear, how it ended.

Drawn without pyplot on a transparent ground, in greys and colours that read on white and on black,
so that a saved notebook looks right in either theme.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...errors import ConfigError
from ..storage.log import current_log
from ..storage.schema import STATUSES
from .analysis import usage
from .frames import frame_of
from .sums import TOKENS, unknown_usage, wanted_of, with_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = (
    *("model", "model_requested", "status", "started_at", "duration_ms", "time_to_first_token_ms"),
    *(*TOKENS, "usage_source", "cost", "currency"),
)
GREY = "#7d7d7d"
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
BUCKETS_LEAST = 12
ROWS_LEAST = 3


def plot(frame: pd.DataFrame | None = None, kind: str | None = None, **filters: Any) -> Figure:
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
        frame = frame_of(current_log(), wanted_of(filters), text=False)
    elif filters:
        raise ConfigError("Filter the frame itself, or leave it out and say " + ", ".join(filters) + "=.")
    return _drawn(with_keys(frame, [], DRAWN), kind)


def _drawn(frame: pd.DataFrame, kind: str | None) -> Figure:
    figure = _figure((10, 6.4) if kind is None else (6.4, 3.8))
    chosen = KINDS if kind is None else {kind: KINDS[kind]}
    axes = figure.subplots(2, 2).flat if kind is None else [figure.subplots()]
    frame = frame.assign(model=_models(frame))
    for axis, draw in zip(axes, chosen.values(), strict=True):
        _plain(axis)
        if frame.empty:
            _say(axis, "no exchanges yet")
        else:
            draw(axis, frame)
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("Pictures need matplotlib: pip install 'helix-nb[plot]'.") from None

    class Picture(Figure):
        """A Figure that notebooks show as a PNG, whatever the matplotlib backend."""

        def _repr_png_(self) -> bytes:
            from io import BytesIO

            data = BytesIO()
            self.savefig(data, format="png", dpi=110)
            return data.getvalue()

    figure = Picture(figsize=size, layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.1, h_pad=0.1, hspace=0.05)
    figure.patch.set_alpha(0)
    return figure


def _plain(axis: Axes) -> None:
    """Take away what only decorates, and colour the rest for white and black grounds."""
    axis.patch.set_alpha(0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GREY)
    axis.tick_params(colors=GREY, labelsize=9)
    axis.xaxis.label.set_color(GREY)
    axis.yaxis.label.set_color(GREY)


def _title(axis: Axes, title: str) -> None:
    axis.set_title(title, color=GREY, loc="left", fontsize=11, fontweight="bold", pad=22)


def _say(axis: Axes, sentence: str) -> None:
    axis.set_axis_off()
    axis.text(0.5, 0.5, sentence, ha="center", va="center", color=GREY, transform=axis.transAxes)


def _legend(axis: Axes) -> None:
    """A row under the title, where it covers nothing."""
    columns = len(axis.get_legend_handles_labels()[1])
    where: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.01, 0.98), "borderaxespad": 0.2}
    look: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": GREY, "handlelength": 1.0}
    axis.legend(ncols=columns, columnspacing=1.0, handletextpad=0.4, **where, **look)


def _models(frame: pd.DataFrame) -> pd.Series:
    """The model of each row as text: the most used ones by name, the rest as "others"."""
    names = frame["model"].astype("str").fillna(frame["model_requested"].astype("str")).fillna("unknown")
    names = names.map(lambda name: _short(name.rpartition("/")[2]))
    common = list(names.value_counts().index)
    if len(common) <= MODELS_SHOWN:
        return names
    return names.where(names.isin(common[: MODELS_SHOWN - 1]), "others")


def _short(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"


def _tokens(axis: Axes, frame: pd.DataFrame) -> None:
    _title(axis, "Tokens over time")
    known = frame[frame["prompt_tokens"].notna() & frame["started_at"].notna()]
    if known.empty:
        _say(axis, "no usage reported")
        return
    width = _bucket(known["started_at"])
    starts = known["started_at"].dt.tz_convert(None).dt.floor(width)
    sums = known.groupby(starts)[["prompt_tokens", "completion_tokens"]].sum().astype(float)
    at = pd.DatetimeIndex(sums.index).to_pydatetime()
    bar: dict[str, Any] = {"width": width.to_pytimedelta() * 0.9, "align": "edge"}
    prompt, completion = sums["prompt_tokens"].to_numpy(), sums["completion_tokens"].to_numpy()
    axis.bar(at, prompt, color=COLOURS[0], label="prompt", **bar)
    axis.bar(at, completion, bottom=prompt, color=COLOURS[1], label="completion", **bar)
    unknown = int(unknown_usage(frame).sum())
    _time_axis(axis, sums.index[0], sums.index[-1] + width, width, _remark(unknown, "without known usage"))
    axis.yaxis.set_major_formatter(lambda value, _at: f"{value:,.0f}")
    _legend(axis)


def _time_axis(axis: Axes, first: pd.Timestamp, last: pd.Timestamp, width: pd.Timedelta, remark: str) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # has no types
    spare = max(width * (BUCKETS_LEAST - (last - first) // width) / 2, pd.Timedelta(0))
    limits = [dates.date2num(moment.to_pydatetime()) for moment in (first - spare, last + spare)]
    axis.set_xlim(limits[0], limits[1])
    locator = dates.AutoDateLocator(minticks=3, maxticks=6)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))
    day = f"{first:%d %b %Y}, UTC" if first.date() == last.date() else f"{first:%d %b} – {last:%d %b %Y}, UTC"
    axis.set_xlabel(" · ".join(filter(None, [day, remark])), fontsize=9)


def _bucket(times: pd.Series) -> pd.Timedelta:
    """A round stretch of time that gives a readable number of bars."""
    span = times.max() - times.min()
    widths = [pd.Timedelta(bucket) for bucket in BUCKETS]
    return next((width for width in widths if span / width <= BUCKETS_SHOWN), widths[-1])


def _latency(axis: Axes, frame: pd.DataFrame) -> None:
    done = frame[(frame["status"] == "ok") & (frame["usage_source"] != "replay").fillna(True)]
    _title(axis, "Answers within a time")
    if done.empty:
        _say(axis, "no finished answers")
        return
    for colour, (model, rows) in zip(COLOURS, done.groupby("model"), strict=False):
        _ecdf(axis, rows["duration_ms"], color=colour, label=str(model))
        _ecdf(axis, rows["time_to_first_token_ms"], color=colour, linestyle="--")
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, high / 30), high)
    axis.set_xlabel("seconds · solid: whole answer, dashed: first text", fontsize=9)
    axis.xaxis.set_major_formatter(lambda value, _at: f"{value:g}")
    axis.xaxis.set_minor_formatter("")
    axis.tick_params(which="both", colors=GREY)
    axis.set_ylim(0, 1.02)
    axis.yaxis.set_major_formatter(lambda value, _at: f"{value:.0%}")
    _legend(axis)


def _ecdf(axis: Axes, values_ms: pd.Series, **style: Any) -> None:
    seconds = values_ms.dropna().astype(float) / 1000
    seconds = seconds[seconds > 0]
    if len(seconds):
        axis.ecdf(seconds, linewidth=1.6, **style)


def _cost(axis: Axes, frame: pd.DataFrame) -> None:
    _title(axis, "Cost by model")
    priced = frame[frame["cost"].notna() & frame["currency"].notna()]
    if priced.empty:
        _say(axis, "no prices known\n(hx.logbook.prices sets them)")
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
    axis.set_xlabel(" · ".join(filter(None, [currency, remark])), fontsize=9)


def _status(axis: Axes, frame: pd.DataFrame) -> None:
    _title(axis, "How they ended")
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
    axis.set_xlabel(_remark(len(frame), "in all"), fontsize=9)
    axis.xaxis.set_major_formatter(lambda value, _at: f"{value:.0%}")
    _legend(axis)


def _remark(count: int, what: str) -> str:
    return f"{count:,} {'exchange' if count == 1 else 'exchanges'} {what}" if count else ""


KINDS: dict[str, Callable[[Axes, pd.DataFrame], None]] = {
    "tokens": _tokens,
    "latency": _latency,
    "cost": _cost,
    "status": _status,
}
