import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation.measure import Configured, FeatureSets, measure, scopes_of
from ltgen_bench.evaluation.metrics.metric import FeatureSet
from ltgen_bench.evaluation.metrics.prd import PRD_F1_8, PRD_F8, clustered_curve, prd_curve, prd_scores


def islands(which: list[int], count: int, seed: int) -> np.ndarray:
    """`count` points near each of some far corners, so that every clustering finds the same clusters."""
    rng = np.random.default_rng(seed)
    return np.concatenate([100 * np.eye(8)[corner] + rng.standard_normal((count, 8)) for corner in which]).astype(np.float32)


def scores(generated: np.ndarray, real: np.ndarray, clusters: int) -> tuple[float, float]:
    return prd_scores(clustered_curve(generated, real, clusters, seed=0, runs=2))


def test_equal_sets_have_precision_and_recall_1() -> None:
    points = islands([0, 1, 2], 40, 0)
    assert scores(points, points, 12) == pytest.approx((1, 1), abs=1e-5)


def test_disjoint_sets_have_0() -> None:
    assert scores(islands([0, 1], 40, 0), islands([2, 3], 40, 1), 8) == (0, 0)


def test_a_collapsed_generator_keeps_precision_and_loses_recall_and_a_scattered_one_the_reverse() -> None:
    """Half of the clusters: with P = 1 and R = 1/2, F_8 = 65 R / (64 + R) and F_1/8 = 65 R / (1 + 64 R)."""
    half, whole = islands([0], 80, 0), islands([0, 1], 40, 1)
    collapsed = scores(half, whole, 2)
    assert collapsed == pytest.approx((32.5 / 64.5, 32.5 / 33), rel=1e-3)
    assert scores(whole, half, 2) == pytest.approx(collapsed[::-1], rel=1e-3)


def test_one_image_repeated_is_no_reason_to_warn() -> None:
    real = islands([0, 1], 10, 0)
    f8, f1_8 = scores(np.repeat(real[:1], 20, axis=0), real, 20)
    assert f8 < 0.2 < f1_8


def test_a_curve_stays_within_0_and_1_and_falls_from_recall_to_precision() -> None:
    rng = np.random.default_rng(0)
    precision, recall = prd_curve(rng.dirichlet(np.ones(20)), rng.dirichlet(np.ones(20)))
    assert precision.min() >= 0
    assert recall.max() <= 1
    assert (np.diff(precision) >= -1e-12).all()
    assert (np.diff(recall) <= 1e-12).all()


def test_the_seed_alone_decides_and_not_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    generated, real = (rng.standard_normal((600, 16)).astype(np.float32) for _ in range(2))
    curves = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            curves.append(clustered_curve(generated, real, 20, seed=3, runs=1))
    np.testing.assert_array_equal(curves[0], curves[1])
    assert not np.array_equal(curves[0], clustered_curve(generated, real, 20, seed=4, runs=1))


def test_fewer_images_than_clusters_have_no_score_but_a_reason(tiny_dataset) -> None:
    def rows(each: int) -> list[dict]:
        labels = np.arange(3 * each, dtype=np.int64) % 3
        side = FeatureSet(islands([0], 3 * each, 0), labels)
        with SILENT.stage("metrics", 1, "scopes") as stage:
            metrics = [Configured(metric, metric.settings()) for metric in (PRD_F8, PRD_F1_8)]
            return measure(metrics, FeatureSets(side, side, side), scopes_of(tiny_dataset)[:1], stage)

    assert {row["note"] for row in rows(19)} == {"not available: needs n >= 20 generated images of each class, has 19"}
    assert [row["value"] for row in rows(20)] == [pytest.approx(1), pytest.approx(1)]
