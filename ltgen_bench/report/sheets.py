"""Pictures of images: a sheet of the samples of a run, and of several methods side by side; and the loss curve."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt8
from matplotlib.figure import Figure

from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import count
from ltgen_bench.data.images import ImageSet, SampleSet
from ltgen_bench.report.pictures import attempt, picture_names, picture_text, plain_log_axis, plain_style, save

TILE = 36  # pixels that a small image is enlarged to at least
GAP = 2
MAX_CLASSES = 100
SHEET_CLASSES = 10  # of the sheet of all methods
HIGHEST = 30_000  # pixels of a sheet; matplotlib draws none beyond 65,535
NAME_LETTERS = 40  # of a class
LETTER = 8  # pixels of a letter of a class, and about those of a title's
NOT_LOSSES = {
    "images",
    "step",
    "learning_rate",
    "images_per_second",
    "gradient_norm",
    "grad_norm",
    "seconds",
    "time",
    "ema_decay",
}


def draw_sample_sheet(samples: ImageSet, class_names: Sequence[str], class_counts: Sequence[int], path: Path,
                      say: Callable[[str], object]) -> None:
    """Write the `sample_sheet` of `samples`; where it cannot be drawn, `say` is told, and there is none."""
    attempt("the sheet of samples", partial(sample_sheet, samples.images, samples.labels, class_names, class_counts, path), say)


def sample_sheet(
    images: UInt8[np.ndarray, "M C H W"],
    labels: Int64[np.ndarray, " M"],
    class_names: Sequence[str],
    class_counts: Sequence[int],
    path: Path,
    per_class: int = 10,
) -> Path:
    """Write a PNG of generated images: a row a class from head to tail, with its name and number of training images.

    Of more than 100 classes (fewer for large images) evenly chosen ones are shown. Images are enlarged without smoothing.
    """
    order = _shown(class_counts, min(MAX_CLASSES, max(1, HIGHEST // (max(TILE, images.shape[2]) + GAP))))
    return _save_sheet([("", ImageSet(images, labels))], order, class_names, class_counts, per_class, path, "")


def methods_sheet(
    samples: Mapping[str, SampleSet],
    class_names: Sequence[str],
    class_counts: Sequence[int],
    path: Path,
    footer: str = "",
) -> Path:
    """Write a PNG with a block of images for each entry (name -> samples), side by side, on the same seeds.

    Image j of a class has the same seed in every block: only images whose (label, seed) all entries have are shown.
    """
    order = _shown(class_counts)
    chosen = [order[place] for place in np.unique(np.linspace(0, len(order) - 1, SHEET_CLASSES).round().astype(int))]
    per_class = max(3, min(10, 30 // len(samples)))
    return _save_sheet(list(on_same_seeds(samples).items()), chosen, class_names, class_counts, per_class, path, footer)


def on_same_seeds(samples: Mapping[str, SampleSet]) -> dict[str, ImageSet]:
    """The images whose (label, seed) every entry has, in the same order for all."""
    found = {name: {key: place for place, key in enumerate(zip(one.labels.tolist(), one.seeds.tolist(), strict=True))}
             for name, one in samples.items()}
    common = sorted(set.intersection(*map(set, found.values())))
    places = {name: np.array([own[key] for key in common], dtype=np.int64) for name, own in found.items()}
    return {name: ImageSet(one.images[places[name]], one.labels[places[name]]) for name, one in samples.items()}


def head_to_tail(class_counts: Sequence[int]) -> list[int]:
    """Class labels by falling class count, of equal ones the lower first."""
    return [int(label) for label in np.argsort(-np.asarray(class_counts), kind="stable")]


def _shown(class_counts: Sequence[int], most: int = MAX_CLASSES) -> list[int]:
    order = head_to_tail(class_counts)
    if len(order) <= most:
        return order
    return [order[place] for place in np.linspace(0, len(order) - 1, most).round().astype(int)]


def grid(
    images: UInt8[np.ndarray, "M C H W"], labels: Int64[np.ndarray, " M"], classes: Sequence[int], per_class: int
) -> UInt8[np.ndarray, "height width 3"]:
    """The first `per_class` images of each of `classes` as rows of tiles on white, enlarged by a whole factor."""
    _, channels, height, width = images.shape
    factor = max(1, -(-TILE // max(height, width)))
    tile_h, tile_w = height * factor, width * factor
    canvas = np.full((len(classes) * (tile_h + GAP) - GAP, per_class * (tile_w + GAP) - GAP, 3), 255, dtype=np.uint8)
    for row, label in enumerate(classes):
        for column, image in enumerate(images[labels == label][:per_class]):
            large = image.repeat(factor, axis=1).repeat(factor, axis=2).transpose(1, 2, 0)
            top, left = row * (tile_h + GAP), column * (tile_w + GAP)
            canvas[top : top + tile_h, left : left + tile_w] = large if channels == 3 else large[:, :, :1]
    return canvas


@plain_style()
def _save_sheet(
    blocks: Sequence[tuple[str, ImageSet]],
    classes: Sequence[int],
    names: Sequence[str],
    counts: Sequence[int],
    per_class: int,
    path: Path,
    footer: str,
) -> Path:
    """The figure is as large as its tiles in pixels, so that nothing is resampled."""
    grids = [grid(one.images, one.labels, classes, per_class) for _, one in blocks]
    height, width = grids[0].shape[:2]
    shown = picture_names([names[label] for label in classes], NAME_LETTERS)
    labels = [f"{name} ({counts[label]:,})" for name, label in zip(shown, classes, strict=True)]
    titles = picture_names([name for name, _ in blocks], max(12, width // LETTER))
    left, top, bottom, between = (
        14 + LETTER * max(len(text) for text in labels),
        30 if blocks[0][0] else 8,
        26 if footer else 8,
        18,
    )
    total_w, total_h = left + len(grids) * (width + between) - between + 8, top + height + bottom
    dpi = 130
    figure = Figure(figsize=(total_w / dpi, total_h / dpi))
    for place, (name, canvas) in enumerate(zip(titles, grids, strict=True)):
        at = left + place * (width + between)
        ax = figure.add_axes((at / total_w, bottom / total_h, width / total_w, height / total_h))
        ax.imshow(canvas, interpolation="nearest", aspect="auto")
        ax.axis("off")
        ax.set_title(name, fontsize=8, pad=5)
    row = height / len(classes)
    for place, text in enumerate(labels):
        y = (bottom + height - (place + 0.5) * row) / total_h
        figure.text((left - 6) / total_w, y, text, ha="right", va="center", fontsize=7)
    if footer:
        figure.text(6 / total_w, 8 / total_h, footer, fontsize=5.5, color="0.4")
    return save(figure, path)


def read_log(path: Path) -> pd.DataFrame:
    """The numbers of a training log (JSON lines) by images seen; a last line cut short by a kill is left out."""
    records: list[dict[str, Any]] = []
    for line in path.read_bytes().decode("utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the process was killed while writing this line
        if isinstance(record, dict) and "images" in record and "loss" in record:
            records.append({printable(name): value for name, value in record.items() if isinstance(value, int | float)})
    if not records:
        return pd.DataFrame(columns=["images", "loss"])
    return pd.DataFrame(records).drop_duplicates("images", keep="last").sort_values("images").reset_index(drop=True)


def loss_data(log: pd.DataFrame) -> pd.DataFrame:
    """What the loss curve draws: images, term, value, smooth (running mean over a 40th of the log), `loss` first."""
    # a method with one term logs it as the loss and under its name; it is drawn once
    named = [name for name in log.columns if name not in NOT_LOSSES and name != "loss"]
    terms = ["loss", *(name for name in named if not log[name].equals(log["loss"].rename(name)))]
    window = max(1, len(log) // 40)
    frames = [
        pd.DataFrame(
            {
                "images": log["images"],
                "term": term,
                "value": log[term],
                "smooth": log[term].rolling(window, min_periods=1).mean(),
            }
        )
        for term in terms
    ]
    return pd.concat(frames, ignore_index=True)


@plain_style()
def loss_curve(log: Path, out: Path) -> Path | None:
    """Plot loss and its named terms over images seen into `out`; None (and no file) when nothing is logged yet."""
    numbers = read_log(log)
    if numbers.empty:
        return None
    data = loss_data(numbers)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = figure.subplots()
    for term, part in data.groupby("term", sort=False):
        (line,) = ax.plot(part["images"], part["smooth"], linewidth=1.8 if term == "loss" else 1.2, label=picture_text(str(term)))
        ax.plot(part["images"], part["value"], color=line.get_color(), linewidth=0.6, alpha=0.25)
    positive = data["value"][data["value"] > 0]
    if len(positive) == len(data.dropna()) and math.log10(positive.max() / positive.min()) > 1:
        ax.set_yscale("log")
        plain_log_axis(ax.yaxis)
    ax.xaxis.set_major_formatter(lambda value, _: count(value))
    ax.set(xlabel="training images seen", ylabel="loss")
    ax.grid(color="0.9", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    if data["term"].nunique() > 1:
        ax.legend(frameon=False, fontsize=8, ncols=3)
    return save(figure, out)
