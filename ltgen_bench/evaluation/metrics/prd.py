"""PRD: precision and recall of distributions over clusters of features, as F_8 and F_1/8 (Sajjadi et al. 2018).

arXiv:1806.00035, with the numbers that the long-tailed literature uses (CBDM, arXiv:2305.00562): 20 clusters a class, 10 runs
of mini-batch k-means with 10 starts each, 1001 angles. F_8 follows recall and F_1/8 precision; CBDM's log prints them under the
words "precision" (F_8) and "recall" (F_1/8). The curves are averaged over the runs, then F is maximised over the angles.
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn brings it along

from ltgen_bench.evaluation.metrics.enough import CLUSTERS
from ltgen_bench.evaluation.metrics.metric import DrawSettings, FeatureSet, Metric, Result, ScopeKind
from ltgen_bench.evaluation.metrics.neighbours import equal_counts

CLUSTERS_PER_CLASS = 20
RUNS = 10
STARTS = 10  # of k-means in every run
ANGLES = 1001
EPSILON = 1e-10  # distance of the outer angles from the axes, and what keeps F from 0 / 0
BETA = 8.0


class Curve(NamedTuple):
    """Precision and recall at every angle, each in 0 ... 1."""

    precision: Float64[np.ndarray, " A"]
    recall: Float64[np.ndarray, " A"]


def prd_curve(generated: Float[np.ndarray, " C"], real: Float[np.ndarray, " C"], angles: int = ANGLES) -> Curve:
    """The curve of two distributions over the same C states (each sums to 1), in float64.

    At the slope l = tan(angle): precision sum_c min(l real_c, generated_c), recall sum_c min(real_c, generated_c / l).
    """
    slopes = np.tan(np.linspace(EPSILON, np.pi / 2 - EPSILON, angles))
    precision = np.minimum(slopes[:, None] * real, generated).sum(axis=1)
    return Curve(np.clip(precision, 0, 1), np.clip(precision / slopes, 0, 1))  # rounding may lead beyond 1


def prd_scores(curve: Curve) -> tuple[float, float]:
    """(F_8, F_1/8), each in 0 ... 1: max over the curve of F_b = (1 + b^2) P R / (b^2 P + R + 1e-10)."""
    precision, recall = curve
    f8, f1_8 = (((1 + beta ** 2) * precision * recall / (beta ** 2 * precision + recall + EPSILON)).max()
                for beta in (BETA, 1 / BETA))
    return float(f8), float(f1_8)


def clustered_curve(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], clusters: int, *, seed: int,
                    runs: int = RUNS) -> Curve:
    """The curve of the shares of `clusters` that mini-batch k-means finds among all images, averaged over `runs`.

    Where M and N differ, the clusters lean to the larger side. Needs `clusters` images in all. `seed` fixes every draw, but
    they follow the order of the images. Clustering is of float64, as in the public code: float32 moves images between
    clusters. Memory: one float64 copy of all features. Time: 4 minutes for 10,000 images a side, 200
    clusters and 2048 features.
    """
    from sklearn.cluster import MiniBatchKMeans  # half a second to import
    from sklearn.exceptions import ConvergenceWarning

    pooled = np.concatenate([generated, real], dtype=np.float64)
    assert len(pooled) >= clusters, "a cluster needs an image"
    rng = np.random.RandomState(seed)  # the generator of scikit-learn
    curves = []
    for _ in range(runs):
        # One thread: k-means takes many small steps, and threads that wait for each other cost more than they give.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of copies: fewer distinct images than clusters
            found = MiniBatchKMeans(clusters, n_init=STARTS, random_state=rng).fit(pooled).labels_
        of_generated, of_real = (np.bincount(part, minlength=clusters) / len(part)
                                 for part in (found[:len(generated)], found[len(generated):]))
        curves.append(prd_curve(of_generated, of_real))
    return Curve(*np.mean(curves, axis=0))


def _compute(generated: FeatureSet, real: FeatureSet, settings: DrawSettings, kind: ScopeKind) -> Mapping[str, Result]:
    clusters = CLUSTERS_PER_CLASS * len(np.unique(generated.labels))
    generated, real = equal_counts(generated, real, settings.seed)
    counts = {"n_real": len(real), "n_generated": len(generated)}
    f8, f1_8 = prd_scores(clustered_curve(generated.features, real.features, clusters, seed=settings.seed))
    return {"prd_f8": Result(f8, **counts), "prd_f1_8": Result(f1_8, **counts)}


PRD_F8 = Metric(
    name="prd_f8", title="F8", direction="higher", bounds=(0.0, 1.0), min_images=CLUSTERS_PER_CLASS,
    min_per_class=CLUSTERS_PER_CLASS, on_request=True,
    summary="greatest F_8 of precision and recall over clusters of features: variety; takes long",
    source="Sajjadi et al. 2018, arXiv:1806.00035; 20 clusters a class as in CBDM, arXiv:2305.00562",
    needs=("features", "reference"), scopes=("all",), revision=2, baselines=(), enough=CLUSTERS, settings=DrawSettings,
    conventions=(("counts", "equal, drawn by class"),), compute=_compute)
PRD_F1_8 = replace(
    PRD_F8, name="prd_f1_8", title="F1/8",
    summary="greatest F_1/8 of precision and recall over clusters of features: quality; takes long")
