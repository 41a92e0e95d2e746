"""Precision, recall, density and coverage: who lies in whose k-nearest-neighbour balls.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797. Whether the edge belongs to a ball is a setting: `<=` as in torch-fidelity (the default), `<` as in
Naeem's code (prdc) and CBDM's. It decides where points coincide: copies lie in balls whose reach is 0 by `<=` alone, and a
copied set has a density of (k + 1) / k or of 1.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ltgen_bench.evaluation.metrics.balls import BLOCK, Balls, Edge, squared_distances
from ltgen_bench.evaluation.metrics.base import Metric, Result, ScopeKind, Settings, Side
from ltgen_bench.evaluation.metrics.expected_coverage import expected_coverage
from ltgen_bench.evaluation.subsets import stratified_take

PENDING = 1 << 20  # doubtful pairs held at a time

Pairs = tuple[np.ndarray, np.ndarray]  # numbers of generated images and, in the same places, of real ones


class NeighbourScores(NamedTuple):
    """Precision, recall and coverage in 0 ... 1, density at least 0."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], k: int, edge: Edge = "<=",
                     block: int = BLOCK) -> NeighbourScores:
    """All four scores in one pass over blocks of distances; memory grows with `block`, not with M N.

    Both sides need more than `k` images. A ball reaches to its centre's k-th nearest neighbour besides itself, and `edge`
    says whether that far is still inside. Every pair is decided as float64 decides it.
    """
    assert min(len(generated), len(real)) > k, "a ball needs k neighbours"
    tally = _Tally(*(Balls(side, real.mean(axis=0, dtype=np.float64), k, edge, block) for side in (generated, real)))
    for start in range(0, len(generated), block):
        tally.add(slice(start, start + block))
    tally.settle()
    return NeighbourScores(float(tally.inside.mean()), float(tally.recalled.mean()), float(tally.hits / (k * len(generated))),
                           float(tally.covered.mean()))


class _Tally:
    """Who lies in whose ball, counted block by block; pairs in doubt are kept and settled together."""

    def __init__(self, generated: Balls, real: Balls) -> None:
        self.generated, self.real = generated, real
        self.inside = np.zeros(len(generated.features), bool)  # generated images within some real ball
        self.hits = 0  # pairs of a generated image and a real ball around it
        self.recalled, self.covered = (np.zeros(len(real.features), bool) for _ in range(2))
        self.in_real: list[Pairs] = []
        self.in_generated: list[Pairs] = []

    def add(self, rows: slice) -> None:
        """Compare some generated images with all real ones."""
        distance = squared_distances(self.generated.points.take(rows), self.real.points)  # [block, N]
        surely = distance <= self.real.surely
        self.inside[rows] |= surely.any(axis=1)
        self.hits += int(np.count_nonzero(surely))
        self.covered |= surely.any(axis=0)
        around = distance <= self.generated.surely[rows, None]
        self.recalled |= around.any(axis=0)
        if self.real.screened:
            self.in_real.append(_pairs(~surely & (distance <= self.real.perhaps), rows.start))
            perhaps = (distance <= self.generated.perhaps[rows, None]) & ~around
            self.in_generated.append(_pairs(perhaps & ~self.recalled, rows.start))
            if sum(len(found) for found, _ in self.in_real + self.in_generated) > PENDING:
                self.settle()

    def settle(self) -> None:
        """Decide the pairs in doubt."""
        if self.in_real:
            images, centres = map(np.concatenate, zip(*self.in_real, strict=True))
            sure = self.real.decide(centres, self.generated.features, images)
            self.inside[images[sure]] = self.covered[centres[sure]] = True
            self.hits += int(np.count_nonzero(sure))
        if self.in_generated:
            centres, images = map(np.concatenate, zip(*self.in_generated, strict=True))
            self.recalled[images[self.generated.decide(centres, self.real.features, images)]] = True
        self.in_real, self.in_generated = [], []


def _pairs(doubtful: Bool[np.ndarray, "M N"], start: int) -> Pairs:
    rows, columns = np.nonzero(doubtful)
    return rows + start, columns


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
