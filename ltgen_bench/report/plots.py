"""The plots of a report. What is drawn is computed apart (`..._data`) from how (`draw_...`: a frame and an `ax` in)."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.report.baseline_columns import HALVES, beside_score, repeated
from ltgen_bench.report.columns import GROUPS, TRAINED_ON, Key, measurement_name, name_in, twin_id
from ltgen_bench.report.entries import Block, measurements
from ltgen_bench.report.numbers import facts
from ltgen_bench.report.pictures import attempt, canvas, picture_names, picture_text, plain_style, save

Colors = dict[str, tuple[float, float, float]]

HUES = 10  # colours that colour-blind readers tell apart
CROWDED = 6  # entries beyond which what is written at bars stands upright
LABEL_WIDTH = 32  # letters of a line beside an axis that is as high as these figures
REAL = "0.35"  # the grey of everything that real images gave
GROUP_METRICS = ("fid", "kid", "precision", "recall", "density", "coverage", "label_accuracy", "downstream_accuracy")


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
    few = data["class_name"].nunique() <= 30
    # classes of one size stay apart: each is a dot, and the line goes through the mean of a size
    dashes = {name: "" if place < HUES else (3, 1.2) for place, name in enumerate(colors)}
    sns.lineplot(
        data, x="class_count", y="value", hue="entry", style="entry", dashes=dashes, palette=_used(colors, data),
        errorbar=None, ax=ax,
    )
    sns.scatterplot(
        data,
        x="class_count",
        y="value",
        hue="entry",
        palette=_used(colors, data),
        s=28 if few else 10,
        alpha=0.9 if few else 0.5,
        linewidth=0,
        legend=False,
        ax=ax,
    )
    if reference is not None and len(reference):
        mean = reference.groupby("class_count")["value"].mean()
        ax.plot(mean.index, mean.to_numpy(), color=REAL, linestyle="--", linewidth=1.2, label="trained on real-lt")
    ax.set(xscale="log", xlabel="training images of the class (tail to head)", ylabel=textwrap.fill(ylabel, LABEL_WIDTH))
    _count_ticks(ax, data["class_count"].tolist())
    return ax


def group_data(block: Block, scope_rule: str = "thirds") -> pd.DataFrame:
    """Every measurement with groups: panel (its name), metric, entry, group, value (scaled, mean over seeds), floor, and
    the value again at the floor's number of images (NaN where it is the value's own)."""
    frames = []
    for key in block.keys:
        if key[0] not in GROUP_METRICS or key[2] in ("real-lt",):
            continue
        scale = facts(key[0]).scale
        for group in GROUPS:
            part = block.part(key, f"{group}@{scope_rule}").dropna(subset=["value"])
            part = part.assign(floor=beside_score(part, HALVES, key[0]).fillna(repeated(part, HALVES)["floor_half"]))
            grouped = part.groupby("entry", sort=False)
            means = grouped.agg(value=("value", "mean"), floor=("floor", "first"), again=("at_half", "mean")) * scale
            frames.append(means.reset_index().assign(panel=name_in(block, key), metric=key[0], group=group))
    columns = ["panel", "metric", "entry", "group", "value", "floor", "again"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def draw_groups(data: pd.DataFrame, ax: Axes, *, colors: Colors) -> Axes:
    """Bars of one panel: groups along the axis, a colour an entry, the noise floor as a dashed line over each group.

    Where the floor is of another number of images, a dot on each bar is the value at that number: it compares with the line.
    """
    shared = {"x": "group", "hue": "entry", "order": list(GROUPS), "hue_order": list(dict.fromkeys(data["entry"]))}
    sns.barplot(data, **shared, y="value", palette=_used(colors, data), errorbar=None, ax=ax)
    if data["again"].notna().any():
        sns.stripplot(data, **shared, y="again", palette="dark:0.15", dodge=True, jitter=False, size=3, legend=False, ax=ax)
    floors = data.groupby("group")["floor"].first()
    for place, group in enumerate(GROUPS):
        if group in floors and pd.notna(floors[group]):
            ax.hlines(floors[group], place - 0.42, place + 0.42, colors=REAL, linestyles="--", linewidth=1.2)
    ax.set(xlabel="", ylabel="")
    ax.set_title(str(data["panel"].iloc[0]).replace(" (", "\n(", 1), fontsize=9)
    ax.margins(x=0.02)
    return ax


def fid_recall_data(block: Block, fid: Key, recall: Key) -> pd.DataFrame:
    """FID and recall of every run: entry, seed, fid, recall; rows that lack one of them are left out."""
    columns = ["entry", "seed", "value"]
    pair = [block.part(key, "all")[columns].rename(columns={"value": key[0]}) for key in (fid, recall)]
    return pair[0].merge(pair[1], on=["entry", "seed"], how="inner").dropna().reset_index(drop=True)


def draw_fid_recall(data: pd.DataFrame, ax: Axes, *, colors: Colors, extractor: str) -> Axes:
    """One dot a run; better is up and to the left."""
    sns.scatterplot(data, x="fid", y="recall", hue="entry", style="entry", palette=_used(colors, data), s=70, ax=ax)
    ax.set(xlabel=f"FID ↓ ({extractor})", ylabel=f"recall ↑ ({extractor})")
    ax.margins(0.15)
    return ax


def downstream_data(block: Block) -> pd.DataFrame:
    """Accuracy on real test images: entry, seed, train_data (real-lt, synthetic, both), value."""
    part = block.rows[(block.rows["metric"] == "downstream_accuracy") & (block.rows["scope"] == "all")].dropna(
        subset=["value"]
    )
    data = part[["entry", "seed", "train_data", "value"]].copy()
    data["train_data"] = data["train_data"].map(lambda name: TRAINED_ON.get(name, name))
    return data.reset_index(drop=True)


def draw_downstream(data: pd.DataFrame, ax: Axes, *, colors: Colors) -> Axes:
    """Bars of mean accuracy, a group a training set; with several seeds each run is a dot."""
    order = [name for name in TRAINED_ON.values() if name in set(data["train_data"])]
    shared = {
        "x": "train_data",
        "y": "value",
        "hue": "entry",
        "order": order,
        "hue_order": list(dict.fromkeys(data["entry"])),
    }
    sns.barplot(data, **shared, palette=_used(colors, data), errorbar=None, ax=ax)
    dots = data["seed"].nunique() > 1
    if dots:
        sns.stripplot(data, **shared, palette="dark:0.15", dodge=True, jitter=False, size=3, legend=False, ax=ax)
    crowded = data["entry"].nunique() > CROWDED
    for bars in ax.containers:
        assert isinstance(bars, BarContainer)
        ax.bar_label(bars, fmt="%.3f", fontsize=7, padding=7 if dots else 2, rotation=90 if crowded else 0)
    ax.set(xlabel="classifier trained on", ylabel="accuracy on real test images", ylim=(0, 1.25 if crowded else 1.1))
    if crowded:
        ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    return ax


def for_pictures(block: Block) -> Block:
    """`block` with the names of its data set and entries as pictures show them."""
    names = dict(zip(block.entries, picture_names(block.entries), strict=True))
    rows = block.rows.assign(entry=block.rows["entry"].map(names)) if names else block.rows
    return replace(block, dataset=picture_text(block.dataset), rows=rows)


def save_plots(block: Block, folder: Path, prefix: str = "", progress: Progress = SILENT) -> dict[str, Path]:
    """Draw and write every plot for which `block` has data; title -> file. One that fails is told and left out."""
    made: dict[str, Path] = {}
    block = for_pictures(block)

    def keep(title: str, name: str, figure: Callable[[], Figure]) -> None:
        path = folder / f"{prefix}{name}.png"
        if attempt(f"the plot '{title}'", lambda: save(figure(), path), progress.say) is not None:
            made[title] = path

    by_class = measurements(block.rows, "class")
    for key in [key for key in by_class if key[0] == "recall"]:
        name = f"recall-by-class-{_features(block, key, '-')}"
        keep(f"k-NN recall by class ({_features(block, key)})", name, partial(class_figure, block, key))
    for key in [key for key in by_class if key[0] == "downstream_recall" and key[2] != "real-lt"]:
        words = TRAINED_ON.get(key[2], key[2])
        keep(
            f"downstream recall by class, trained on {words}",
            f"downstream-recall-by-class-{words}",
            partial(class_figure, block, key),
        )
    if len(group_data(block)):
        keep("metrics by group of classes", "groups", partial(group_figure, block))
    keys = block.keys
    for fid in [key for key in keys if key[0] == "fid"]:
        for recall in [key for key in keys if key[:2] == ("recall", fid[1])]:
            if len(fid_recall_data(block, fid, recall)):
                title = f"FID against recall ({_features(block, fid)})"
                keep(title, f"fid-recall-{_features(block, fid, '-')}", partial(fid_recall_figure, block, fid, recall))
    if len(downstream_data(block)):
        keep("downstream accuracy by training set", "downstream", partial(downstream_figure, block))
    return made


def _features(block: Block, key: Key, between: str = " ") -> str:
    """The extractor, with the id of one of several measurements of its name."""
    return between.join(part for part in (key[1], twin_id(block, key)) if part)


@plain_style()
def class_figure(block: Block, key: Key) -> Figure:
    """Per-class recall against class count, one line a method."""
    figure, (ax,) = canvas(6.4, 4.2)
    reference = class_data(block, (key[0], key[1], "real-lt", key[3])) if key[2] else None
    draw_classes(class_data(block, key), ax, colors=palette(block), ylabel=measurement_name(key), reference=reference)
    return finish(figure, [ax], block, [key[3]])


@plain_style()
def group_figure(block: Block) -> Figure:
    """A panel a metric with bars for many, medium and few classes."""
    data = group_data(block)
    panels = list(dict.fromkeys(data["panel"]))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = canvas(3.2 * columns + 0.4, 2.4 * rows + 0.9, rows, columns)
    for panel, ax in zip(panels, axes, strict=False):
        draw_groups(data[data["panel"] == panel], ax, colors=palette(block))
    for ax in axes[len(panels) :]:
        ax.remove()
    ids = [key[3] for key in block.keys if name_in(block, key) in panels]
    note = "dashed: real half against real half" if data["floor"].notna().any() else ""
    note += ", dots: the score of as many images" if data["again"].notna().any() else ""
    return finish(figure, axes[: len(panels)], block, ids, note)


@plain_style()
def fid_recall_figure(block: Block, fid: Key, recall: Key) -> Figure:
    """FID against recall."""
    figure, (ax,) = canvas(5.6, 4.2)
    draw_fid_recall(fid_recall_data(block, fid, recall), ax, colors=palette(block), extractor=fid[1])
    return finish(figure, [ax], block, [fid[3], recall[3]])


@plain_style()
def downstream_figure(block: Block) -> Figure:
    """Downstream accuracy for each training set."""
    data = downstream_data(block)
    methods, bars = data["entry"].nunique(), data["entry"].nunique() * data["train_data"].nunique()
    figure, (ax,) = canvas(max(5.6, 1.6 + (0.5 if methods <= CROWDED else 0.2) * bars), 4.0)
    draw_downstream(data, ax, colors=palette(block))
    return finish(figure, [ax], block, [key[3] for key in block.keys if key[0] == "downstream_accuracy"])


def footer(block: Block, ids: Sequence[str], note: str = "") -> str:
    """What every plot says below itself: data set, preset, fingerprint, protocol ids, seeds."""
    unique = list(dict.fromkeys(ids))
    seeds = ", ".join(str(seed) for seed in block.seeds)
    protocols = f"protocol{'s' if len(unique) > 1 else ''} {', '.join(unique)}" if unique else ""
    words = [
        block.title,
        f"fingerprint {block.fingerprint}",
        protocols,
        f"seed{'s' if len(block.seeds) > 1 else ''} {seeds}",
        note,
    ]
    return " · ".join(word for word in words if word)


@plain_style()
def finish(figure: Figure, axes: Sequence[Axes], block: Block, ids: Sequence[str], note: str = "") -> Figure:
    """One legend above all panels, in rows that fit, and the footer below."""
    named = {
        label: handle for ax in reversed(axes) for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    labels = [
        *(name for name in block.entries if name in named),
        *(name for name in named if name not in block.entries),
    ]
    handles = [named[label] for label in labels]
    for ax in axes:
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
        ax.xaxis.label.set_fontsize(9)
        ax.yaxis.label.set_fontsize(9)
    widest = max((len(label) for label in labels), default=1)
    fits = max(1, int(figure.get_figwidth() / (0.085 * widest + 0.55)))
    figure.legend(handles, labels, loc="outside upper left", ncols=min(fits, len(labels)), frameon=False, fontsize=8)
    text = textwrap.fill(footer(block, ids, note), int(figure.get_figwidth() * 19))
    figure.supxlabel(text, fontsize=6.5, color="0.4", x=0.01, ha="left")
    return figure


def palette(block: Block) -> Colors:
    """A colour for each entry, the same in all plots of a block; more than twenty differ little."""
    names = block.entries
    if len(names) <= HUES:
        colors = sns.color_palette("colorblind", len(names))
    else:
        pairs = sns.color_palette("tab20")  # each hue dark and light
        colors = [*pairs[::2], *pairs[1::2]] if len(names) <= len(pairs) else sns.color_palette("husl", len(names))
    return dict(zip(names, colors, strict=False))


def _used(colors: Colors, data: pd.DataFrame) -> Colors:
    """The colours of the entries in `data`: seaborn wants no others."""
    return {name: colors[name] for name in dict.fromkeys(data["entry"])}


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
