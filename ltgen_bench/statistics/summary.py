"""Mean and spread of one score over training seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95  # of the interval of a mean


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and t interval over `n` training seeds.

    With one seed `sd`, `low` and `high` are NaN, without any all values are.
    """

    mean: float
    sd: float
    n: int
    low: float
    high: float


def summarise(values: Sequence[float]) -> Summary:
    """Return the `Summary` of one score over training seeds; NaN (not available) is not counted."""
    known = np.asarray([value for value in values if not np.isnan(value)], dtype=np.float64)
    n = len(known)
    if n < 2:
        return Summary(float(known[0]) if n else np.nan, np.nan, n, np.nan, np.nan)
    mean, sd = float(known.mean()), float(known.std(ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / np.sqrt(n)
    return Summary(mean, sd, n, mean - half, mean + half)
