"""Precision, recall, density and coverage: who lies in whose k-nearest-neighbour balls.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797. Whether the edge belongs to a ball is a setting: `<=` as in torch-fidelity (the default), `<` as in
Naeem's code (prdc) and CBDM's. It decides where points coincide: copies lie in balls whose reach is 0 by `<=` alone, and a
copied set has a density of (k + 1) / k or of 1.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltgen_bench.evaluation.metrics.base import Metric, Result, ScopeKind, Settings, Side
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
    centre = real.mean(axis=0, dtype=np.float64)
    generated, real = (generated - centre).astype(precise), (real - centre).astype(precise)
    limit_real, limit_generated = (_squared_limit(points, k, edge, block) for points in (real, generated))
    inside = 0  # generated images within some real ball
    hits = 0  # pairs of a generated image and a real ball around it
    recalled = np.zeros(len(real), bool)
    covered = np.zeros(len(real), bool)
    for start in range(0, len(generated), block):
        distance = _squared_distances(generated[start:start + block], real)  # [block, N]
        in_real = distance <= limit_real
        inside += int(in_real.any(axis=1).sum())
        hits += int(in_real.sum())
        covered |= in_real.any(axis=0)
        recalled |= (distance <= limit_generated[start:start + block, None]).any(axis=0)
    count = len(generated)
    return NeighbourScores(inside / count, float(recalled.mean()), hits / (k * count), float(covered.mean()))


def _squared_limit(points: Float[np.ndarray, "N D"], k: int, edge: Literal["<=", "<"],
                   block: int) -> Float[np.ndarray, " N"]:
    """The largest squared distance from every point that is inside its ball, which reaches to its k-th nearest neighbour.

    What rounding alone can leave between equal distances is added for `<=` and taken away for `<`, so that a point just
    on the edge is inside by the first and outside by the second, whatever the order of the sums.
    """
    reach = np.empty(len(points), points.dtype)
    for start in range(0, len(points), block):
        distance = _squared_distances(points[start:start + block], points)
        reach[start:start + block] = np.partition(distance, k, axis=1)[:, k]  # the 0-th is the point itself
    size = np.square(points).sum(axis=1)
    slack = _rounding(size + np.square(np.sqrt(size) + np.sqrt(reach)))  # for a point as far out as one on the edge can lie
    return reach + slack if edge == "<=" else reach - slack


def _squared_distances(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "M N"]:
    """|a - b|^2 by products. What rounding alone can leave between equal points counts as 0, so copies stay copies."""
    sizes = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None, :]
    distance = first @ second.T
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
    summary="share of real k-NN balls that hold a generated image: variety, robust to outliers")
