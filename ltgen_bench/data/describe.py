"""Description of a long-tailed data set for `data show`: counts, groups, reference sets, checksums and a curve."""

from typing import Any

import numpy as np

from ltgen_bench.data.catalog import DataSource
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.groups import all_groups
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.overlap import equal_images
from ltgen_bench.data.parts import origin_words
from ltgen_bench.data.splits import NATURAL, Split, standard_split

BARS = " ▁▂▃▄▅▆▇█"


def describe(dataset: LongTailDataset) -> dict[str, Any]:
    """Return everything that `data show` prints, as plain JSON values."""
    assert dataset.split is not None, "a loaded data set has a split"
    return {
        **_common(dataset.name, dataset.split, dataset.class_names, dataset.class_counts, dataset.image_shape, dataset.flip),
        "fingerprint": dataset.fingerprint,
        "references": {name: _sizes(images, dataset.num_classes) for name, images in (
            ("train", dataset.reference), ("test", dataset.test), ("longtail", dataset.train)) if len(images)},
        "default_reference": "train" if dataset.reference_is_balanced else "test", "test_part": dataset.test_part,
        "test_equal_to_training": equal_images(dataset)}


def describe_manifest(name: str, split: Split, source: DataSource) -> dict[str, Any]:
    """Return `describe` of a data set whose images are missing, from its manifest: without fingerprint and references."""
    assert split.ranks is not None, "a standard split names its images"
    counts = [len(own) for own in split.ranks]
    names = source.class_names or tuple(str(c) for c in range(len(counts)))
    return {**_common(name, split, names, counts, source.image_shape, source.flip), "fingerprint": None, "references": {
        "longtail": {"images": sum(counts), "smallest_class": min(counts), "largest_class": max(counts)}},
        "default_reference": "train"}


def _common(name: str, split: Split, class_names: tuple[str, ...], counts: list[int], image_shape: tuple[int, int, int] | None,
            flip: bool) -> dict[str, Any]:
    shape = dict(zip(("channels", "height", "width"), image_shape, strict=True)) if image_shape else None
    return {"name": name, "classes": list(class_names), "class_counts": counts, "image": shape, "mirrored": flip,
            "imbalance_factor": split.imbalance_factor, "profile": split.profile, "groups": all_groups(counts),
            "split": {"sha256": split.sha256, "source": split.source, "seed": split.seed, "class_order": split.class_order,
                      "shipped": is_shipped(split)}}


def _sizes(images: ImageSet, num_classes: int) -> dict[str, int]:
    counts = np.bincount(images.labels, minlength=num_classes)
    return {"images": len(images), "smallest_class": int(counts.min()), "largest_class": int(counts.max())}


def is_shipped(split: Split) -> bool:
    """Return whether the manifest is one that ships with the package."""
    standard = None if split.imbalance_factor is None else standard_split(split.dataset, split.imbalance_factor)
    return standard is not None and standard.sha256 == split.sha256


def split_words(facts: dict[str, Any]) -> str:
    """Return how the training images were chosen, such as `exp, factor 100, split seed 0`; `facts` come from `describe`."""
    if facts["profile"] == NATURAL:
        return "all images, as many of each class as there are"
    split = facts["split"]
    order = "" if split["class_order"] is None else f", class order {split['class_order']}"
    return f"{facts['profile']}, factor {facts['imbalance_factor']:g}, split seed {split['seed']}{order}"


def reference_words(facts: dict[str, Any]) -> dict[str, str]:
    """Return set name -> description of each set of real images to compare with; `facts` come from `describe`."""
    balanced = facts["default_reference"] == "train"
    return {"train": "the balanced training set" if balanced else "all training images, not balanced",
            "test": origin_words(facts["test_part"]), "longtail": "the images that a model trains on"}


def size_words(sizes: dict[str, int]) -> str:
    """Return `50,000 images, 5,000 a class` or `441 images, 6 to 131 a class`."""
    low, high = sizes["smallest_class"], sizes["largest_class"]
    return f"{sizes['images']:,} images, {f'{low:,}' if low == high else f'{low:,} to {high:,}'} a class"


def group_lines(groups: dict[str, list[int]], counts: list[int], names: list[str], most: int = 6) -> list[tuple[str, str]]:
    """Return (group, its classes in words) of each group, including empty ones."""
    def words(classes: list[int]) -> str:
        inside = sorted(classes, key=lambda c: (-counts[c], c))
        shown = ", ".join(names[c] for c in inside[:most]) + (", ..." if len(inside) > most else "")
        low, high = counts[inside[-1]], counts[inside[0]]
        many = "1 class" if len(inside) == 1 else f"{len(inside)} classes"
        return f"{many}, {f'{low:,}' if low == high else f'{high:,} to {low:,}'} images: {shown}"

    return [(group, words(classes) if classes else "empty") for group, classes in groups.items()]


def curve(counts: list[int], width: int, height: int = 8) -> list[str]:
    """Return a bar chart of the class counts from head to tail, as lines of at most `width` characters starting from 0.

    A class is at most four columns wide; with more classes than columns, a column is the mean of its classes.
    """
    ordered = sorted(counts, reverse=True)
    margin = len(f"{ordered[0]:,}") + 2
    columns = max(8, width - margin)
    if len(ordered) > columns:
        values = [float(np.mean(part)) for part in np.array_split(np.asarray(ordered), columns)]
    else:
        values = [float(count) for count in ordered for _ in range(max(1, min(4, columns // len(ordered))))]
    eighths = [max(1, round(value / ordered[0] * height * 8)) for value in values]
    lines = []
    for row in range(height - 1, -1, -1):
        label = {height - 1: f"{ordered[0]:,}", 0: f"{ordered[-1]:,}"}.get(row, "")
        bars = "".join(BARS[min(max(eighth - 8 * row, 0), 8)] for eighth in eighths)
        lines.append(f"{label:>{margin - 2}} {'┤' if label else '│'}{bars}".rstrip())
    return [*lines, f"{'':>{margin - 2}} └{'─' * len(values)}", f"{'':>{margin}}head{'tail':>{max(len(values) - 4, 5)}}"]
