"""The plots of a report. Functions `..._data` compute what is drawn, `draw_...` draw a frame into an `ax`.

A metric says by `plots` and `plotted_against` which plots it appears in; one that is measured by class alone has a plot by class.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ltgen_bench.data.groups import GROUPS
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.report.baselines import REAL_HALVES, comparable, distance_from_best, measured_again
from ltgen_bench.report.class_plots import class_figure
from ltgen_bench.report.columns import TRAINED_ON, distinguishing_id, name_in
from ltgen_bench.report.entries import Block, Key, measurements
from ltgen_bench.report.framing import finish
from ltgen_bench.report.numbers import facts
from ltgen_bench.report.pictures import Drawings, canvas, labels_at_right, picture_names, picture_text, plain_style

TAIL_FIRST = GROUPS[::-1]
ROW = 0.21  # inches of a row; its markers, colours and lines differ in grey too
ROW_STYLES = (("o", "#d55e00", "--"), ("s", "#56b4e9", "-."), ("^", "black", ":"))


def group_data(block: Block) -> pd.DataFrame:
    """Every measurement with groups: panel (its name), metric, entry, group, value and sd (scaled, mean and standard deviation
    over seeds), baseline (score of one half of the real images against the other), at_n (the value at the n of the baseline, NaN
    where it is the value's own).
    """
    frames = []
    for key in _group_keys(block):
        for group in TAIL_FIRST:
            part = block.part(key, f"{group}@thirds").dropna(subset=["value"])
            own_n = comparable(part, REAL_HALVES, key[0])
            part = part.assign(baseline=own_n.fillna(measured_again(part, REAL_HALVES)[REAL_HALVES.score]))
            means = part.groupby("entry", sort=False).agg(
                value=("value", "mean"), sd=("value", "std"), baseline=("baseline", "first"),
                at_n=(REAL_HALVES.score_at_n, "mean"))
            means = (means * facts(key[0]).scale).reset_index()
            frames.append(means.assign(panel=name_in(block, key), metric=key[0], group=group))
    columns = ["panel", "metric", "entry", "group", "value", "sd", "baseline", "at_n"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _group_keys(block: Block) -> list[Key]:
    return [key for key in block.keys if "groups" in METRICS[key[0]].plots and key[2] != "real-lt"]


def row_order(block: Block) -> list[str]:
    """The entries of `group_data` from best to worst: the few classes in the first panel; entries without that score are last."""
    keys = _group_keys(block)
    part = block.part(keys[0], f"{TAIL_FIRST[0]}@thirds")
    losses = distance_from_best(part, keys[0][0]).groupby(part["entry"], sort=False).mean().dropna().sort_values(kind="stable")
    return list(dict.fromkeys([*losses.index, *block.entries]))


def draw_groups(data: pd.DataFrame, ax: Axes, *, entries: Sequence[str]) -> Axes:
    """One panel, a row for each of `entries`: a marker a group with its spread, the baseline scores as vertical lines.

    Where the baseline is of another number of images, a small ring is the score at that number: it compares with the line.
    """
    _rows(data, ax, "group", TAIL_FIRST, entries)
    for group, (_, color, line) in zip(TAIL_FIRST, ROW_STYLES, strict=True):
        for baseline in data.loc[data["group"] == group, "baseline"].dropna().head(1):
            ax.axvline(baseline, color=color, linestyle=line, linewidth=1, zorder=1)
    ax.set_title(str(data["panel"].iloc[0]).replace(" (", "\n(", 1), fontsize=9)
    return ax


def _rows(data: pd.DataFrame, ax: Axes, column: str, order: Sequence[str], entries: Sequence[str]) -> None:
    """A row an entry, the first on top; a marker for each of `order` in `column`: `value`, a line of +- `sd`, a ring `at_n`."""
    for at, (name, (marker, color, _)) in enumerate(zip(order, ROW_STYLES, strict=False)):
        own = data[data[column] == name].set_index("entry")
        own = own.reindex(index=list(entries), columns=["value", "sd", "at_n"]).astype("float64")
        heights = [place + 0.2 * (at - (len(order) - 1) / 2) for place in range(len(entries))]
        ax.errorbar(own["value"], heights, xerr=own["sd"].fillna(0.0), color=color, marker=marker, markersize=5, linestyle="none",
                    elinewidth=1, label=name, zorder=4 - 0.1 * at)
        ax.scatter(own["at_n"], heights, s=9, facecolors="none", edgecolors=color, linewidths=0.7)
    ax.set_yticks(range(len(entries)), picture_names(entries, 28))
    ax.set_ylim(len(entries) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))


def pair_data(block: Block, first: Key, second: Key) -> pd.DataFrame:
    """Two scores of every run: entry, seed, and a column for each metric; rows that lack one of them are left out."""
    columns = ["entry", "seed", "value"]
    pair = [block.part(key, "all")[columns].rename(columns={"value": key[0]}) for key in (first, second)]
    return pair[0].merge(pair[1], on=["entry", "seed"], how="inner").dropna().reset_index(drop=True)


def draw_pair(data: pd.DataFrame, ax: Axes, *, metrics: tuple[str, str], extractor: str) -> Axes:
    """The mean of each entry with lines of one standard deviation over seeds, the first of `metrics` along the axis."""
    scores = data.groupby("entry", sort=False)[list(metrics)]
    means, (right, up) = scores.mean(), (scores.std().fillna(0.0)[metric] for metric in metrics)
    x, y = (means[metric] for metric in metrics)
    ax.errorbar(x, y, xerr=right, yerr=up, color="#0072b2", ecolor="#8fbfdf", marker="o", markersize=5, linestyle="none")
    ax.set(xlabel=f"{facts(metrics[0]).heading} ({extractor})", ylabel=f"{facts(metrics[1]).heading} ({extractor})")
    ax.margins(0.08)
    labels_at_right(ax, x.tolist(), y.tolist(), picture_names(means.index.tolist(), 28))
    return ax


def downstream_data(block: Block) -> pd.DataFrame:
    """Accuracy on real test images: entry, seed, train_data (real-lt, synthetic, both), value."""
    part = block.rows[(block.rows["train_data"] != "") & (block.rows["scope"] == "all")].dropna(subset=["value"])
    data = part[["entry", "seed", "train_data", "value"]].replace({"train_data": TRAINED_ON})
    return data.reset_index(drop=True)


def draw_downstream(data: pd.DataFrame, ax: Axes) -> Axes:
    """A row an entry, with a marker a training set: mean accuracy with its spread; the best by synthetic images is on top."""
    scores = data.groupby(["entry", "train_data"], sort=False)["value"].agg(value="mean", sd="std").reset_index()
    order = [name for name in TRAINED_ON.values() if name in set(data["train_data"])]
    scores = scores.sort_values("value", ascending=False, kind="stable")
    best = scores.loc[scores["train_data"] == TRAINED_ON["synthetic"], "entry"]
    _rows(scores, ax, "train_data", order, list(dict.fromkeys([*best, *scores["entry"]])))
    ax.set_xlabel("accuracy on real test images")
    return ax


def for_pictures(block: Block) -> Block:
    """`block` with the names of its data set and entries as pictures show them."""
    names = dict(zip(block.entries, picture_names(block.entries), strict=True))
    rows = block.rows.assign(entry=block.rows["entry"].map(names)) if names else block.rows
    return replace(block, dataset=picture_text(block.dataset), rows=rows)


def drawings(block: Block) -> Drawings:
    """Return every plot for which `block` has data."""
    found: Drawings = {}
    for key in measurements(block.rows, "class"):
        metric = METRICS[key[0]]
        if ("classes" in metric.plots or "group" not in metric.scopes) and key[2] != "real-lt":
            words = TRAINED_ON.get(key[2], key[2])
            title = f"{facts(key[0]).title} by class" + (f", trained on {words}" if words else f" ({_features(block, key)})")
            name = f"{key[0].replace('_', '-')}-by-class-{words or _features(block, key, '-')}"
            found[title] = name, partial(class_figure, block, key)
    if any(block.part(key, f"{group}@thirds")["value"].notna().any() for key in _group_keys(block) for group in GROUPS):
        found["metrics by group of classes"] = "groups", partial(group_figure, block)
    for first in block.keys:
        for second in [key for key in block.keys if key[:2] == (METRICS[first[0]].plotted_against, first[1])]:
            if len(pair_data(block, first, second)):
                title = f"{facts(first[0]).title} against {facts(second[0]).title} ({_features(block, first)})"
                name = f"{first[0]}-{second[0]}-{_features(block, first, '-')}"
                found[title] = name, partial(pair_figure, block, first, second)
    if len(downstream_data(block)):
        found["downstream accuracy by training set"] = "downstream", partial(downstream_figure, block)
    return found


def _features(block: Block, key: Key, between: str = " ") -> str:
    """The extractor, with the protocol id where several measurements have one name."""
    return between.join(part for part in (key[1], distinguishing_id(block, key)) if part)


@plain_style()
def group_figure(block: Block) -> Figure:
    """A panel a metric, in which a method is a row with a marker for few, medium and many classes."""
    data, entries = group_data(block), row_order(block)
    panels = list(dict.fromkeys(data["panel"]))
    columns = min(3 if len(panels) <= 9 else 4, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = canvas(2.7 * columns + 1.4, (ROW * len(entries) + 0.9) * rows + 0.7, rows, columns, sharey=True)
    for panel, ax in zip(panels, axes, strict=False):
        draw_groups(data[data["panel"] == panel], ax, entries=entries)
    for ax in axes[len(panels) :]:
        ax.remove()
    ids = [key[3] for key in block.keys if name_in(block, key) in panels]
    note = _spread(block) + ", rows by the few classes in the first panel"
    note += ", vertical: baseline score, one half of the real images against the other" if data["baseline"].notna().any() else ""
    note += ", rings: the score of as many generated images" if data["at_n"].notna().any() else ""
    return finish(figure, axes[: len(panels)], block, ids, note)


@plain_style()
def pair_figure(block: Block, first: Key, second: Key) -> Figure:
    """Two scores of every method against each other."""
    data = pair_data(block, first, second)
    figure, (ax,) = canvas(6.4, max(4.2, ROW * data["entry"].nunique() + 0.9))
    draw_pair(data, ax, metrics=(first[0], second[0]), extractor=first[1])
    return finish(figure, [ax], block, [first[3], second[3]], _spread(block))


@plain_style()
def downstream_figure(block: Block) -> Figure:
    """Downstream accuracy for each training set."""
    data = downstream_data(block)
    figure, (ax,) = canvas(6.4, ROW * data["entry"].nunique() + 1.4)
    draw_downstream(data, ax)
    return finish(figure, [ax], block, [key[3] for key in block.keys if key[2]], _spread(block))


def _spread(block: Block) -> str:
    return "mean and standard deviation over seeds" if len(block.seeds) > 1 else "one seed"
