"""What training seeds allow to say: means with intervals, and a verdict between entries only from three seeds on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

ONE_SEED = "One seed: no verdict between methods."
FEW_SEEDS = "Fewer than three common seeds: no verdict between methods."
MIN_SEEDS = 3
LEVEL = 0.05


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and t interval over `n` training seeds.

    With one seed `sd`, `low` and `high` are NaN: there is nothing to say about the spread. With none all are NaN.
    """

    mean: float
    sd: float
    n: int
    low: float
    high: float


def summarise(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """The `Summary` of one score over training seeds; NaN (not available) is left out and not counted."""
    known = np.asarray([value for value in values if not np.isnan(value)], dtype=np.float64)
    n = len(known)
    if n < 2:
        return Summary(float(known[0]) if n else np.nan, np.nan, n, np.nan, np.nan)
    mean, sd = float(known.mean()), float(known.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / np.sqrt(n)
    return Summary(mean, sd, n, mean - half, mean + half)


@dataclass(frozen=True)
class Pair:
    """Two entries compared over their common seeds: mean of a - b, raw and Holm-corrected p, and a's verdict."""

    a: str
    b: str
    difference: float
    p: float
    p_holm: float
    verdict: str  # "win", "tie" or "loss" of a against b


def paired_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p of the paired t test. Differences without any spread give 1 when they are zero, else 0.

    What rounding leaves between equal differences, as of shares of 450 images, is no spread.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    differences = first - second
    rounding = 4 * np.finfo(np.float64).eps * max(np.abs(first).max(), np.abs(second).max())
    if np.ptp(differences) <= rounding:
        return 1.0 if np.abs(differences).max() <= rounding else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> Float[np.ndarray, " n"]:
    """Holm's step-down correction (Holm 1979): the i-th smallest of m times (m - i + 1), made monotone, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def compare(wide: pd.DataFrame, direction: str, level: float = LEVEL) -> list[Pair]:
    """Every pair of the columns (entries) of `wide` (one row a seed, one score), tested over the seeds both have.

    Holm's correction runs over all pairs, so the best entry may be picked after looking. Pairs with fewer than
    three common seeds are left out: an empty list means that there is no verdict. `direction` is lower or higher.
    """
    tested: list[tuple[str, str, float, float]] = []
    columns = {str(name): wide[name].to_numpy(dtype=np.float64) for name in wide.columns}
    for a, b in combinations(columns, 2):
        both = ~np.isnan(columns[a]) & ~np.isnan(columns[b])
        if both.sum() >= MIN_SEEDS:
            x, y = columns[a][both], columns[b][both]
            tested.append((a, b, float((x - y).mean()), paired_p(x.tolist(), y.tolist())))
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
    """(wins, ties, losses) of one entry over all pairs that it is in."""
    turned = {"win": "loss", "loss": "win", "tie": "tie"}
    verdicts = [pair.verdict if pair.a == name else turned[pair.verdict] for pair in pairs if name in (pair.a, pair.b)]
    return verdicts.count("win"), verdicts.count("tie"), verdicts.count("loss")


def clear_best(wide: pd.DataFrame, direction: str, level: float = LEVEL) -> str | None:
    """The entry that wins against every other one, if there is one; None says that the data carry no such claim."""
    pairs = compare(wide, direction, level)
    others = len(wide.columns) - 1
    winners = [str(name) for name in wide.columns if others > 0 and record_of(pairs, name)[0] == others]
    return winners[0] if winners else None
