"""The class counts of a long-tailed data set as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ltgen_bench.data.groups import GROUPS

NAMED = 12  # classes whose names fit under the axis
NAME_LETTERS = 20
ACROSS = 70  # letters that fit in one line under the axis; with more the names are upright


def class_count_plot(counts: Sequence[int], class_names: Sequence[str], groups: Mapping[str, Sequence[int]], name: str,
                     path: Path) -> None:
    """Write a PNG: training images of each class from head to tail, on a logarithmic axis, coloured by thirds."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.figure import Figure

    from ltgen_bench.report.pictures import picture_names, picture_text, plain_log_axis, plain_style, save

    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    place = {label: rank for rank, label in enumerate(order)}
    with plain_style(), mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        for group, color in zip(GROUPS, sns.color_palette("viridis", 3), strict=True):
            classes = groups[f"{group}@thirds"]
            axes.bar([place[c] for c in classes], [counts[c] for c in classes], width=0.9 if len(counts) <= 50 else 1.0,
                     color=color, label=f"{group} ({len(classes)})")
        axes.set_yscale("log")
        plain_log_axis(axes.yaxis)
        axes.set_ylim(bottom=0.8 * min(counts))
        if len(counts) <= NAMED:
            names = picture_names([class_names[c] for c in order], NAME_LETTERS)
            upright = len(names) * max(map(len, names)) > ACROSS
            axes.set_xticks(range(len(counts)), names, rotation=90 if upright else 0)
        axes.set_xlabel("classes from head to tail")
        axes.set_ylabel("training images")
        axes.set_title(f"{picture_text(name)}: {sum(counts):,} images, {max(counts):,} to {min(counts):,} a class", fontsize=10)
        axes.legend(title="thirds", frameon=False)
        save(figure, path, dpi=150)
