"""Ranks of entries with intervals, read off the simultaneous intervals of their differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ltgen_bench.statistics.seed_model import SeedModel


@dataclass(frozen=True)
class Rank:
    """The rank of an estimate (1 is the best), and the interval of its rank among the entries."""

    rank: int
    low: int
    high: int


def rank_intervals(model: SeedModel, entries: Sequence[str], before: Callable[[str, str], bool]) -> dict[str, Rank]:
    """Return the rank of each of `entries`, at least 1 + the number of others that are proven better, at most their number less
    those proven worse; `before(a, b)` tells whether `a` is proven better than `b`.

    Where the intervals of the differences hold simultaneously with 95 %, those of all ranks do. A parametric bootstrap of the
    model, as is often used, has narrower intervals that miss: those of 13 nearly equal entries contain the true rank in 81 % of
    cases (three and five seeds), since the bootstrap takes the estimated distances for the true ones.
    """
    sign = 1 if model.lower_is_better else -1
    order = sorted(entries, key=lambda entry: sign * float(model.estimates[model.entries.index(entry)]))
    return {entry: Rank(1 + order.index(entry), 1 + sum(before(other, entry) for other in entries),
                        len(entries) - sum(before(entry, other) for other in entries)) for entry in entries}
