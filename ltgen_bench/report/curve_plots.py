"""Scores against images seen and against cost, at several positions of each training: one line a method."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ltgen_bench.core.errors import BenchError
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.words import power
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.records.curve import load_curve
from ltgen_bench.records.store import StoredRun
from ltgen_bench.report.columns import TRAINED_ON, distinguishing_id, head, measurement_name
from ltgen_bench.report.entries import MEASUREMENT, Block, Key, each, measurements, select
from ltgen_bench.report.framing import Colors, finish, palette
from ltgen_bench.report.numbers import facts, show
from ltgen_bench.report.pictures import Drawings, canvas, plain_style
from ltgen_bench.report.table import Cell, Head, Row, Table

OF_IMAGES = ("", "synthetic")  # training sets of downstream metrics: the generated images alone
AXES = {"images": "training images seen", "flops": "training FLOPs", "seconds": "training seconds"}
COLUMNS = ["entry", *MEASUREMENT, "images", "flops", "seconds", "mean", "sd", "seeds"]


def curve_data(block: Block, runs: Sequence[StoredRun], progress: Progress = SILENT) -> pd.DataFrame:
    """The curves of the block's entries over all classes: COLUMNS, a row a position of each measurement of an entry.

    Mean and standard deviation (NaN for one) of the score over the seeds that have a curve, at the positions that all of
    these have; the seconds are means, too. Entries without a curve are left out, and damaged curves, which are reported.
    """
    files = {run.record.score_digest: run.files.curve for run in runs if run.record is not None and run.files is not None}
    keys = block.rows[["entry", "seed", "score_digest"]].drop_duplicates()
    frames = []
    for row in each(keys):
        file = files.get(row.score_digest)
        if file is not None and file.is_file():
            try:
                frames.append(load_curve(file).assign(entry=row.entry, seed=row.seed))
            except BenchError as error:
                progress.say(f"left out: {error}")
    if not frames:
        return pd.DataFrame(columns=COLUMNS)
    whole = pd.concat(frames, ignore_index=True)
    whole = whole[(whole["scope"] == "all") & whole["protocol"].isin(block.protocols)]
    # settings of one preset may share a measurement, which counts once
    whole = whole.drop_duplicates(["entry", "seed", *MEASUREMENT, "images"])
    whole["seeds"] = whole.groupby("entry")["seed"].transform("nunique")
    grouped = whole.groupby(["entry", *MEASUREMENT, "images"], sort=False)
    found = grouped.agg(flops=("flops", "mean"), seconds=("seconds", "mean"), mean=("value", "mean"), sd=("value", "std"),
                        measured=("seed", "nunique"), seeds=("seeds", "first")).reset_index()
    found = found[found["measured"] == found["seeds"]].dropna(subset=["mean"])
    order = {entry: place for place, entry in enumerate(block.entries)}
    found = found.assign(place=found["entry"].map(order)).sort_values(["place", *MEASUREMENT, "images"], kind="stable")
    return found[COLUMNS].reset_index(drop=True)


def draw_curve(data: pd.DataFrame, ax: Axes, *, cost: str, colors: Colors, ylabel: str, scale: float, log: bool) -> Axes:
    """A line an entry over one of AXES, with a band of one standard deviation over the seeds; a dot is a position."""
    alpha = 0.15 if data["entry"].nunique() <= 4 else 0.06  # many bands over each other hide the lines
    for entry, own in data.groupby("entry", sort=False):
        color, mean, sd = colors[str(entry)], own["mean"] * scale, own["sd"].fillna(0.0) * scale
        ax.plot(own[cost], mean, color=color, marker="o", markersize=3, linewidth=1.4, label=str(entry))
        if own["sd"].notna().any():
            low = (mean - sd).clip(lower=mean.min() / 10) if log else mean - sd
            ax.fill_between(own[cost], low, mean + sd, color=color, alpha=alpha, linewidth=0)
    ax.set(xlabel=AXES[cost], ylabel=ylabel, xlim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    return ax


@plain_style()
def curve_figure(block: Block, data: pd.DataFrame, key: Key) -> Figure:
    """One measurement against images, FLOPs and seconds, in three panels with one axis of scores."""
    fact = facts(key[0])
    log = fact.direction == "lower" and bool((data["mean"] > 0).all())
    figure, axes = canvas(9.6, 3.6, 1, len(AXES), sharey=True)
    for cost, ax in zip(AXES, axes, strict=True):
        label = measurement_name(key) if ax is axes[0] else ""
        draw_curve(data, ax, cost=cost, colors=palette(block), ylabel=label, scale=fact.scale, log=log)
    numbers = sorted(set(data["seeds"]))
    counts = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    note = "one seed" if numbers == [1] else f"mean and standard deviation over {counts} seeds"
    return finish(figure, axes, block, [key[3]], f"{note}; seconds as they were measured")


def run_curve(curve: pd.DataFrame) -> Table:
    """The curve of one run (`records.curve`) as a table: a row a position, a column a measurement over all classes."""
    whole = curve[(curve["scope"] == "all") & curve["train_data"].isin(OF_IMAGES)]
    keys = measurements(whole)
    heads = (Head("images seen", "images"), Head("FLOPs", "flops"), Head("seconds", "seconds"), *map(head, keys))
    rows = []
    for images, own in whole.groupby("images"):
        costs = (f"{images:,}", power(own["flops"].iloc[0]), f"{own['seconds'].iloc[0]:,.0f}")
        scores = ((key[0], float(select(own, key, "all")["value"].iloc[0])) for key in keys)
        rows.append(Row((*map(Cell, costs), *(Cell(show(metric, value), value) for metric, value in scores))))
    return Table("curve", "scores during training", heads, tuple(rows), ("All classes. The last row is the finished run.",))


def drawings(block: Block, data: pd.DataFrame) -> Drawings:
    """Return the curves in `data` (of `curve_data`) of metrics that have a curve among their `plots`."""
    found: Drawings = {}
    for key in [key for key in block.keys if "curve" in METRICS[key[0]].plots and key[2] in OF_IMAGES]:
        own = data[(data[MEASUREMENT] == list(key)).all(axis=1)]
        if own["images"].nunique() > 1:
            of = [word for word in (key[1], TRAINED_ON.get(key[2], ""), distinguishing_id(block, key)) if word]
            title = f"{facts(key[0]).title} ({', '.join(of)}) against images seen and cost"
            found[title] = "-".join(("curve", key[0], *of)), partial(curve_figure, block, own, key)
    return found
