"""A figure of several plots on a transparent ground, in greys that read on white and on black.

Made without pyplot, so that a saved notebook looks right in either theme.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ...errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#7d7d7d"
BUCKETS_LEAST = 12


def new_figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure of so many inches; ConfigError where matplotlib is missing."""
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


def set_style(axis: Axes) -> None:
    """Remove what only decorates, and colour the rest for white and black grounds."""
    axis.patch.set_alpha(0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GREY)
    axis.tick_params(colors=GREY, labelsize=9)
    axis.xaxis.label.set_color(GREY)
    axis.yaxis.label.set_color(GREY)


def set_title(axis: Axes, title: str) -> None:
    """Put a title above an axis, with room for a legend below it."""
    axis.set_title(title, color=GREY, loc="left", fontsize=11, fontweight="bold", pad=22)


def show_note(axis: Axes, sentence: str) -> None:
    """Show a sentence where there is nothing to draw."""
    axis.set_axis_off()
    axis.text(0.5, 0.5, sentence, ha="center", va="center", color=GREY, transform=axis.transAxes)


def set_legend(axis: Axes) -> None:
    """Put the legend into a row under the title, where it covers nothing."""
    columns = len(axis.get_legend_handles_labels()[1])
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.01, 0.98), "borderaxespad": 0.2}
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": GREY, "handlelength": 1.0}
    axis.legend(ncols=columns, columnspacing=1.0, handletextpad=0.4, **place, **style)


def set_time_axis(
    axis: Axes, first: pd.Timestamp, last: pd.Timestamp, width: pd.Timedelta, remark: str
) -> None:
    """Label a time axis with few, short dates; bars of `width` get room for at least twelve of them."""
    import matplotlib.dates

    dates: Any = matplotlib.dates  # has no types
    spare = max(width * (BUCKETS_LEAST - (last - first) // width) / 2, pd.Timedelta(0))
    limits = [dates.date2num(moment.to_pydatetime()) for moment in (first - spare, last + spare)]
    axis.set_xlim(limits[0], limits[1])
    locator = dates.AutoDateLocator(minticks=3, maxticks=6)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))
    day = f"{first:%d %b %Y}, UTC" if first.date() == last.date() else f"{first:%d %b} – {last:%d %b %Y}, UTC"
    set_remarks(axis, day, remark)


def set_remarks(axis: Axes, *remarks: str) -> None:
    """Put remarks under an axis, as far as there are any."""
    axis.set_xlabel(" · ".join(filter(None, remarks)), fontsize=9)
