"""The model of the scores of one measurement: score = entry + seed + rest, on the scale of the metric.

Seeds are blocks: entries of one seed share the order of the data, noise and initial noise of the samples. What a seed adds to
all of them is taken out of their differences. External samples were made with seeds of their own and belong to no block; their
scores vary by seed and rest together.

The variance of the rest is estimated for each entry as a weighted mean of the variance pooled over all entries and its own.
Brown and Forsythe's test decides on the weights: where the variances agree ("pooled") the pooled one counts at least half of
the own degrees of freedom, where they differ ("own") it counts as 1.5 degrees of freedom, so that its part vanishes with more
seeds. Differences have Welch's degrees of freedom. Why not the pooled variance alone: with three seeds no test sees that some
variances are four times the others, and at least one verdict among 78 pairs of equal entries is then false in 11 % of cases;
with own variances alone (Games and Howell) in 47 %.

In comparisons with one baseline its error is in all differences, and with a variance four times the others' the weighted mean
gave a false verdict in up to 9 % of cases (20 entries, 3 seeds). The variance of the baseline is therefore the larger of its own
and the pooled one; where all variances are equal, intervals then contain the truth in 96 to 99 % of cases instead of 95 %. So
is that of the entries of a selection that is compared alone: there it was up to 9 %.

Both rules were chosen among some forty such as the most powerful that keep the level in tests/statistics/simulations.py: 2 to
20 entries, 3 to 5 seeds, variances equal, four times as large for half of the entries or for one, normal and skewed rests. There
at least one verdict is false in 5 % of the repetitions or fewer, in the worst cases (skewed rests of one large variance, 20
entries) in 6 %, up to the error of the simulation (figures in BENCHMARK.md). Nothing is promised where variances differ by
more, or where an entry with one seed has another variance than the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from ltgen_bench.core.words import listed
from ltgen_bench.statistics.critical import box_epsilon, brown_forsythe
from ltgen_bench.statistics.scale import ROUNDING, Scale

AGREE = 0.1  # a smaller p of Brown and Forsythe's test: the variances differ
SHARE = 0.5  # degrees of freedom that the pooled variance counts for each of an entry's own, where variances agree
LEAST = 1.5  # and at least, or where they differ
MIN_DF = 2  # degrees of freedom of the pooled variance; with fewer there is no verdict


@dataclass(frozen=True)
class SeedModel:
    """What is known of each of `entries`; arrays are in their order, all on `scale`.

    `estimates` are means over the same seeds. `weights` [entries, scores]: each estimate is a weighted sum of scores, of the
    entries `owner`. `variances` are those of one score: weighted means of `pooled_variances` and `own_variances`, which have the
    weight `own_share` and `own_df` degrees of freedom. `paired` is False for entries that share no seed with the others: what a
    seed adds is a part of their variance; for the others it is apart, `block_variance`, over so many `blocks`. `df` are the
    degrees of freedom of the pooled variance; below 2 no verdict is possible. `p_equal` is that of equal variances. `conditions`
    say in sentences what was assumed.
    """

    entries: tuple[str, ...]
    scale: Scale
    lower_is_better: bool
    estimates: Any
    weights: Any
    owner: Any
    variances: Any
    pooled_variances: Any
    own_variances: Any
    own_df: Any
    own_share: Any
    paired: Any
    seeds: Any
    df: int
    block_variance: float
    blocks: int
    p_equal: float
    conditions: tuple[str, ...]

    @property
    def variance(self) -> Literal["pooled", "own"]:
        """Which variance has the larger weight: pooled over the entries where these agree, else each entry's own."""
        return "pooled" if self.p_equal >= AGREE else "own"

    @property
    def has_verdicts(self) -> bool:
        """Whether the data have an estimate of the variance, and two entries."""
        return self.df >= MIN_DF and len(self.entries) > 1 and bool(np.all(self.variances > 0))


