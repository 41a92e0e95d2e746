"""The plot of a measurement by class, over the number of training images of the class."""

import textwrap
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ltgen_bench.report.columns import measurement_name
from ltgen_bench.report.entries import Block, Key
from ltgen_bench.report.framing import Colors, finish, palette
from ltgen_bench.report.pictures import COLORS, LINES, MARKERS, canvas, picture_text, plain_style

LABEL_WIDTH = 32  # letters in a line of an axis' label
REAL = "0.35"  # the grey of scores of real images


def class_data(block: Block, key: Key) -> pd.DataFrame:
    """One measurement by class: entry, class_name, class_count, value (mean over seeds), from head to tail."""
    part = block.part(key, "class").dropna(subset=["value"])
    columns = ["entry", "class_label", "class_name", "class_count"]
    means = part.groupby(columns, sort=False)["value"].mean().reset_index()
    means["entry"] = pd.Categorical(means["entry"], block.entries)
    means = means.sort_values(["entry", "class_count", "class_label"], ascending=[True, False, True])
    return means.astype({"entry": "str", "class_count": "int64"})[
        ["entry", "class_name", "class_count", "value"]
    ].reset_index(drop=True)


def draw_classes(
    data: pd.DataFrame, ax: Axes, *, colors: Colors, ylabel: str, reference: pd.DataFrame | None = None
) -> Axes:
    """A line an entry over the number of training images (logarithmic); `reference` is drawn dashed and grey."""
    # each class is a marker, and the line goes through the mean of classes of one size
    size, alpha = (20, 0.9) if data["class_name"].nunique() <= 30 else (8, 0.5)
    for name, marker, line in zip(colors, cycle(MARKERS), cycle(LINES)):
        own = data[data["entry"] == name]
        mean = own.groupby("class_count")["value"].mean()
        ax.plot(mean.index, mean.to_numpy(), color=colors[name], linestyle=line, linewidth=1.4, label=name)
        ax.scatter(own["class_count"], own["value"], s=size, color=colors[name], marker=marker, alpha=alpha, linewidths=0)
    if reference is not None and len(reference):
        mean = reference.groupby("class_count")["value"].mean()
        ax.plot(mean.index, mean.to_numpy(), color=REAL, linestyle="--", linewidth=1.2, label="trained on real-lt")
    ax.set(xscale="log", xlabel="training images of the class (tail to head)", ylabel=textwrap.fill(ylabel, LABEL_WIDTH))
    _count_ticks(ax, data["class_count"].tolist())
    return ax


@plain_style()
def class_figure(block: Block, key: Key) -> Figure:
    """One measurement by class against the training images of the class: a line a method, or of more than seven a panel each."""
    data, ylabel = class_data(block, key), measurement_name(key)
    reference = class_data(block, (key[0], key[1], "real-lt", key[3])) if key[2] else None
    names = list(dict.fromkeys(data["entry"]))
    if len(names) <= len(COLORS):
        figure, axes = canvas(6.4, 4.2)
        draw_classes(data, axes[0], colors={name: palette(block)[name] for name in names}, ylabel=ylabel, reference=reference)
        return finish(figure, axes, block, [key[3]])
    rows = -(-len(names) // 4)
    figure, axes = canvas(10, 1.6 * rows + 1, rows, 4, sharex=True, sharey=True)
    for place, (name, ax) in enumerate(zip(names, axes, strict=False)):
        for _, other in data[data["entry"] != name].groupby("entry"):
            mean = other.groupby("class_count")["value"].mean()
            ax.plot(mean.index, mean.to_numpy(), color="0.85", linewidth=0.8, zorder=1, label="the other methods")
        own = data[data["entry"] == name].assign(entry="the method of the panel")
        draw_classes(own, ax, colors={"the method of the panel": (0.0, 0.447, 0.698)}, ylabel="", reference=reference)
        ax.set_title(picture_text(name, 28), fontsize=9)
        ax.set_xlabel("")
        ax.tick_params(labelbottom=place + 4 >= len(names))
    for ax in axes[len(names) :]:
        ax.remove()
    figure.supylabel(ylabel, fontsize=9)
    return finish(figure, axes[: len(names)], block, [key[3]], "along the axis: training images of the class, tail to head")


def _count_ticks(ax: Axes, counts: list[int]) -> None:
    """Plain numbers at the class sizes; of sizes that lie close together only some are named."""
    kept: list[int] = []
    for size in sorted(set(counts)):
        if not kept or size / kept[-1] > 1.22:
            kept.append(size)
    ax.set_xticks(kept)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
