"""What stands around the panels of every plot of a report: the legend, the text below, and the colours of the methods."""

import textwrap
from collections.abc import Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ltgen_bench.report.entries import Block
from ltgen_bench.report.pictures import plain_style

Colors = dict[str, tuple[float, float, float]]

HUES = 10  # colours that colour-blind readers tell apart


def footer(block: Block, ids: Sequence[str], note: str = "") -> str:
    """The text below every plot: data set, preset, fingerprint, protocol ids, seeds, and `note`."""
    parts = {"protocol": list(dict.fromkeys(ids)), "seed": [str(seed) for seed in block.seeds]}
    words = [f"{name}{'s' if len(values) > 1 else ''} {', '.join(values)}" for name, values in parts.items() if values]
    return " · ".join(filter(None, (block.title, f"fingerprint {block.fingerprint}", *words, note)))


@plain_style()
def finish(figure: Figure, axes: Sequence[Axes], block: Block, ids: Sequence[str], note: str = "") -> Figure:
    """One legend above all panels, in rows that fit, and the footer below."""
    named = {label: handle for ax in reversed(axes) for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    labels = [*(name for name in block.entries if name in named), *(name for name in named if name not in block.entries)]
    handles = [named[label] for label in labels]
    for ax in axes:
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
        ax.xaxis.label.set_fontsize(9)
        ax.yaxis.label.set_fontsize(9)
    widest = max((len(label) for label in labels), default=1)
    fits = max(1, int(figure.get_figwidth() / (0.085 * widest + 0.55)))
    if labels:
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
