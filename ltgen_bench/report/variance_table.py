"""The table of the sources of variance: training seeds, sampling seeds, and the sampling error of the metric."""

import math

import numpy as np

from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.report.columns import csv_key, measurement_name, scope_words
from ltgen_bench.report.entries import FEW, Block, Key, select
from ltgen_bench.report.numbers import MISSING, facts
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.statistics import scale_of
from ltgen_bench.statistics.variance_sources import variance_sources

NOTE = (
    "Standard deviation of one score: from sampling seeds, between images of one training; from training seeds, what "
    "trainings add to it. Estimated within each method and pooled, with degrees of freedom (df), in the unit of the score, or "
    "in percent of scores that are compared by their logarithms. With few degrees of freedom the shares of the variance "
    "are rough. Error of the metric: the uncertainty of one measurement on its images, where the metric has one; it is a "
    "part of the above."
)
HEADS = (
    Head("measurement", "measurement", number=False), Head("classes", "classes", number=False),
    Head("training seeds", "training_sd", score=False), Head("share", "training_share", score=False),
    Head("df", "training_df", score=False), Head("sampling seeds", "sampling_sd", score=False),
    Head("share", "sampling_share", score=False), Head("df", "sampling_df", score=False),
    Head("error of the metric", "metric_error", score=False), Head("key", "key", number=False, csv_only=True))


def variance_table(block: Block) -> Table | None:
    """Return the sources of variance of each measurement, over the few and over all classes; None without several sampling seeds.
    """
    columns = [(key, scope) for key in block.keys for scope in ([block.scope] if block.scope else [FEW, "all"])]
    rows = [row for column in columns if (row := _row(block, *column)) is not None]
    return Table("variance", f"{block.title}: sources of variance", HEADS, tuple(rows), (NOTE,)) if rows else None


def _row(block: Block, key: Key, scope: str) -> Row | None:
    if not len(block.sampled):
        return None
    part = select(block.sampled[block.sampled["entry"].isin(block.entries)], key, scope).dropna(subset=["value"])
    if part["value"].nunique() < 2:  # no generated images enter it
        return None
    metric = METRICS[key[0]]
    values = part["value"].to_numpy(dtype=np.float64)
    errors = part["uncertainty"].to_numpy(dtype=np.float64) if metric.uncertainty_is_error else np.full(len(part), math.nan)
    # not log odds, whose deviations have no unit, and none in the unit of the score where the shares of some methods are near 0
    scale = scale_of("log" if metric.compared_as == "log" else "linear", values, errors)
    found = variance_sources(part.assign(value=scale.transform(values)))
    if found is None:
        return None
    total = found.sampling + (found.training or 0.0)
    texts = [_deviation(key[0], scale.name == "log", variance)
             for variance in (found.training, found.sampling, scale.error**2 or None)]
    shares = [f"{100 * variance / total:.0f} %" if variance is not None and found.training is not None and total > 0 else MISSING
              for variance in (found.training, found.sampling)]
    cells = (measurement_name(key), scope_words(scope).removesuffix(" classes").replace(" classes (", " ("), texts[0], shares[0],
             str(found.training_df) if found.training_df else MISSING, texts[1], shares[1], str(found.sampling_df), texts[2],
             csv_key(key, scope))
    return Row(tuple(map(Cell, cells)))


def _deviation(metric: str, relative: bool, variance: float | None) -> str:
    """The standard deviation in percent of the score, else in its unit."""
    if variance is None:
        return MISSING
    deviation = math.sqrt(variance)
    return f"{100 * deviation:.1f} %" if relative else f"{deviation:.{facts(metric).decimals + 1}f}"
