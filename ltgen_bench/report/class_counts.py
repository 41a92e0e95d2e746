"""The class counts of a long-tailed data set as a picture."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ltgen_bench.data.groups import GROUPS
from ltgen_bench.files import write_whole

NAMED = 12  # classes whose names fit under the axis


def class_count_plot(counts: Sequence[int], class_names: Sequence[str], groups: Mapping[str, Sequence[int]], name: str,
                     path: Path) -> None:
    """Write a PNG: training images of each class from head to tail, on a logarithmic axis, coloured by thirds."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    place = {label: rank for rank, label in enumerate(order)}
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6.4, 3.4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for group, color in zip(GROUPS, sns.color_palette("viridis", 3), strict=True):
            classes = groups[f"{group}@thirds"]
            axes.bar([place[c] for c in classes], [counts[c] for c in classes], width=0.9 if len(counts) <= 50 else 1.0,
                     color=color, label=f"{group} ({len(classes)})")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.set_ylim(bottom=0.8 * min(counts))
        if len(counts) <= NAMED:
            axes.set_xticks(range(len(counts)), [class_names[c] for c in order])
        axes.set_xlabel("classes from head to tail")
        axes.set_ylabel("training images")
        axes.set_title(f"{name}: {sum(counts):,} images, {max(counts):,} to {min(counts):,} a class", fontsize=10)
        axes.legend(title="thirds", frameon=False)
        write_whole(path, partial(figure.savefig, format="png"))
