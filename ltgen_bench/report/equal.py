"""What rows can be asked to be equal in: facts of the entry, and what its training cost."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import unknown_name
from ltgen_bench.core.words import count, power
from ltgen_bench.report.numbers import is_known

# word of --equal -> (column, its value in words); all of it belongs to the entry, so rows that differ in it are ranked
# together unless they are kept apart
EQUAL: dict[str, tuple[str, Callable[[Any], str]]] = {
    "sampler": ("sampler", "sampler {}".format),
    "steps": ("steps", "{} steps".format),
    "omega": ("omega", "omega {:g}".format),
    "budget": ("budget_images", lambda value: f"{count(value)} images seen"),
    "images": ("images_per_class", "{} images a class".format),
    "network": ("network", "network {}".format),
    "batch": ("batch_size", "batch {}".format),
    "augment": ("augment", "augmentation {}".format),
    "process": ("process", "process {}".format),
}
# Likewise of what the training cost, which belongs to no entry and is never quite equal: word -> (column, the share by which
# entries may differ in their mean over seeds, a value in words)
COSTS: dict[str, tuple[str, float, Callable[[Any], str]]] = {
    "flops": ("train_flops", 0.02, lambda value: f"about {power(value)} training FLOPs"),
    "seconds": ("train_seconds", 0.1, "about {:.0f} s of training".format),
}
ENTRY = ["label", "train_digest", *(column for column, _ in EQUAL.values())]


def check_equal(words: Iterable[str]) -> None:
    """Refuse words that are neither in EQUAL nor in COSTS."""
    for word in words:
        if word not in EQUAL and word not in COSTS:
            raise unknown_name("word of --equal", word, [*EQUAL, *COSTS])


def split_equal(rows: pd.DataFrame, equal: Sequence[str]) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """`rows` apart by their values of `equal`: (the values in words, the rows that have them), in order of the values.

    Rows of which a value is not known stand apart, too.
    """
    if not equal:
        return [((), rows)]
    words = list(dict.fromkeys(equal))
    columns = [_alike(rows, *COSTS[word][:2]) if word in COSTS else rows[EQUAL[word][0]] for word in words]
    return [
        (tuple(_said(word, value) for word, value in zip(words, values, strict=True)), own)
        for values, own in rows.groupby(columns, sort=True, dropna=False)
    ]


def _said(word: str, value: Any) -> str:
    """`omega 1.5`; `omega unknown` of images from elsewhere."""
    words = COSTS[word][2] if word in COSTS else EQUAL[word][1]
    return words(value) if is_known(value) else f"{word} unknown"


def _alike(rows: pd.DataFrame, column: str, share: float) -> "pd.Series[float]":
    """For each row the cost that stands for its group: the least mean over seeds of entries that lie within `share` of it."""
    entry = rows.groupby(ENTRY, dropna=False, sort=False).ngroup()
    runs = pd.DataFrame({"entry": entry, "seed": rows["seed"], "cost": rows[column].astype("float64")})
    means = runs.drop_duplicates(["entry", "seed"]).groupby("entry")["cost"].mean()
    least: dict[float, float] = {}
    start = math.nan
    for mean in sorted(means.dropna()):
        start = start if mean <= start * (1 + share) else mean
        least[mean] = start
    return entry.map(means.map(least)).rename(column)
