"""Precision, recall, density and coverage, from k-nearest-neighbour balls.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797. Whether the edge belongs to a ball is a setting: `<=` as in torch-fidelity (the default), `<` as in
Naeem's code (prdc) and CBDM's. It decides where points coincide: copies lie in balls whose reach is 0 by `<=` alone, and a
copied set has a density of (k + 1) / k or of 1.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from ltgen_bench.evaluation.metrics.enough import NEIGHBOURS
from ltgen_bench.evaluation.metrics.metric import HELD_OUT, REPEATED, DrawSettings, FeatureSet, Metric, Result, ScopeKind
from ltgen_bench.evaluation.subsets import stratified_take


class NeighbourSettings(DrawSettings):
    """`k` nearest neighbours make a ball around each image; `edge` says whether its edge belongs to it."""

    k: int = Field(default=5, gt=0, title="k")
    edge: Literal["<=", "<"] = Field(default="<=", title="edge of a nearest-neighbour ball", json_schema_extra={
        "words": {"<=": "inside it (<=)", "<": "outside it (<)"}})

    @property
    def least_images(self) -> int:
        """A point has `k` neighbours besides itself."""
        return self.k + 1


def equal_counts(generated: FeatureSet, real: FeatureSet, seed: int) -> tuple[FeatureSet, FeatureSet]:
    """Both sides with as many images as the smaller has, drawn in equal shares from the classes of the larger."""
    count = min(len(generated), len(real))
    return _at_most(generated, count, seed), _at_most(real, count, seed)


def _at_most(side: FeatureSet, count: int, seed: int) -> FeatureSet:
    chosen: Int[np.ndarray, " n"] = stratified_take(side.labels, count, np.random.default_rng(seed))
    return side if count == len(side) else side.take(chosen)


def _compute(generated: FeatureSet, real: FeatureSet, settings: NeighbourSettings, kind: ScopeKind) -> Mapping[str, Result]:
    from ltgen_bench.evaluation.metrics.balls import neighbour_scores  # torch, which the facts below do without

    generated, real = equal_counts(generated, real, settings.seed)
    scores = neighbour_scores(generated.features, real.features, settings.k, settings.edge, device=real.device)
    return {name: Result(value, n_real=len(real), n_generated=len(generated))
            for name, value in scores._asdict().items()}


def expected_coverage(n_real: int, n_generated: int, k: int) -> float:
    """Expected coverage of `n_real` real images by `n_generated` of the same distribution, in 0 ... 1.

    1 - prod_{i<k} (N - 1 - i) / (M + N - 1 - i), with N real and M generated images: a real image stays uncovered if its k
    nearest neighbours among all others are real, and in whatever space, all orders of equals are equally likely. Exact where
    no two distances are equal. Needs more than `k` real images. About 1 - 2^-k where N = M.
    """
    assert n_real > k >= 1, "a ball needs k neighbours"
    assert n_generated >= 0, "a negative number of images"
    uncovered = 1.0
    for i in range(k):
        uncovered *= (n_real - 1 - i) / (n_generated + n_real - 1 - i)
    return 1 - uncovered


PRECISION = Metric(
    name="precision", title="precision", direction="higher", bounds=(0.0, 1.0), min_images=2,
    summary="share of generated images within the k-NN ball of a real one: quality",
    source="Kynkaanniemi et al. 2019, arXiv:1904.06991", needs=("features", "reference"), scopes=("all", "group"),
    settings=NeighbourSettings, conventions=(("counts", "equal, drawn by class"),), enough=NEIGHBOURS,
    blind_to=(HELD_OUT, REPEATED), compute=_compute)
RECALL = replace(
    PRECISION, name="recall", title="recall", scopes=("all", "group", "class"), blind_to=(HELD_OUT,),
    plots=("groups", "classes", "curve"),
    summary="share of real images within the k-NN ball of a generated one: variety")
DENSITY = replace(
    PRECISION, name="density", title="density", direction="nearest", target=1.0, bounds=(0.0, float("inf")),
    summary="real k-NN balls around a generated image, divided by k: quality, robust to outliers",
    source="Naeem et al. 2020, arXiv:2002.09797")
COVERAGE = replace(
    DENSITY, name="coverage", title="coverage", direction="higher", target=None, bounds=(0.0, 1.0),
    scopes=("all", "group", "class"), blind_to=(HELD_OUT,),
    expected=lambda result, settings: expected_coverage(result.n_real or 0, result.n_generated or 0, settings.k),
    summary="share of real k-NN balls that hold a generated image: variety, robust to outliers")
