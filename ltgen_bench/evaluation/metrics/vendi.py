"""Vendi score: how many different images a set is worth (Friedman & Dieng 2023, arXiv:2210.02410)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ltgen_bench.evaluation.metrics.directions import directions
from ltgen_bench.evaluation.metrics.enough import VARIETY
from ltgen_bench.evaluation.metrics.metric import FeatureSet, Metric, Result, ScopeKind, Settings


def vendi_score(features: Float[np.ndarray, "N D"]) -> float:
    """exp of the entropy of the eigenvalues of K / N, K_ij the cosine of the angle between features i and j; in float64.

    In 1 (all images alike) ... N (all at right angles). It grows with N, so only equal counts compare. Exact through the
    smaller of the two Gram matrices, which share their eigenvalues but for zeros. Needs one image.
    """
    assert len(features) > 0, "the variety of nothing"
    rows = directions(features)
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    shares = np.linalg.eigvalsh(gram / len(rows))
    shares = shares[shares > 0]  # rounding may fall a hair below
    return max(float(np.exp(-(shares * np.log(shares)).sum())), 1.0)


def _compute(generated: FeatureSet, real: FeatureSet, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    return {"vendi": Result(vendi_score(generated.features), n_generated=len(generated))}


VENDI = Metric(
    name="vendi", title="Vendi", direction="nearest", bounds=(1.0, float("inf")),
    summary="how many different images a class's generated ones are worth, by the angles between features; grows with n",
    source="Friedman & Dieng 2023, arXiv:2210.02410", needs=("features",), scopes=("class",), baselines=("test",),
    enough=VARIETY, compute=_compute)
