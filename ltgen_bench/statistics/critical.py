"""Critical values of simultaneous comparisons, and whether variances agree."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from scipy import special, stats

Family = Literal["pairs", "baseline"]  # all pairs of k entries (Tukey), or k - 1 entries against one (Dunnett)
DF = np.array([1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 14, 20, 40, 120, 1e5])
VARIANCE_RATIO = 4.0  # of entries, for which `box_epsilon` allows


def critical_value(family: Family, k: int, df: Any, level: float = 0.05) -> Any:
    """Return the largest |difference| / standard error that one of the comparisons exceeds with probability `level` by chance.

    Of all pairs of `k` entries it is the quantile of the studentised range over sqrt(2) (Tukey); of comparisons with one
    `baseline`, Dunnett's. `df` (any shape) are the degrees of freedom of the variance, at least 1.
    """
    return np.exp(np.interp(-1 / np.maximum(df, 1.0), -1 / DF, _table(family, k, level)))


@cache
def _table(family: Family, k: int, level: float) -> Any:
    """Logarithms of the critical values at DF: the chance of the normal case, mixed over the estimate of the deviation."""
    x = np.concatenate([np.linspace(0, 12, 481), np.geomspace(12.5, 2000, 200)])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    z = nodes[:, None]
    wide = np.sqrt(2) * x
    if family == "pairs":  # range of k normal deviates below sqrt(2) x; the largest of them is z
        z = np.linspace(-8, 8, 641)[:, None]
        density = stats.norm.pdf(z)
        normal = np.trapezoid(k * density * (special.ndtr(z) - special.ndtr(z - wide)) ** (k - 1), z[:, 0], axis=0)
    else:
        normal = weights @ (special.ndtr(z + wide) - special.ndtr(z - wide)) ** (k - 1)
    shares = (np.arange(2000) + 0.5) / 2000
    found = []
    for df in DF:
        deviation = np.sqrt(stats.chi2.ppf(shares, df) / df)  # of the estimate, in units of the true one
        inside = np.array([np.interp(at * deviation, x, normal).mean() for at in x[1:]])
        found.append(np.log(np.interp(1 - level, inside, x[1:])))
    return np.array(found)


@cache
def box_epsilon(k: int) -> float:
    """Return Box's factor for the degrees of freedom of a variance pooled over `k` entries within seeds.

    It is the smallest where some entries have four times the variance of the others; 1 for two entries.
    """
    centred = np.eye(k) - 1 / k
    found = [1.0]
    for large in range(1, k):
        spread = centred @ np.diag(np.where(np.arange(k) < large, VARIANCE_RATIO, 1.0)) @ centred
        found.append(float(np.trace(spread) ** 2 / ((k - 1) * np.square(spread).sum())))
    return min(found)


def brown_forsythe(groups: Sequence[Any]) -> float:
    """Return the p value of equal variances of the `groups` (residuals of one entry each); 1 where it cannot be tested.

    Brown and Forsythe's test (1974) is an analysis of variance of distances from the median. Of an odd number of residuals
    one distance is 0 whatever their variance, and is left out. Groups of fewer than three residuals do not count.
    """
    distances: list[Any] = []
    for size in {len(group) for group in groups if len(group) > 2}:
        same = np.array([group for group in groups if len(group) == size])
        own = np.sort(np.abs(same - np.median(same, axis=1, keepdims=True)), axis=1)
        distances += list(own[:, 1:] if size % 2 else own)
    n, k = sum(map(len, distances)), len(distances)
    if k < 3:  # within seeds, the residuals of two entries mirror each other
        return 1.0
    sizes = np.array([len(own) for own in distances])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    every = np.concatenate(distances)
    sums = np.add.reduceat(every, starts)
    total = float(every.sum()) ** 2 / n
    between = float((sums**2 / sizes).sum()) - total
    within = float(np.square(every).sum()) - total - between
    if within <= 0:
        return 1.0
    return float(special.fdtrc(k - 1, n - k, max(between, 0.0) / (k - 1) / (within / (n - k))))
