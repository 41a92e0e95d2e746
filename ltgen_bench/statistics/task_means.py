"""Intervals of a mean over tasks that were drawn at random: few independent values, each itself a mean over seeds.

The values of the tasks already vary by their seeds, so their spread holds both sources, and an interval from it needs no second
term for seeds. Percentiles of a hierarchical bootstrap (tasks, then seeds within them) are far too narrow with few tasks: in
simulations with known truth they cover in 76 % with three tasks and in 87 % with six, and a bootstrap of studentised means is
right with three tasks only because its intervals are three times as wide. Both intervals below cover in at least 95 %, up to the
error of the simulation, from three tasks on (tests/statistics/suite_coverage.py; figures in BENCHMARK.md).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_interval(values: Sequence[float], level: float = 0.05) -> tuple[float, float]:
    """Return the t interval of the mean of independent `values` with probability 1 - `level`; (NaN, NaN) for fewer than two."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf(1 - level / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    mean = float(np.mean(values))
    return mean - half, mean + half


def share_interval(values: Sequence[float], step: float, level: float = 0.05) -> tuple[float, float]:
    """Return an interval of the mean of independent shares within [0, 1]; (NaN, NaN) for fewer than two.

    `step` is the smallest difference that one share can show, such as 1/24 for a win rate against 12 opponents.

    Wilson's score interval (1927) with the t quantile, in which a task is one observation whose variance is
    r p (1 - p): r is 1 where each share is 0 or 1, smaller where tasks agree, and estimated from `values`. It is at least `step`:
    three tasks in which all is won do not show that all would be won in a fourth. The t interval would have the width 0 there.
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    mean, variance = float(np.mean(values)), float(np.var(values, ddof=1))
    largest = mean * (1 - mean) + variance / n  # unbiased for p (1 - p), the variance of shares that are 0 or 1
    ratio = min(max(variance / largest if largest > 0 else 0.0, step), 1.0)
    spread = float(stats.t.ppf(1 - level / 2, n - 1)) ** 2 * ratio / n
    middle = (mean + spread / 2) / (1 + spread)
    half = math.sqrt(spread * mean * (1 - mean) + spread**2 / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)
