"""How many more seeds would settle an open difference."""

import math

import numpy as np
from scipy import stats

from ltgen_bench.statistics.critical import Family, critical_value

MOST = 1000
POWER = 0.8


def settled(difference: float, error: float, margin: float, *, df: float, critical: float) -> float:
    """Return the probability that a true `difference` is found better, worse or equivalent.

    `error` is the standard error, with `df` degrees of freedom; `margin` is that of equivalence.
    """
    shift = difference / error
    proven = float(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)) if shift < 30 else 1.0
    within = margin / error - critical  # a smaller estimate is equivalent, in standard errors
    inside = float(stats.norm.cdf(within - shift) - stats.norm.cdf(-within - shift)) if within > 0 else 0.0
    return max(proven, inside)


def further_seeds(difference: float, error: float, margin: float, *, df: float, seeds: int,
                  family: tuple[Family, int, float]) -> int | None:
    """Return how many more seeds give a `difference` a chance of 80 % to be settled; None where more than 1,000.

    `error` and `df` are those of the difference with `seeds` seeds an entry. The error falls with the root of the number of
    seeds, the degrees of freedom grow with it, and the critical value is that of the new number.
    """
    def chance(more: int) -> float:
        freedom = df * max((seeds + more - 1) / max(seeds - 1, 1), 1)
        critical = float(critical_value(family[0], family[1], np.array(freedom), family[2]))
        return settled(difference, error * math.sqrt(seeds / (seeds + more)), margin, df=freedom, critical=critical)

    if error <= 0 or chance(MOST) < POWER:
        return None
    low, high = 0, 1
    while chance(high) < POWER:
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= POWER else (middle, high)
    return high
