"""Baseline scores: what real images score against the reference, as rows and notes below tables, and what follows from them.

Two kinds are measured: one half of the real images against the other half, and held-out test images against the reference.
A metric that depends on the number of images n compares only at equal n. Where a baseline score is of another n, the score of
the generated images is measured again at that n (columns `at_half` and `at_test`).

All functions take tidy rows (of `records.rows` or of `Scores`) of one measurement.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ltgen_bench.core.words import listed
from ltgen_bench.report.entries import Block, Key
from ltgen_bench.report.numbers import MISSING, facts, marked, show
from ltgen_bench.report.table import Cell, Row


class Baseline(NamedTuple):
    """One kind of baseline score: its columns (score, its n, the generated images' score at that n), and its name."""

    score: str
    n: str
    score_at_n: str
    images: str

    @property
    def title(self) -> str:
        """What its row is called."""
        return f"baseline: {self.images}"


REAL_HALVES = Baseline("floor_half", "half_n", "at_half", "real halves")
REAL_TEST = Baseline("floor_test", "test_n", "at_test", "real test")
BASELINES = (REAL_HALVES, REAL_TEST)

BASELINE_NOTE = (
    "Baseline scores are those of real images: one half of them against the other half, and held-out test images against the "
    "reference."
)
AT_N_NOTE = (
    "Where a baseline score is of another number of images n, the last rows of the table compare it with the scores measured "
    "again at that n."
)
UNKNOWN_N_NOTE = (
    "Some baseline scores are not shown: an earlier version measured them and did not record their number of images. "
    "ltgen-bench evaluate measures them again."
)


def comparable(rows: pd.DataFrame, kind: Baseline, metric: str) -> "pd.Series[float]":
    """The baseline scores that compare with the scores of `rows` as they are, NaN for others.

    They have the same n as the score, or the metric does not depend on n. Of unknown n (earlier versions) none compares.
    """
    if not facts(metric).depends_on_n:
        return rows[kind.score]
    return rows[kind.score].where(rows[kind.n].notna() & rows[kind.score_at_n].isna())


def measured_again(rows: pd.DataFrame, kind: Baseline) -> pd.DataFrame:
    """The rows whose score was measured again, at the n of the baseline score."""
    again = rows[kind.score_at_n].notna()
    return rows[again & rows[kind.score].notna()] if again.any() else rows.iloc[:0]


def number_of_images(rows: pd.DataFrame, kind: Baseline) -> str:
    """The n of the baseline scores: `671`, or `640 to 671` where the rows differ."""
    counts = rows[kind.n].dropna()
    return " to ".join(dict.fromkeys((f"{counts.min():,}", f"{counts.max():,}"))) if len(counts) else ""


def few_images(rows: pd.DataFrame, kind: Baseline) -> "pd.Series[bool]":
    """Whether each baseline score is of fewer images than the metric takes to say much."""
    return (rows[kind.n].astype("Int64") < rows["wanted"].astype("Int64")).fillna(False).astype(bool)


def distance_from_best(rows: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """How far each score is from the best possible one; lower is better. NaN where that is not known.

    The score itself, its negative where higher is better, or its distance from the metric's target: a number, or the score of
    as many held-out real images.
    """
    fact = facts(metric)
    if fact.direction != "nearest":
        return rows["value"] if fact.direction == "lower" else -rows["value"]
    if fact.target is not None:
        return (rows["value"] - fact.target).abs()
    same_n = comparable(rows, REAL_TEST, metric)
    return (rows["value"] - same_n).abs().fillna((rows[REAL_TEST.score_at_n] - rows[REAL_TEST.score]).abs())


def better_than_real(rows: pd.DataFrame, metric: str) -> "pd.Series[Any]":
    """Whether each score is better than that of as many held-out real images, as of collapsed or sharpened images.

    Never for metrics that are best nearest to a value.
    """
    fact = facts(metric)
    if fact.direction == "nearest":
        return pd.Series(np.zeros(len(rows), dtype=bool), index=rows.index)
    sign = 1.0 if fact.direction == "higher" else -1.0
    same_n = sign * (rows["value"] - comparable(rows, REAL_TEST, metric)) > 0
    return same_n | (sign * (rows[REAL_TEST.score_at_n] - rows[REAL_TEST.score]) > 0)


def mean_cell(metric: str, values: Float64[np.ndarray, " n"], few: str = "") -> Cell:
    """Mean and standard deviation (n - 1) of `values` over seeds without NaN, marked where they are of too `few` images."""
    known = values[~np.isnan(values)]
    mean, spread = float(known.mean()) if len(known) else math.nan, float(known.std(ddof=1)) if len(known) > 1 else math.nan
    return Cell(marked(show(metric, mean, spread), bool(few)), mean, spread, len(known), few=few)


def baseline_rows(block: Block, columns: Sequence[tuple[Key, str]], before: int) -> list[Row]:
    """A row for each kind of baseline score that some of `columns` (measurement, scope) has: those that compare as they are.

    Those of another n follow in a row of their own, below that n and the entries' scores measured again at it. Each row begins
    with its name and `before` - 1 empty cells.
    """
    parts = [(key[0], block.part(key, scope)) for key, scope in columns]
    blank = [Cell("")] * (before - 1)
    rows = []
    for kind in BASELINES:
        cells = [baseline_cell(metric, part, comparable(part, kind, metric), kind) for metric, part in parts]
        if any(cell.n for cell in cells):
            rows.append(Row((Cell(kind.title), *blank, *cells), "baseline"))
        again = [(metric, measured_again(part, kind)) for metric, part in parts]
        if not any(len(part) for _, part in again):
            continue
        counts = [Cell(number_of_images(part, kind)) for _, part in again]
        rows.append(Row((Cell(f"n of {kind.images}"), *blank, *counts), "baseline-n"))
        columns_again = [score_at_n_cells(metric, part, kind, "entry") for metric, part in again]
        for entry in block.entries:
            cells = [of_entry.get(entry, Cell("")) for of_entry in columns_again]
            rows.append(Row((Cell(f"{entry}, n of {kind.images}"), *blank, *cells), "score-at-n"))
        cells = [baseline_cell(metric, part, part[kind.score], kind) for metric, part in again]
        rows.append(Row((Cell(f"{kind.title}, at that n"), *blank, *cells), "baseline"))
    return rows


def score_at_n_cells(metric: str, rows: pd.DataFrame, kind: Baseline, column: str | list[str]) -> dict[Any, Cell]:
    """Value of `column` -> the mean over seeds of the scores at the n of a baseline score, marked where that is too few."""
    values, few = rows[kind.score_at_n].to_numpy(np.float64), few_images(rows, kind).to_numpy()
    return {name: mean_cell(metric, values[at], f"{number_of_images(rows.iloc[at], kind)} on each side" if few[at].any() else "")
            for name, at in rows.groupby(column, sort=False).indices.items()}


def baseline_cell(metric: str, rows: pd.DataFrame, scores: "pd.Series[float]", kind: Baseline) -> Cell:
    """The first of the baseline `scores` of `rows`, all of which are of the same images; a dash where there is none."""
    known = np.flatnonzero(scores.notna())
    if not len(known):
        return Cell(MISSING)
    few, value = bool(few_images(rows.iloc[known[:1]], kind).iloc[0]), float(scores.iloc[known[0]])
    return Cell(marked(show(metric, value), few), value, n=1, few=f"{number_of_images(rows, kind)} real" if few else "")


def baseline_notes(rows: pd.DataFrame) -> list[str]:
    """What baseline scores are, and which are shown at another n or not at all, for rows of any measurements."""
    measured = rows[rows[[kind.score for kind in BASELINES]].notna().any(axis=1)]
    if measured.empty:
        return []
    by_metric = [(str(metric), own) for metric, own in measured.groupby("metric", sort=False)]
    notes = [BASELINE_NOTE]
    if any(len(measured_again(measured, kind)) for kind in BASELINES):
        notes.append(AT_N_NOTE)
    if any(facts(metric).depends_on_n and (own[kind.score].notna() & own[kind.n].isna()).any()
           for metric, own in by_metric for kind in BASELINES):
        notes.append(UNKNOWN_N_NOTE)
    better = [facts(metric).title for metric, own in by_metric if better_than_real(own, metric).any()]
    if better:
        notes.append(f"Some values of {listed(better)} are better than those of as many real images. That is no gain, and such a "
                     "value is never marked as best.")
    return notes
