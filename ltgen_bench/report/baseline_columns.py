"""Real images beside scores: floors that compare with a score, the scores at the number of images of the others, and how far
a score lies from what is best.

All functions take tidy rows (of `records.rows` or of `Scores`) of one measurement.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ltgen_bench.report.numbers import facts


class Kind(NamedTuple):
    """One kind of floor: its columns (the value, its number of images, the score at that number), and its name in a table."""

    floor: str
    n: str
    at: str
    title: str
    images: str


HALVES = Kind("floor_half", "half_n", "at_half", "floor: real halves", "real halves")
TEST = Kind("floor_test", "test_n", "at_test", "floor: real test", "real test")
KINDS = (HALVES, TEST)


def beside_score(rows: pd.DataFrame, kind: Kind, metric: str) -> "pd.Series[float]":
    """The floors that compare with the scores of `rows` as they are, NaN for others.

    These are of as many images as the score, or the metric does not depend on their number. Earlier versions have not written
    down how many they were; such floors compare with nothing.
    """
    if not facts(metric).depends_on_n:
        return rows[kind.floor]
    return rows[kind.floor].where(rows[kind.n].notna() & rows[kind.at].isna())


def repeated(rows: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """The rows whose score was taken again, at the number of images of the floor."""
    return rows[rows[kind.at].notna() & rows[kind.floor].notna()]


def unknown_n(rows: pd.DataFrame, kind: Kind, metric: str) -> bool:
    """Whether a floor is left out because nobody wrote down of how many images it is."""
    return facts(metric).depends_on_n and bool((rows[kind.floor].notna() & rows[kind.n].isna()).any())


def number(rows: pd.DataFrame, kind: Kind) -> str:
    """`671`, or `640 to 671` where the rows differ: images of the floor."""
    counts = sorted({int(count) for count in rows[kind.n].dropna()})
    return " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))) if counts else ""


def is_few(row: Any, kind: Kind) -> bool:
    """Whether a floor is of fewer images than the metric takes to say much."""
    n, wanted = getattr(row, kind.n), getattr(row, "wanted")  # noqa: B009  (beside a name that is not known here)
    return bool(pd.notna(n) and pd.notna(wanted) and n < wanted)


def from_best(rows: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """How far each score is from the best there is; lower is better. NaN where that is not known.

    The score itself, its negative where higher is better, or its distance from what the metric is best nearest to: a number, or
    the score of as many real images, held-out ones where there are such.
    """
    fact = facts(metric)
    if fact.direction != "nearest":
        return rows["value"] if fact.direction == "lower" else -rows["value"]
    if fact.target is not None:
        return (rows["value"] - fact.target).abs()
    alike = beside_score(rows, TEST, metric)
    return (rows["value"] - alike).abs().fillna((rows[TEST.at] - rows[TEST.floor]).abs())


def beyond_real(rows: pd.DataFrame, metric: str) -> "pd.Series[Any]":
    """Whether each score is better than that of as many held-out real images: no gain, since nothing is more real.

    Collapsed and sharpened images are such; metrics that are best nearest to a value know no beyond.
    """
    fact = facts(metric)
    if fact.direction == "nearest":
        return pd.Series(np.zeros(len(rows), dtype=bool), index=rows.index)
    sign = 1.0 if fact.direction == "higher" else -1.0
    alike = sign * (rows["value"] - beside_score(rows, TEST, metric)) > 0
    return alike | (sign * (rows[TEST.at] - rows[TEST.floor]) > 0)
