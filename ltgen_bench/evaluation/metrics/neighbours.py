"""Precision, recall, density and coverage: who lies in whose k-nearest-neighbour balls.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797. Whether the edge belongs to a ball is a setting: `<=` as in torch-fidelity (the default), `<` as in
Naeem's code (prdc) and CBDM's. It decides where points coincide: copies lie in balls whose reach is 0 by `<=` alone, and a
copied set has a density of (k + 1) / k or of 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltgen_bench.evaluation.metrics.base import Metric, Result, ScopeKind, Settings, Side
from ltgen_bench.evaluation.metrics.expected_coverage import expected_coverage
from ltgen_bench.evaluation.subsets import stratified_take

BLOCK = 1024  # rows of a distance matrix held at a time
WIDE = 512  # features wider than this meet in float32, as they come


class NeighbourScores(NamedTuple):
    """Precision, recall and coverage in 0 ... 1, density at least 0."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], k: int,
                     edge: Literal["<=", "<"] = "<=", block: int = BLOCK) -> NeighbourScores:
    """All four scores in one pass over blocks of distances; memory grows with `block`, not with M N.

    Both sides need more than `k` images. A ball reaches to its centre's k-th nearest neighbour besides itself, and `edge`
    says whether that far is still inside.
    """
    assert min(len(generated), len(real)) > k, "a ball needs k neighbours"
    # Centring keeps |a|^2 + |b|^2 - 2 ab from losing its digits.
    precise = np.float64 if real.shape[1] <= WIDE else np.float32
    centre = real.mean(axis=0, dtype=np.float64).astype(precise)
    first, second = (_Points.of(np.subtract(points, centre, dtype=precise)) for points in (generated, real))
    limit_generated, limit_real = (_squared_limit(points, k, edge, block) for points in (first, second))
    inside = 0  # generated images within some real ball
    hits = 0  # pairs of a generated image and a real ball around it
    recalled = np.zeros(len(real), bool)
    covered = np.zeros(len(real), bool)
    for start in range(0, len(generated), block):
        rows = slice(start, start + block)
        distance = _squared_distances(first.take(rows), second)  # [block, N]
        in_real = distance <= limit_real
        inside += int(in_real.any(axis=1).sum())
        hits += int(in_real.sum())
        covered |= in_real.any(axis=0)
        recalled |= (distance <= limit_generated[rows, None]).any(axis=0)
    count = len(generated)
    return NeighbourScores(inside / count, float(recalled.mean()), hits / (k * count), float(covered.mean()))


@dataclass(frozen=True)
class _Points:
    """Features with their squared lengths."""

    features: Float[np.ndarray, "N D"]
    sizes: Float[np.ndarray, " N"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "N D"]) -> "_Points":
        return cls(features, np.square(features).sum(axis=1))

    def take(self, rows: slice) -> "_Points":
        return _Points(self.features[rows], self.sizes[rows])


def _squared_limit(points: _Points, k: int, edge: Literal["<=", "<"], block: int) -> Float[np.ndarray, " N"]:
    """The largest squared distance from every point that is inside its ball, which reaches to its k-th nearest neighbour.

    What rounding alone can leave between equal distances is added for `<=` and taken away for `<`, so that a point just
    on the edge is inside by the first and outside by the second, whatever the order of the sums.
    """
    reach = _squared_reach(points, k, block)
    sizes = points.sizes
    slack = _rounding(sizes + np.square(np.sqrt(sizes) + np.sqrt(reach)))  # for a point as far out as one on the edge can lie
    return reach + slack if edge == "<=" else reach - slack


def _squared_reach(points: _Points, k: int, block: int) -> Float[np.ndarray, " N"]:
    """Squared distance from every point to its k-th nearest neighbour besides itself; every pair is multiplied once."""
    nearest = np.full((len(points.sizes), k + 1), np.inf, points.features.dtype)  # the point itself is one of them
    for start in range(0, len(nearest), block):
        rows, later = slice(start, start + block), slice(start + block, None)
        distance = _squared_distances(points.take(rows), points.take(slice(start, None)))
        nearest[rows] = _smallest(nearest[rows], distance)
        nearest[later] = _smallest(nearest[later], distance[:, block:].T)  # the same pairs, seen from the other side
    return nearest.max(axis=1)


def _smallest(kept: Float[np.ndarray, "n K"], more: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n K"]:
    """The K smallest numbers of each row of both, in any order."""
    width = kept.shape[1]
    if more.shape[1] > width:
        more = np.partition(more, width - 1, axis=1)[:, :width]
    return np.partition(np.concatenate([kept, more], axis=1), width - 1, axis=1)[:, :width]


def _squared_distances(first: _Points, second: _Points) -> Float[np.ndarray, "M N"]:
    """|a - b|^2 by products. What rounding alone can leave between equal points counts as 0, so copies stay copies."""
    sizes = first.sizes[:, None] + second.sizes[None, :]
    distance = first.features @ second.features.T
    distance *= -2
    distance += sizes
    distance[distance < _rounding(sizes)] = 0
    return distance


def _rounding(sizes: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """What rounding can add to a squared distance between points whose squared lengths sum to `sizes`."""
    sizes *= 8 * np.finfo(sizes.dtype).eps
    return sizes


def equal_counts(generated: Side, real: Side, seed: int) -> tuple[Side, Side]:
    """Both sides with as many images as the smaller has, drawn in equal shares from the classes of the larger."""
    count = min(len(generated), len(real))
    return _at_most(generated, count, seed), _at_most(real, count, seed)


def _at_most(side: Side, count: int, seed: int) -> Side:
    chosen: Int[np.ndarray, " n"] = stratified_take(side.labels, count, np.random.default_rng(seed))
    return side if count == len(side) else side.take(chosen)


def _compute(generated: Side, real: Side, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    generated, real = equal_counts(generated, real, settings.seed)
    scores = neighbour_scores(generated.features, real.features, settings.k, settings.edge)
    return {name: Result(value, n_real=len(real), n_generated=len(generated))
            for name, value in scores._asdict().items()}


PRECISION = Metric(
    name="precision", title="precision", direction="higher", bounds=(0.0, 1.0), min_images=2,
    summary="share of generated images within the k-NN ball of a real one: quality",
    source="Kynkaanniemi et al. 2019, arXiv:1904.06991", needs=("features", "reference"), scopes=("all", "group"),
    settings=("k", "edge", "seed"), conventions=(("counts", "equal, drawn by class"),), compute=_compute)
RECALL = replace(
    PRECISION, name="recall", title="recall", scopes=("all", "group", "class"),
    summary="share of real images within the k-NN ball of a generated one: variety")
DENSITY = replace(
    PRECISION, name="density", title="density", bounds=(0.0, float("inf")),
    summary="real k-NN balls around a generated image, divided by k: quality, robust to outliers",
    source="Naeem et al. 2020, arXiv:2002.09797")
COVERAGE = replace(
    DENSITY, name="coverage", title="coverage", bounds=(0.0, 1.0), scopes=("all", "group", "class"),
    expected=lambda result, settings: expected_coverage(result.n_real or 0, result.n_generated or 0, settings.k),
    summary="share of real k-NN balls that hold a generated image: variety, robust to outliers")
