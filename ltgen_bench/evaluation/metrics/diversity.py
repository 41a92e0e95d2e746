"""Diversity within a class: the mean distance between two generated images of one class.

As intra-class LPIPS in the papers (mean distance of pairs of one class; Ojha et al. 2021, arXiv:2104.06820, use it for few
images), with the cosine distance of the extractor's features in the place of LPIPS.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int64

from ltgen_bench.evaluation.metrics.directions import directions
from ltgen_bench.evaluation.metrics.enough import PAIRS
from ltgen_bench.evaluation.metrics.metric import FeatureSet, Metric, Result, ScopeKind, Settings


def mean_cosine_distance(features: Float[np.ndarray, "N D"]) -> float:
    """Mean of 1 - cos over all pairs of two different images, in float64; needs two.

    In 0 (all alike) ... 2; features without negative numbers reach 1. Its expectation does not depend on N. All pairs
    by one sum: |sum of unit vectors|^2 = N + the cosines of all ordered pairs.
    """
    count = len(features)
    assert count >= 2, "a pair needs two images"
    total = directions(features).sum(axis=0)
    return max(float((count ** 2 - total @ total) / (count * (count - 1))), 0.0)  # rounding may fall a hair below


def class_diversity(features: Float[np.ndarray, "N D"], labels: Int64[np.ndarray, " N"]) -> float:
    """`mean_cosine_distance` of every class that occurs, averaged over the classes; each needs two images."""
    assert len(labels) > 0, "the mean of no classes"
    return float(np.mean([mean_cosine_distance(features[labels == label]) for label in np.unique(labels)]))


def _compute(generated: FeatureSet, real: FeatureSet, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    # A class of one image has no pair, and a mean over the other classes would be another quantity.
    alone = np.unique(generated.labels, return_counts=True)[1].min() < 2
    value = float("nan") if alone else class_diversity(generated.features, generated.labels)
    return {"diversity": Result(value, n_generated=len(generated))}


DIVERSITY = Metric(
    name="diversity", title="diversity", direction="nearest", bounds=(0.0, 2.0), min_images=2, min_per_class=2,
    summary="mean cosine distance between two generated images of a class, averaged over the classes",
    source="as intra-class LPIPS (Ojha et al. 2021, arXiv:2104.06820), on the extractor's features", needs=("features",),
    scopes=("all", "group", "class"), baselines=("test",), depends_on_n=False, enough=PAIRS, compute=_compute)