def fit(values: pd.DataFrame, *, scale: Scale, direction: str = "lower", external: frozenset[str] = frozenset(),
        pooled_df: float | None = None) -> SeedModel:
    """Return the `SeedModel` of the scores `values`, a row a seed and a column an entry; NaN where there is no score.

    `direction` is "lower" or "higher", whichever is better. `external` names entries whose seeds pair with nothing. Entries
    without any score are left out. `pooled_df`: the degrees of freedom that the pooled variance counts in each entry's; by
    default the test of equal variances decides.
    """
    y = scale.transform(values.to_numpy(dtype=np.float64))
    named = np.isfinite(y).any(axis=0)
    names = tuple(str(name) for name, has_score in zip(values.columns.tolist(), named.tolist(), strict=True) if has_score)
    y = y[:, named]
    known = np.isfinite(y)
    paired = _paired(known, np.array([name not in external for name in names], dtype=bool))
    blocks = known & paired
    design = _design(*blocks.shape, blocks.tobytes())
    if design.df < MIN_DF and not paired.all():  # nothing to learn from seeds in common: all scores vary by seed and rest
        paired, blocks = np.ones_like(paired), known
        design = _without_blocks(known)
    scores, owner = y[blocks], np.nonzero(blocks)[1]
    residuals = design.residuals @ scores
    pooled = _pooled(residuals, scores, design.df)
    residuals = residuals if pooled else np.zeros_like(residuals)
    block_variance = _block_variance(design, scores, pooled)
    p_equal = brown_forsythe([residuals[owner == at] for at in range(len(names))]) if pooled > 0 else 1.0

    seeds = known.sum(axis=0)
    own_df = (seeds - 1).astype(float)
    prior = np.maximum(LEAST, SHARE * own_df) if p_equal >= AGREE else LEAST
    prior = prior if pooled_df is None else pooled_df
    own_share = own_df / (prior + own_df)
    squares = np.bincount(owner, np.square(residuals), len(names))
    freedom = np.bincount(owner, design.freedom, len(names))
    own = np.where(freedom > 1e-9, squares / np.maximum(freedom, 1e-9), pooled)
    of_all = np.where(paired, pooled, pooled + block_variance)  # what a seed adds is a part of the variance of unpaired entries

    estimates, weights, owners = design.weights @ scores, [design.weights], [owner]
    for at in np.flatnonzero(~paired).tolist():
        apart = y[known[:, at], at]
        own[at] = apart.var(ddof=1) if len(apart) > 1 else of_all[at]
        estimates[at] = apart.mean()
        weights.append(np.where(np.arange(len(names)) == at, 1 / len(apart), 0.0)[:, None].repeat(len(apart), axis=1))
        owners.append(np.full(len(apart), at))
    return SeedModel(
        entries=names, scale=scale, lower_is_better=direction == "lower", estimates=estimates,
        weights=np.concatenate(weights, axis=1), owner=np.concatenate(owners),
        variances=np.maximum((1 - own_share) * of_all + own_share * own, scale.least_variance(scale.back(estimates))),
        pooled_variances=of_all, own_variances=own, own_df=own_df, own_share=own_share,
        paired=paired, seeds=seeds, df=design.df, block_variance=block_variance, blocks=int(blocks.any(axis=1).sum()),
        p_equal=p_equal, conditions=_conditions(names, seeds, paired, design.df))


@dataclass(frozen=True)
class _Design:
    """Least squares of entry + seed for one pattern of scores: `weights` [entries, scores] of the means of entries over all
    seeds, `residuals` [scores, scores], of which `freedom` is the diagonal, and degrees of freedom."""

    weights: Any
    residuals: Any
    freedom: Any
    df: int
    seed_weights: Any


@lru_cache(maxsize=256)
def _design(seeds: int, entries: int, pattern: bytes) -> _Design:
    known = np.frombuffer(pattern, dtype=bool).reshape(seeds, entries)
    rows, owner = np.nonzero(known)
    used = np.flatnonzero(known.any(axis=1))
    x = np.zeros((len(rows), entries + len(used)))
    x[np.arange(len(rows)), owner] = 1
    x[np.arange(len(rows)), entries + np.searchsorted(used, rows)] = 1
    inverse = np.linalg.pinv(x)
    mean_seed = inverse[entries:].mean(axis=0) if len(used) else np.zeros(len(rows))
    weights = inverse[:entries] + np.where(known.any(axis=0), 1.0, 0.0)[:, None] * mean_seed
    residuals = np.eye(len(rows)) - x @ inverse
    df = round(float(np.trace(residuals)))
    return _Design(weights, residuals, np.diag(residuals), df, inverse[entries:] - mean_seed)


def _without_blocks(known: Any) -> _Design:
    """Return the design of entries without seeds in common: estimates are means, and residuals the distances from these."""
    owner = np.nonzero(known)[1]
    same = owner[:, None] == owner
    residuals = np.eye(len(owner)) - same / same.sum(axis=1, keepdims=True)
    weights = (np.arange(known.shape[1])[:, None] == owner) / np.maximum(known.sum(axis=0), 1)[:, None]
    return _Design(weights, residuals, np.diag(residuals), len(owner) - known.shape[1], np.zeros((0, len(owner))))


