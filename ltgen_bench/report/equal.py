"""What rows of one table can be required to be equal in: facts of the entry, and what its training cost."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import unknown_name
from ltgen_bench.core.words import count, power
from ltgen_bench.report.numbers import is_known

# word of --equal -> (column, its value in words). All of it belongs to the entry: rows that differ in it are ranked together
# unless they are required to be equal
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
# What the training cost, which is no part of the entry and never exactly equal: word -> (column, relative difference up to which
# entries count as equal in their mean over seeds, a value in words)
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
    """`rows` grouped by their values of `equal`: (the values in words, the rows that have them), in order of the values.

    Rows of which a value is not known are a group, too.
    """
    if not equal:
        return [((), rows)]
    words = list(dict.fromkeys(equal))
    columns = [_cost_groups(rows, *COSTS[word][:2]) if word in COSTS else rows[EQUAL[word][0]] for word in words]
    return [
        (tuple(_value_words(word, value) for word, value in zip(words, values, strict=True)), own)
        for values, own in rows.groupby(columns, sort=True, dropna=False)
    ]


def _value_words(word: str, value: Any) -> str:
    """`omega 1.5`; `omega unknown` for external samples."""
    words = COSTS[word][2] if word in COSTS else EQUAL[word][1]
    return words(value) if is_known(value) else f"{word} unknown"


def _cost_groups(rows: pd.DataFrame, column: str, share: float) -> "pd.Series[float]":
    """For each row the cost of its group: the smallest mean over seeds among entries within `share` of it."""
    entry = rows.groupby(ENTRY, dropna=False, sort=False).ngroup()
    runs = pd.DataFrame({"entry": entry, "seed": rows["seed"], "cost": rows[column].astype("float64")})
    means = runs.drop_duplicates(["entry", "seed"]).groupby("entry")["cost"].mean()
    least: dict[float, float] = {}
    start = math.nan
    for mean in sorted(means.dropna()):
        start = start if mean <= start * (1 + share) else mean
        least[mean] = start
    return entry.map(means.map(least)).rename(column)
