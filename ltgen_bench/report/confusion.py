"""Confusion matrices: as which classes a classifier of the real images classifies the images generated for each class."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from ltgen_bench.records.store import StoredRun
from ltgen_bench.report.entries import Block, each
from ltgen_bench.report.framing import footer
from ltgen_bench.report.pictures import Drawings, picture_names, plain_style
from ltgen_bench.report.sheets import head_to_tail

NAMED = 30  # classes; with more the ticks have no names
NUMBERED = 12  # classes; with more the cells have no numbers
NAME_LETTERS = 20  # of a class
FEW_PERCENT = 0.01  # smaller shares have no number


def confusion_data(block: Block, runs: Sequence[StoredRun], extractor: str) -> dict[str, Float64[np.ndarray, "K K"]]:
    """Entry -> shares from head to tail, mean over seeds: row c of the images generated for class c, by predicted class.

    NaN in a row of which no seed has images. Entries without a stored confusion matrix are left out.
    """
    stored = {run.record.score_digest: run for run in runs if run.record is not None}
    wanted = block.rows[block.rows["extractor"] == extractor][["entry", "seed", "score_digest"]].drop_duplicates()
    tables: dict[str, list[np.ndarray]] = {}
    for row in each(wanted):
        run = stored.get(row.score_digest)
        table = run.scores.confusions.get(extractor) if run is not None else None
        if run is not None and run.record is not None and table is not None:
            order = head_to_tail(run.record.class_counts)
            shares = np.asarray(table, dtype=np.float64)[np.ix_(order, order)]
            tables.setdefault(str(row.entry), []).append(np.where(shares < 0, np.nan, shares))
    return {entry: pd.DataFrame(np.concatenate(found)).groupby(np.tile(np.arange(len(found[0])), len(found))).mean().to_numpy()
            for entry, found in tables.items()}


def draw_confusion(shares: Float64[np.ndarray, "K K"], ax: Axes, *, title: str, names: Sequence[str]) -> Axes:
    """A square of shares from white to dark, small ones lifted; `names` from head to tail."""
    size = len(shares)
    text = np.array([[f"{share:.0%}".rstrip("%") if share >= FEW_PERCENT else "" for share in row] for row in shares])
    ticks = list(names) if size <= NAMED else False
    sns.heatmap(shares, ax=ax, cmap="Blues", norm=PowerNorm(0.5, 0, 1), square=True, cbar=False, xticklabels=ticks,
                yticklabels=ticks, annot=text if size <= NUMBERED else None, fmt="", annot_kws={"fontsize": 7},
                linewidths=0.5 if size <= NAMED else 0, linecolor="0.93")
    ax.tick_params(labelsize=7, length=0)
    ax.tick_params(axis="x", rotation=90 if size <= NAMED and max(map(len, names)) > 2 else 0)
    ax.tick_params(axis="y", rotation=0)
    ax.set_title(title, fontsize=9)
    ax.set_xlabel("predicted class, from head to tail", fontsize=8)
    ax.set_ylabel("generated for class", fontsize=8)
    return ax


@plain_style()
def confusion_figure(found: Mapping[str, Float64[np.ndarray, "K K"]], names: Sequence[str], note: str) -> Figure:
    """A panel an entry, at most three beside each other, and `note` below."""
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    side = 3.6 if len(names) <= NUMBERED else 4.2
    figure = Figure(figsize=(side * columns + 0.3, side * rows + 0.4))
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.2 / figure.get_figheight()))  # squares push their titles out
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for (entry, shares), ax in zip(found.items(), axes, strict=False):
        draw_confusion(shares, ax, title=entry, names=names)
    for ax in axes[len(found):]:
        ax.remove()
    figure.supxlabel(textwrap.fill(note, int(figure.get_figwidth() * 19)), fontsize=6.5, color="0.4", x=0.01, ha="left")
    return figure


def drawings(block: Block, runs: Sequence[StoredRun]) -> Drawings:
    """Return the confusion matrices of every extractor that classifies the classes."""
    found: Drawings = {}
    for extractor in map(str, dict.fromkeys(block.rows["extractor"])):
        if shares := confusion_data(block, runs, extractor):
            record = next(run.record for run in runs if run.record is not None)
            names = picture_names([record.class_names[label] for label in head_to_tail(record.class_counts)], NAME_LETTERS)
            ids = block.rows[(block.rows["extractor"] == extractor) & (block.rows["metric"] == "label_accuracy")]["protocol"]
            note = footer(block, list(ids), "percent of the images generated for a class, mean over seeds")
            found[f"confusion matrix of the {extractor}"] = (
                f"confusion-{extractor}", partial(confusion_figure, shares, names, note))
    return found