def _paired(known: Any, allowed: Any) -> Any:
    """Return which entries belong to the blocks: the most scores that common seeds connect, of `allowed` entries."""
    best, left = np.zeros(len(allowed), dtype=bool), set(np.flatnonzero(allowed))
    while left:
        group = np.zeros(len(allowed), dtype=bool)
        group[min(left)] = True
        while True:
            seeds = known[:, group].any(axis=1)
            larger = allowed & known[seeds].any(axis=0)
            if (larger == group).all():
                break
            group = larger
        left -= set(np.flatnonzero(group))
        if known[:, group].sum() > known[:, best].sum():
            best = group
    return best


def _pooled(residuals: Any, scores: Any, df: int) -> float:
    """Return the pooled variance of the rest: NaN without degrees of freedom, 0 where it is rounding alone."""
    if not df:
        return np.nan
    variance = float(residuals @ residuals) / df
    return variance if variance > (10 * ROUNDING * np.abs(scores).max()) ** 2 else 0.0


def _block_variance(design: _Design, scores: Any, pooled: float) -> float:
    """Return the variance of what seeds add to a score, at least 0; 0 where it cannot be estimated."""
    used = len(design.seed_weights)
    if design.df < 1 or used < 2:
        return 0.0
    effects = design.seed_weights @ scores
    error = pooled * float(np.square(design.seed_weights).sum()) / (used - 1)
    return max(float(effects.var(ddof=1)) - error, 0.0)


def _conditions(names: Sequence[str], seeds: Any, paired: Any, df: int) -> tuple[str, ...]:
    if df < MIN_DF:
        return ()
    most = int(seeds[paired].max(initial=0))
    single = [name for name, n in zip(names, seeds, strict=True) if n == 1]
    apart = [name for name, of_block in zip(names, paired, strict=True) if not of_block]
    found = []
    if single:
        found.append(f"{listed(single)}: one seed, so that the variance is taken to be that of the other rows.")
    if most == 2:
        found.append("Two seeds: the variance is taken to be nearly the same for all rows.")
    if apart:
        found.append(f"{listed(apart)}: no seed in common with the other rows, so that the variance between seeds counts too.")
    return tuple(found)


def with_larger_variance(model: SeedModel, chosen: Any) -> SeedModel:
    """Return `model` with the larger of own and pooled variance for the entries `chosen` (places): a baseline, or a selection.

    The error of their variance is in all comparisons, and with few degrees of freedom their own tells little of whether it is
    above the pooled one.
    """
    larger = np.maximum(model.pooled_variances, np.where(model.own_df > 0, model.own_variances, 0.0))
    at = np.isin(np.arange(len(model.entries)), chosen)
    return replace(model, variances=np.where(at, np.maximum(model.variances, larger), model.variances))


def standard_errors(model: SeedModel, contrasts: Any) -> tuple[Any, Any]:
    """Return standard error and degrees of freedom of each of `contrasts` [n, entries] of the estimates.

    The degrees of freedom are Satterthwaite's for a sum of the pooled variance, which has fewer by Box's factor since the
    variances may differ, of own variances, and of the variance between seeds where unpaired entries take part. An unpaired entry
    with one seed has the degrees of freedom of this variance alone: where it is estimated too small, Satterthwaite's are too
    large, and verdicts on three such entries were false in 8 % of cases.
    """
    squares = np.square(contrasts @ model.weights) @ (model.owner[:, None] == np.arange(len(model.entries)))
    variance = squares @ model.variances
    own = squares * model.variances * model.own_share
    shared = own.sum(axis=1)
    welch = np.minimum(shared**2 / np.maximum((own**2 / np.maximum(model.own_df, 1)).sum(axis=1), 1e-300), model.df)
    share = (shared / variance) ** 2
    df = 1 / ((1 - share) / (box_epsilon(int(model.paired.sum())) * model.df) + share / np.maximum(welch, 1e-9))
    of_mean = model.block_variance * (contrasts @ model.paired) ** 2 / max(model.blocks, 1)  # 0 where both entries are paired
    blocks = of_mean + model.block_variance * (squares @ (~model.paired * (1 - model.own_share)))
    total = variance + of_mean
    of_blocks = max(model.blocks - 1, 1)
    df = total**2 / ((total - blocks) ** 2 / df + blocks**2 / of_blocks)
    alone = contrasts @ (~model.paired & (model.own_df == 0)) != 0
    return np.sqrt(total), np.where(alone, np.minimum(df, of_blocks), df)
