"""What all pictures share: style, text of users that is drawn as it is, and going on without a picture that fails."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ltgen_bench.core.errors import DamagedError, Interrupted, MachineError
from ltgen_bench.core.files import write_atomically
from ltgen_bench.core.plain_text import printable

T = TypeVar("T")
Drawings = dict[str, tuple[str, Callable[[], Figure]]]  # title -> (file name without its ending, the function that draws it)

FONT = "DejaVu Sans"  # comes with matplotlib
# common fonts with the scripts that it lacks; those that are installed are used for missing letters
OTHER_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei",
               "WenQuanYi Micro Hei", "Droid Sans Fallback", "Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Yu Gothic",
               "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS", "Noto Sans", "Noto Sans Devanagari", "Noto Sans Thai")
LONGEST = 60  # letters of a name in a picture
COLORS = ("black", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")  # of Okabe and Ito, without yellow
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
SOFT = "0.55"  # the grey of leaders, notes and methods in the background


@contextmanager
def plain_style() -> Iterator[None]:
    """Use the style of all pictures, as a context or as a decorator, while one is made and saved."""
    # dollar signs start no formula, whatever the user's matplotlibrc sets
    with mpl.rc_context({"text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False,
                         "font.family": list(_fonts())}):
        yield


@cache
def _fonts() -> tuple[str, ...]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return (FONT, *(name for name in OTHER_FONTS if name in installed))


@cache
def _letters() -> frozenset[int]:
    """The code points that one of the fonts has."""
    files = [font_manager.findfont(name) for name in _fonts()]
    return frozenset(code for file in files for code in FT2Font(file).get_charmap())


def picture_text(text: str, longest: int = LONGEST) -> str:
    """`text` from a user as a picture shows it: one line, at most `longest` letters, only letters that the fonts have.

    A letter that no font has is written out (`\\u732b`). A name that begins with an underscore gets a space in front, since
    matplotlib leaves such names out of legends. Applying it twice changes nothing.
    """
    shown = "".join(letter if ord(letter) in _letters() else letter.encode("unicode_escape").decode("ascii")
                    for letter in printable(text))
    if len(shown) > longest:
        shown = f"{shown[: longest - longest // 3 - 1]}…{shown[-(longest // 3):]}"
    return f" {shown}" if shown.startswith("_") else shown


def picture_names(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """`picture_text` of each; different names stay different: one that was cut to the same text gets a number."""
    found: dict[str, str] = {}
    for name in names:
        if name not in found:
            shown, number = picture_text(name, longest), 1
            while shown in found.values():
                number += 1
                shown = f"{picture_text(name, longest - len(f' ({number})'))} ({number})"
            found[name] = shown
    return [found[name] for name in names]


def plain_log_axis(axis: Axis) -> None:
    """Numbers such as 0.05 and 200 at a logarithmic axis; matplotlib's own are formulas."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@plain_style()
def canvas(width: float, height: float, rows: int = 1, columns: int = 1, *, sharex: bool = False,
           sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure of inches, and its panels row by row, in the style of all plots."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).ravel().tolist()
    for ax in axes:
        ax.grid(axis="y", color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, axes


def labels_at_right(ax: Axes, x: Sequence[float], y: Sequence[float], names: Sequence[str],
                    styles: Sequence[tuple[str, str]] = ()) -> None:
    """Names in a column right of the panel, each as near to the height of its point as they do not overlap, with a thin leader.

    `styles` are markers and colours that stand before the names.
    """
    if not names:
        return
    ax.autoscale_view()
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)
    heights = (ax.transScale.transform([(1, at) for at in y])[:, 1] - ax.transScale.transform((1, low))[1]) / np.ptp(
        ax.transScale.transform([(1, low), (1, high)])[:, 1])
    order = np.argsort(heights)
    for at, place in zip(order, _apart(heights[order], min(1 / max(len(names) - 1, 1), 0.062)), strict=True):
        leader = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 9 if styles else 1}
        ax.annotate(names[at], (x[at], y[at]), xytext=(1.07 if styles else 1.04, place), textcoords="axes fraction", fontsize=7.5,
                    va="center", annotation_clip=False, arrowprops=leader | {"shrinkB": 4})
        if styles:
            marker, color = styles[at]
            ax.plot(1.05, place, marker, color=color, markersize=4, transform=ax.transAxes, clip_on=False)


def _apart(heights: np.ndarray, step: float) -> np.ndarray:
    """Return the ascending `heights` moved as little as needed for distances of `step`, within [0, 1] where they fit."""
    steps = step * np.arange(len(heights))
    targets = heights - steps
    # nearest non-decreasing sequence: means of blocks that would be out of order
    blocks: list[list[float]] = []
    for target in targets:
        blocks.append([float(target), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value, count = blocks.pop()
            before, number = blocks[-1]
            blocks[-1] = [(before * number + value * count) / (number + count), number + count]
    fitted = np.concatenate([[value] * int(count) for value, count in blocks])
    return np.asarray(np.clip(fitted, 0.0, max(1.0 - steps[-1], 0.0)) + steps)


@plain_style()
def save(figure: Figure, path: Path, dpi: int = 130) -> Path:
    """Write a figure as PNG, whole or not at all, without date and version, so that equal figures are equal files."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # long names leave no space
        write_atomically(path, lambda part: figure.savefig(part, format="png", dpi=dpi, metadata={"Software": None}))
    return path


def save_drawings(drawings: Drawings, folder: Path, say: Callable[[str], object]) -> dict[str, Path]:
    """Draw each figure and write it into `folder`; returns title -> file. One that fails is reported to `say` and left out."""
    made = {}
    for title, (name, draw) in drawings.items():
        figure = attempt(f"the plot '{title}'", draw, say)
        path = folder / f"{name}.png"
        if figure is not None and attempt(f"the plot '{title}'", partial(save, figure, path), say) is not None:
            made[title] = path
    return made


def attempt(what: str, draw: Callable[[], T], say: Callable[[str], object]) -> T | None:
    """What `draw` returns; where it fails, None, and a sentence to `say`. Errors of the disk and interruptions are raised."""
    try:
        return draw()
    except (Interrupted, OSError):
        raise
    except Exception as error:
        if isinstance(error, MachineError) and not isinstance(error, DamagedError):
            raise
        say(f"{what} could not be drawn ({type(error).__name__}: {printable(str(error))}); continuing without it.")
        return None
