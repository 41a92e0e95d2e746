"""Ranks of entries with intervals, by a parametric bootstrap of the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ltgen_bench.statistics.seed_model import SeedModel

DRAWS = 4000
SEED = 14


@dataclass(frozen=True)
class Rank:
    """The rank of an estimate (1 is the best), and the interval of its rank among the entries."""

    rank: int
    low: int
    high: int


def rank_intervals(model: SeedModel, entries: Sequence[str], *, level: float = 0.05) -> dict[str, Rank]:
    """Return the rank of each of `entries` with an interval of 1 - `level`.

    The scores are drawn 4,000 times from the fitted model, with a variance that varies as its estimate does.
    """
    rng = np.random.default_rng(SEED)
    chosen = [model.entries.index(entry) for entry in entries]
    sign = 1 if model.lower_is_better else -1
    noise = rng.standard_normal((DRAWS, len(model.owner))) * np.sqrt(model.variances[model.owner])
    noise *= np.sqrt(model.df / rng.chisquare(model.df, (DRAWS, 1)))
    of_blocks = rng.standard_normal((DRAWS, 1)) * np.sqrt(model.block_variance / max(model.blocks, 1))
    drawn = model.estimates + noise @ model.weights.T + of_blocks * model.paired
    ranks = 1 + np.argsort(np.argsort(sign * drawn[:, chosen], axis=1), axis=1)
    low, high = np.quantile(ranks, [level / 2, 1 - level / 2], axis=0, method="inverted_cdf")
    own = 1 + np.argsort(np.argsort(sign * model.estimates[chosen], kind="stable"))
    ends = zip(own.tolist(), np.minimum(low, own).astype(int).tolist(), np.maximum(high, own).astype(int).tolist(), strict=True)
    return {entry: Rank(*three) for entry, three in zip(entries, ends, strict=True)}
