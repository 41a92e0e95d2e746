"""Statistics over training seeds: means with intervals, and paired tests between entries with at least three common seeds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

ONE_SEED = "One seed: no verdict between methods."
FEW_SEEDS = "Fewer than three common seeds: no verdict between methods."
MIN_SEEDS = 3
LEVEL = 0.05
CONFIDENCE = 0.95  # of the interval of a mean
ROUNDING = 4 * np.finfo(np.float64).eps  # relative rounding error of a value
LARGEST_DENOMINATOR = 1_000_000  # largest density: 100,000 images at k = 10


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


@dataclass(frozen=True)
class Pair:
    """Comparison of two entries over their common seeds: mean of a - b, p before and after Holm's correction, and a's verdict."""

    a: str
    b: str
    difference: float
    p: float
    p_holm: float
    verdict: str  # "win", "tie" or "loss" of a against b


def step_of(values: Iterable[float]) -> float:
    """Return the step of the scale of all `values`: 1/450 for shares of 450 images, 0.01 for numbers of two decimals.

    It is the largest s = 1 / m, m an integer up to 1,000,000, of which every value is a multiple up to rounding; 0.0 where
    there is none, as for FID. NaN is ignored.
    """
    denominator = 1
    for value in {float(value) for value in values if np.isfinite(value)}:
        near = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
        if abs(float(near) - value) > ROUNDING * abs(value):
            return 0.0
        denominator = math.lcm(denominator, near.denominator)
        if denominator > LARGEST_DENOMINATOR:
            return 0.0
    return 1.0 / denominator


def paired_p(a: Sequence[float], b: Sequence[float], step: float | None = None) -> float:
    """Return the two-sided p of a paired t test whose standard deviation is at least the step of the scale.

    Shares of n images move in steps of 1 / n, so that over three seeds differences are often equal by chance, and their
    standard deviation of 0 is smaller than the scale can resolve. A standard deviation below `step` (default: `step_of` both)
    is replaced by `step`. Equal differences without a step say nothing about chance and give 1.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    differences = first - second
    n, rounding = len(differences), ROUNDING * max(np.abs(first).max(), np.abs(second).max())
    sd = float(differences.std(ddof=1)) if np.ptp(differences) > rounding else 0.0
    sd = max(sd, step_of([*first, *second]) if step is None else step)
    if sd == 0.0 or np.abs(differences).max() <= rounding:
        return 1.0
    return float(2 * stats.t.sf(abs(float(differences.mean())) / (sd / math.sqrt(n)), n - 1))


def holm(p_values: Sequence[float]) -> Float[np.ndarray, " n"]:
    """Return p values after Holm's step-down correction (1979): the i-th smallest of m times (m - i + 1), monotone, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def compare(wide: pd.DataFrame, direction: str, level: float = LEVEL) -> list[Pair]:
    """Return all pairs of columns (entries) of `wide` (one row per seed, one score), tested over their common seeds.

    Holm's correction runs over all pairs, so the best entry may be picked afterwards. Pairs with fewer than three common
    seeds are left out: an empty list means that there is no verdict. `direction` is lower or higher.
    """
    tested: list[tuple[str, str, float, float]] = []
    columns = {str(name): wide[name].to_numpy(dtype=np.float64) for name in wide.columns}
    step = step_of(wide.to_numpy(dtype=np.float64).ravel())
    for a, b in combinations(columns, 2):
        both = ~np.isnan(columns[a]) & ~np.isnan(columns[b])
        if both.sum() >= MIN_SEEDS:
            x, y = columns[a][both], columns[b][both]
            tested.append((a, b, float((x - y).mean()), paired_p(x.tolist(), y.tolist(), step)))
    corrected = holm([p for *_, p in tested])
    sign = -1 if direction == "lower" else 1
    return [
        Pair(a, b, difference, p, p_holm, _verdict(sign * difference, p_holm < level))
        for (a, b, difference, p), p_holm in zip(tested, corrected.tolist(), strict=True)
    ]


def _verdict(gain: float, significant: bool) -> str:
    if not significant:
        return "tie"
    return "win" if gain > 0 else "loss"


def record_of(pairs: Sequence[Pair], name: str) -> tuple[int, int, int]:
    """Return (wins, ties, losses) of one entry over all its pairs."""
    turned = {"win": "loss", "loss": "win", "tie": "tie"}
    verdicts = [pair.verdict if pair.a == name else turned[pair.verdict] for pair in pairs if name in (pair.a, pair.b)]
    return verdicts.count("win"), verdicts.count("tie"), verdicts.count("loss")


def clear_best(wide: pd.DataFrame, direction: str) -> str | None:
    """Return the entry that wins against every other one, or None."""
    pairs = compare(wide, direction)
    others = len(wide.columns) - 1
    winners = [str(name) for name in wide.columns if others > 0 and record_of(pairs, name)[0] == others]
    return winners[0] if winners else None
