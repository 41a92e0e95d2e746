"""Pictures of a comparison of many methods: one row or one panel a method instead of a colour each, readable in grey.

Every function takes plain frames, one a panel (panel title -> frame), so that few and many classes stand beside each other, and
returns a figure for `pictures.save`. `width` is in inches; below NARROW the panels stand below each other. Values that are not
computed (NaN) are said to be so.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ltgen_bench.report.entries import each
from ltgen_bench.report.pictures import (
    COLORS,
    LINES,
    MARKERS,
    SOFT,
    canvas,
    labels_at_right,
    picture_names,
    picture_text,
    plain_log_axis,
    plain_style,
)

Panels = Mapping[str, pd.DataFrame]

NARROW = 5.5  # inches
# marker, colour, filled: the markers differ in grey too
VERDICTS = {"better": ("o", "#0072b2", True), "worse": ("s", "#d55e00", True), "equivalent": ("D", "0.25", True),
            "open": ("o", "0.45", False)}


@plain_style()
def difference_figure(panels: Panels, *, label: str, larger_is_better: bool, footer: str = "", width: float = 8.0) -> Figure:
    """Differences to a baseline with simultaneous intervals, one row a method, the best on top.

    Columns: entry, estimate, low, high, verdict (better, worse, equivalent, open) and optionally margin: a method whose whole
    interval is within +-margin, a grey band, is equivalent. `label` says what is shown, with the unit and the baseline.
    """
    figure, axes = _side_by_side(panels, width)
    toward = "better →" if larger_is_better else "← better"
    for (title, data), ax in zip(panels.items(), axes, strict=True):
        data = data.sort_values("estimate", ascending=not larger_is_better, kind="stable")
        low, high = _rows(data, ax, title, [VERDICTS[verdict] for verdict in data["verdict"].fillna("open")])
        if "margin" in data:
            ax.barh(range(len(data)), 2 * data["margin"], left=-data["margin"], height=0.7, color="0.88", zorder=0)
        ax.axvline(0, color="0.2", linewidth=1)
        space = 0.05 * (high - low)
        ax.set(xlim=(min(low, -space), max(high, space)), xlabel=textwrap.fill(f"{label} ({toward})", 48))
    shown = {verdict for data in panels.values() for verdict in data["verdict"].dropna()}
    keys: list[Artist] = [_key(verdict, *VERDICTS[verdict]) for verdict in VERDICTS if verdict in shown]
    if any("margin" in data for data in panels.values()):
        keys.append(Patch(color="0.88", label="margin"))
    figure.legend(handles=keys, loc="outside upper left", ncols=3 if width < NARROW else 5, frameon=False, fontsize=8)
    return _finished(figure, footer)


@plain_style()
def rank_figure(panels: Panels, *, label: str = "rank", footer: str = "", width: float = 8.0) -> Figure:
    """Ranks with intervals, one row a method, the best on top. Columns: entry, rank, low, high."""
    figure, axes = _side_by_side(panels, width)
    for (title, data), ax in zip(panels.items(), axes, strict=True):
        data = data.sort_values("rank", kind="stable").rename(columns={"rank": "estimate"})
        _rows(data, ax, title, [("o", "0.15", True)] * len(data))
        ax.set(xlim=(0.5, len(data) + 0.5), xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    return _finished(figure, footer)


@plain_style()
def win_figure(panels: Panels, *, footer: str = "", width: float = 8.0) -> Figure:
    """How often the row's method wins against the column's, in percent, with the mean as last column; dark is often.

    Frames of entries x opponents with shares, NaN on the diagonal. Rows and columns are sorted by their mean.
    """
    many = max(len(wins) for wins in panels.values())
    columns = 1 if width < NARROW else len(panels)
    rows = -(-len(panels) // columns)
    size = width / columns
    figure, axes = canvas(width, (max(size * 0.86, 0.27 * many + 1.4)) * rows + 0.3, rows, columns)
    for (title, wins), ax in zip(panels.items(), axes, strict=True):
        means = wins.mean(axis=1).sort_values(ascending=False, kind="stable")
        names = picture_names([str(name) for name in means.index], 24)
        table = wins.loc[means.index, means.index].assign(mean=means) * 100
        letters = min(8.0, 26 * (size - 1.5) / (many + 1))  # points, so that "100" fits into a cell
        sns.heatmap(table, ax=ax, vmin=0, vmax=150, cmap="Blues", annot=True, fmt=".0f", cbar=False, linewidths=0.5,
                    annot_kws={"fontsize": letters, "color": "black"}, xticklabels=[*names, "mean"], yticklabels=names)
        ax.set_facecolor("0.8")  # of the diagonal
        ax.axvline(len(table), color="white", linewidth=4)
        ax.grid(visible=False)
        ax.tick_params(length=0, labelsize=8)
        ax.tick_params(axis="x", rotation=90)
        ax.set_title(picture_text(title), fontsize=9, loc="left")
    return _finished(figure, footer or "percent of tasks won by the row against the column; open and equivalent pairs count half")


@plain_style()
def cost_figure(panels: Panels, *, label: str, cost_label: str, footer: str = "", width: float = 8.0) -> Figure:
    """Quality against cost. Columns: entry, quality, low, high, cost, front (bool). Larger quality is better.

    Methods on the Pareto front are filled and joined by steps: nothing left of them is as good. Names are at the right.
    """
    figure, axes = _side_by_side(panels, width, height=4.4)
    for (title, data), ax in zip(panels.items(), axes, strict=True):
        known = data.dropna(subset=["quality", "cost"]).sort_values("cost", kind="stable")
        front = known[known["front"]]
        ax.plot(front["cost"], front["quality"], drawstyle="steps-post", color="#0072b2", linestyle="--", linewidth=1, zorder=1)
        for row in each(known):
            color = "#0072b2" if row.front else "0.3"
            _interval(ax, (row.cost, row.quality), (row.low, row.high), color, upright=True)
            ax.plot(row.cost, row.quality, "o" if row.front else "s", color=color, zorder=3, markersize=6,
                    markerfacecolor=color if row.front else "white")
        if len(known) and known["cost"].max() > 10 * known["cost"].min() > 0:
            ax.set_xscale("log")
            plain_log_axis(ax.xaxis)
        else:
            ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.margins(x=0.08, y=0.08)
        span = 0.7 * max(float(np.ptp(known["quality"])), 0.02) if len(known) else 1.0
        low, high = ax.get_ylim()  # long intervals are cut, so that the methods do not lie over each other
        ax.set_ylim(max(low, known["quality"].min() - span), min(high, known["quality"].max() + span))
        labels_at_right(ax, known["cost"].tolist(), known["quality"].tolist(), picture_names(known["entry"].tolist(), 24))
        ax.set(xlabel=textwrap.fill(cost_label, 48), ylabel=textwrap.fill(label, 40))
        ax.set_title(picture_text(title), fontsize=9, loc="left")
        _say_missing(ax, sorted(set(data["entry"]) - set(known["entry"])))
    keys = [_key("on the Pareto front", "o", "#0072b2", True), _key("beaten in quality and cost", "s", "0.3", False)]
    figure.legend(handles=keys, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return _finished(figure, footer)


@plain_style()
def class_count_figure(data: pd.DataFrame, *, label: str, baseline: str = "", footer: str = "", width: float = 8.0) -> Figure:
    """A score against the number of training images of a class. Columns: entry, class_count, value, low, high.

    Up to seven methods share a panel. More have a panel each, with the baseline dashed and all others pale behind it.
    """
    names = dict(zip(data["entry"].unique(), picture_names(list(data["entry"].unique()), 24), strict=True))
    data = data.assign(entry=data["entry"].map(names)).sort_values("class_count", kind="stable")
    lines = {name: data[data["entry"] == name].dropna(subset=["value"]) for name in names.values()}
    if len(lines) <= len(COLORS):
        figure, (ax,) = canvas(width, 4.2)
        _lines(ax, lines)
        axes = [ax]
    else:
        columns = max(2, int(width // 1.9))
        rows = -(-len(lines) // columns)
        figure, axes = canvas(width, 1.5 * rows + 0.9, rows, columns, sharey=True)
        for name, ax in zip(lines, axes, strict=False):
            _small_panel(ax, name, lines, names.get(baseline, ""))
        for spare in axes[len(lines):]:
            spare.remove()
        axes = axes[: len(lines)]
        for place, ax in enumerate(axes):
            ax.tick_params(labelbottom=place + columns >= len(lines), labelleft=place % columns == 0)
    low, high = float(data["class_count"].min()), float(data["class_count"].max())
    for ax in axes:
        ax.set_xscale("log")
        plain_log_axis(ax.xaxis)
        ax.minorticks_off()
        ax.set_xlim(low / 1.25, high * 1.25)
        if ax.xaxis.get_tick_params()["labelbottom"]:
            ax.set_xlabel("training images", fontsize=8)
    figure.supylabel(textwrap.fill(label, 44), fontsize=9)
    return _finished(figure, footer)


def _side_by_side(panels: Panels, width: float, height: float = 0.0) -> tuple[Figure, list[Axes]]:
    """One panel each: beside each other, or below each other where the figure is narrow; without `height` with a row a method."""
    columns = 1 if width < NARROW else len(panels)
    rows = -(-len(panels) // columns)
    each = height or 0.24 * max(len(data) for data in panels.values()) + 1.0
    figure, axes = canvas(width, each * rows + 0.5, rows, columns)
    if not height:
        for ax in axes:
            ax.grid(visible=False, axis="y")
            ax.grid(visible=True, axis="x", color="0.9", linewidth=0.8)
    return figure, axes


def _rows(data: pd.DataFrame, ax: Axes, title: str, styles: Sequence[tuple[str, str, bool]]) -> tuple[float, float]:
    """A point and an interval a row, the first on top; returns the ends of the axis, at which much longer intervals are cut."""
    ends = data[["estimate", "low", "high"]].astype("float64")
    half = (ends["high"] - ends["low"]).median() / 2
    low = max(ends.min(axis=None), ends["estimate"].min() - 4 * half) if half >= 0 else ends["estimate"].min()
    high = min(ends.max(axis=None), ends["estimate"].max() + 4 * half) if half >= 0 else ends["estimate"].max()
    low, high = (low, high) if np.isfinite(low) else (0.0, 1.0)
    space = 0.04 * (high - low) or 1.0
    low, high = low - space, high + space
    for place, (row, (marker, color, filled)) in enumerate(zip(each(ends), styles, strict=True)):
        if not np.isfinite(row.estimate):
            ax.text(0.02, place, "not computed", transform=ax.get_yaxis_transform(), va="center", fontsize=7, color=SOFT)
            continue
        _interval(ax, (row.estimate, place), (max(row.low, low), min(row.high, high)), color)
        for end, beyond, arrow in ((low, row.low < low, "<"), (high, row.high > high, ">")):
            if beyond:
                ax.plot(end, place, arrow, color=color, markersize=5, clip_on=False, zorder=3)
        ax.plot(row.estimate, place, marker, color=color, markersize=6, markerfacecolor=color if filled else "white", zorder=3)
    ax.set_yticks(range(len(data)), picture_names([str(name) for name in data["entry"]], 28))
    ax.set_ylim(len(data) - 0.4, -0.6)
    ax.set_title(picture_text(title), fontsize=9, loc="left")
    ax.xaxis.label.set_fontsize(9)
    return low, high


def _interval(ax: Axes, at: tuple[float, float], ends: tuple[float, float], color: str, *, upright: bool = False) -> None:
    """A line between finite ends through `at`."""
    if all(np.isfinite(ends)):
        x, y = ([at[0]] * 2, list(ends)) if upright else (list(ends), [at[1]] * 2)
        ax.plot(x, y, color=color, linewidth=1.6 if not upright else 0.9, solid_capstyle="butt", zorder=2)


def _key(label: str, marker: str, color: str, filled: bool) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, color=color, markerfacecolor=color if filled else "white", label=label)


def _lines(ax: Axes, lines: Mapping[str, pd.DataFrame]) -> None:
    """A line a method with its intervals, moved aside so that they do not lie over each other, and its name at the right."""
    ends = {}
    for place, (name, own) in enumerate(lines.items()):
        x = own["class_count"] * 1.025 ** (place - (len(lines) - 1) / 2)
        errors = [(own["value"] - own["low"]).fillna(0), (own["high"] - own["value"]).fillna(0)]
        ax.errorbar(x, own["value"], errors, color=COLORS[place], linestyle=LINES[place], marker=MARKERS[place], markersize=4,
                    linewidth=1.3, elinewidth=0.8)
        if len(own):
            ends[name] = (float(x.iloc[-1]), float(own["value"].iloc[-1]), MARKERS[place], COLORS[place])
    ax.set_xscale("log")
    x, y, markers, colors = zip(*ends.values(), strict=True) if ends else ((),) * 4
    labels_at_right(ax, x, y, list(ends), list(zip(markers, colors, strict=True)))
    _say_missing(ax, [name for name in lines if name not in ends])


def _small_panel(ax: Axes, name: str, lines: Mapping[str, pd.DataFrame], baseline: str) -> None:
    """One method with its band, the baseline dashed, the others pale."""
    for other, own in lines.items():
        if other not in (name, baseline):
            ax.plot(own["class_count"], own["value"], color="0.88", linewidth=0.8, zorder=1)
    if baseline in lines and name != baseline:
        ax.plot(lines[baseline]["class_count"], lines[baseline]["value"], color="0.3", linestyle="--", linewidth=1, zorder=2)
    own = lines[name]
    if own["value"].notna().any():
        ax.fill_between(own["class_count"], own["low"], own["high"], color="#0072b2", alpha=0.25, linewidth=0)
        ax.plot(own["class_count"], own["value"], color="#0072b2", marker="o", markersize=3, linewidth=1.4, zorder=3)
    else:
        _say_missing(ax, [name])
    ax.set_title(name, fontsize=8, loc="left", pad=2)
    ax.tick_params(labelsize=7)


def _say_missing(ax: Axes, names: Sequence[str]) -> None:
    if names:
        text = textwrap.fill(f"not computed: {', '.join(picture_names(names, 24))}", 40)
        ax.text(0.02, 0.02, text, transform=ax.transAxes, fontsize=7, color=SOFT, va="bottom")


def _finished(figure: Figure, footer: str) -> Figure:
    """The footer in small letters at the lower left."""
    text = textwrap.fill(footer, int(figure.get_figwidth() * 17))
    figure.supxlabel(text, fontsize=6.5, color="0.4", x=0.01, ha="left")
    return figure
