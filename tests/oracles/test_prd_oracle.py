"""PRD against a slow version with plain Python numbers, written from the paper (arXiv:1806.00035) and methods.md 18.1."""

import math

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from ltgen_bench.evaluation.metrics.prd import clustered_curve, prd_curve, prd_scores


def slow_curve(generated, real, angles):
    """[(precision, recall)] of two lists of shares, an angle at a time."""
    points = []
    for index in range(angles):
        angle = 1e-10 + index * (math.pi / 2 - 2e-10) / (angles - 1)
        slope = math.tan(angle)
        alpha = sum(min(slope * p, q) for q, p in zip(generated, real, strict=True))
        points.append((alpha, alpha / slope))
    return points


def slow_f(points, beta):
    return max((1 + beta ** 2) * p * r / (beta ** 2 * p + r + 1e-10) for p, r in points)


def shares(seed, states=7):
    drawn = np.random.default_rng(seed).dirichlet(np.full(states, 0.5))
    return np.where(drawn < 0.03, 0, drawn) / drawn[drawn >= 0.03].sum()  # some states are empty


@pytest.mark.parametrize("seed", range(4))
def test_curve_and_scores_are_the_slow_ones(seed):
    generated, real = shares(2 * seed), shares(2 * seed + 1)
    slow, curve = slow_curve(generated.tolist(), real.tolist(), 1001), prd_curve(generated, real)
    np.testing.assert_allclose(np.array(curve).T, slow, rtol=1e-6, atol=1e-9)
    assert prd_scores(curve) == pytest.approx((slow_f(slow, 8), slow_f(slow, 1 / 8)), rel=1e-6)


def test_features_go_through_clusters_of_all_images_and_runs_are_averaged_as_curves():
    rng = np.random.default_rng(0)
    generated, real = rng.standard_normal((60, 3)), rng.standard_normal((80, 3)) + 0.5
    draws, points = np.random.RandomState(5), []
    for _ in range(3):
        found = MiniBatchKMeans(n_clusters=6, n_init=10, random_state=draws).fit_predict(np.vstack([generated, real])).tolist()
        sides = [[found[part].count(c) / len(found[part]) for c in range(6)] for part in (slice(60), slice(60, None))]
        points.append(slow_curve(*sides, angles=1001))
    averaged = np.mean(points, axis=0)
    np.testing.assert_allclose(np.array(clustered_curve(generated, real, 6, seed=5, runs=3)).T, averaged, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_float32_features_give_the_curve_of_float64(seed):
    """On features like Inception's (D large against the clusters) float32 inside k-means moves images."""
    rng = np.random.default_rng(seed)
    generated, real = (rng.standard_normal((400, 256)).astype(np.float32) + 10 for _ in range(2))
    wide = (side.astype(np.float64) for side in (generated, real))
    curve = clustered_curve(generated, real, 20, seed=1, runs=2)
    np.testing.assert_array_equal(curve, clustered_curve(*wide, 20, seed=1, runs=2))
