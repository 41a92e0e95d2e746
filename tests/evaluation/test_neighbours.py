import operator
from typing import Literal

import numpy as np
import prdc
import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from ltgen_bench.evaluation.metrics import balls
from ltgen_bench.evaluation.metrics.balls import NeighbourScores, neighbour_scores
from ltgen_bench.evaluation.metrics.metric import FeatureSet
from ltgen_bench.evaluation.metrics.neighbours import equal_counts

Edge = Literal["<=", "<"]


def features(count: int, seed: int, shift: float = 0.0, width: int = 8) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, width)) + shift).astype(np.float32)


def by_loops(generated: np.ndarray, real: np.ndarray, k: int, edge: str = "<=") -> NeighbourScores:
    """The four definitions, point by point. Whole numbers meet without rounding, so ties are ties."""
    generated, real = generated.astype(np.float64), real.astype(np.float64)
    inside = {"<=": operator.le, "<": operator.lt}[edge]

    def squared(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.square(a - b).sum())

    def reach(points: np.ndarray) -> list[float]:
        return [sorted(squared(point, other) for other in points)[k] for point in points]

    around_real, around_generated = reach(real), reach(generated)
    distance = [[squared(g, r) for r in real] for g in generated]
    hits = [[inside(distance[i][j], around_real[j]) for j in range(len(real))] for i in range(len(generated))]
    return NeighbourScores(
        precision=float(np.mean([any(row) for row in hits])),
        recall=float(np.mean([any(inside(distance[i][j], around_generated[i]) for i in range(len(generated)))
                              for j in range(len(real))])),
        density=sum(map(sum, hits)) / (k * len(generated)),
        coverage=float(np.mean([any(row[j] for row in hits) for j in range(len(real))])))


@pytest.mark.parametrize("edge", ["<=", "<"])
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("generated", "real", "width"), [(40, 40, 8), (25, 60, 8), (30, 30, 600)])
def test_all_four_agree_with_their_definitions(generated: int, real: int, width: int, k: int, edge: Edge) -> None:
    first, second = features(generated, 0, width=width), features(real, 1, shift=0.2, width=width)
    assert neighbour_scores(first, second, k, edge) == pytest.approx(by_loops(first, second, k, edge))


@pytest.mark.parametrize("edge", ["<=", "<"])
@pytest.mark.parametrize(("width", "high", "far"), [(2, 4, 0), (2, 4, 1000), (4, 3, 17), (700, 3, 0), (700, 40, 300)])
@pytest.mark.parametrize("block", [7, 1024])
def test_points_on_an_edge_are_inside_or_outside_by_the_rule(width: int, high: int, far: int, edge: Edge, block: int) -> None:
    """Whole numbers on a small grid: nearly every distance is tied with another, and centring makes none of them exact."""
    rng = np.random.default_rng(width + high)
    real = (rng.integers(0, high, (50, width)) + far).astype(np.float32)
    generated = (rng.integers(0, high, (35, width)) + far).astype(np.float32)
    generated[:20] = real[:20]  # copies
    generated[20:24] = real[0]  # of one image, five times
    for k in (1, 3, 5):
        assert neighbour_scores(generated, real, k, edge, block) == pytest.approx(by_loops(generated, real, k, edge))


@pytest.mark.parametrize(("width", "shift"), [(16, 0.0), (2048, 0.0), (2048, 3.0)])
@pytest.mark.parametrize(("edge", "density"), [("<=", 6 / 5), ("<", 1.0)])
def test_a_copied_set_has_every_neighbour_on_an_edge(width: int, shift: float, edge: Edge, density: float) -> None:
    """The k-th neighbour's copy lies exactly as far away as the ball reaches; 5 or 6 copies are inside it."""
    real = features(150, 0, shift, width)
    shuffled = real[np.random.default_rng(1).permutation(150)]
    assert neighbour_scores(shuffled, real, 5, edge, block=37) == pytest.approx((1.0, 1.0, density, 1.0))


def test_copies_lie_in_no_ball_without_extent_when_the_edge_is_left_out() -> None:
    copies = np.repeat(features(4, 0) + 1000, 5, axis=0)  # each reach is 0, and 0 < 0 is false
    assert neighbour_scores(copies, copies, 3, "<") == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("k", [3, 5])
def test_precision_and_recall_are_torch_fidelitys(k: int) -> None:
    first, second = features(300, 0), features(250, 1, shift=0.5)
    expected = prc_features_to_metric(torch.from_numpy(first), torch.from_numpy(second), prc_neighborhood=k,
                                      verbose=False)
    scores = neighbour_scores(first, second, k)
    assert (scores.precision, scores.recall) == pytest.approx((expected["precision"], expected["recall"]))


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_block_size_changes_nothing(block: int) -> None:
    first, second = features(90, 0), features(80, 1)
    assert neighbour_scores(first, second, 5, block=block) == neighbour_scores(first, second, 5)


def test_a_collapsed_generator_has_high_precision_and_low_recall() -> None:
    real = features(200, 0, width=3)
    collapsed = np.zeros((200, 3), np.float32) + features(200, 1, width=3) * 1e-3
    scores = neighbour_scores(collapsed, real, 5)
    assert scores.precision > 0.95
    assert scores.recall < 0.05
    assert scores.coverage < 0.2


def test_a_scattered_generator_has_low_precision_and_high_recall() -> None:
    real = features(200, 0, width=3) * 0.05
    scores = neighbour_scores(features(200, 1, width=3) * 3, real, 5)
    assert scores.precision < 0.1
    assert scores.recall > 0.95


def test_copies_lie_in_balls_without_extent() -> None:
    copies = np.repeat(features(4, 0) + 1000, 5, axis=0)  # far from 0, where rounding is worst; each reach is 0
    assert neighbour_scores(copies, copies, 3) == pytest.approx((1.0, 1.0, 5 / 3, 1.0))


def test_equal_distributions_reach_the_coverage_that_is_expected_of_them() -> None:
    n, k = 400, 5
    expected = 1 - np.prod([(n - 1 - i) / (2 * n - 1 - i) for i in range(k)])  # statistics of exchangeable points
    found = np.mean([neighbour_scores(features(n, 2 * s), features(n, 2 * s + 1), k).coverage for s in range(10)])
    assert found == pytest.approx(expected, abs=0.015)


def test_the_larger_side_is_cut_to_the_smaller_in_equal_shares_of_its_classes() -> None:
    many, few = np.repeat([0, 1], [60, 30]), np.repeat([0, 1], [10, 20])
    sides = FeatureSet(features(90, 0), many.astype(np.int64)), FeatureSet(features(30, 1), few.astype(np.int64))
    first, second = equal_counts(*sides, seed=0)
    assert np.bincount(first.labels).tolist() == [20, 10]
    assert np.bincount(second.labels).tolist() == [10, 20]


def nearly_tied(count: int, seed: int, width: int = 700) -> np.ndarray:
    """Points whose distances differ by a millionth, which float32 products cannot tell apart and float64 can."""
    rng = np.random.default_rng(seed)
    axes = np.eye(width)[rng.permutation(width)[:count]] * 100  # all pairs exactly as far apart
    return (axes + rng.standard_normal((count, width)) * 2e-5).astype(np.float32)


@pytest.mark.parametrize("edge", ["<=", "<"])
@pytest.mark.parametrize(("seed", "pending"), [(0, 1 << 20), (1, 1 << 20), (1, 50)])
def test_wide_features_are_decided_as_exact_numbers_decide_them(seed: int, pending: int, edge: Edge,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balls, "PENDING", pending)
    first, second = nearly_tied(90, 2 * seed), nearly_tied(110, 2 * seed + 1)
    found = neighbour_scores(first, second, 3, edge, block=32)
    assert found == pytest.approx(by_loops(first, second, 3, edge), abs=1e-12)
    assert 0.05 < found.density < 2  # neither none nor all
    in_single = (first[:, None] - second[None]).astype(np.float32)
    assert len(np.unique(np.square(in_single).sum(axis=2).astype(np.float16))) < 5  # they are nearly tied


@pytest.mark.parametrize("k", [3, 5, 10])
@pytest.mark.parametrize(("width", "shift"), [(16, 0.4), (2048, 0.1)])
def test_all_four_are_prdcs_with_its_edge_rule(k: int, width: int, shift: float) -> None:
    """The package of Naeem et al. 2020. Its distances are of float64."""
    mixing = features(16, 9, width=width)
    first, second = features(400, 0, shift, 16) @ mixing, features(350, 1, 0.0, 16) @ mixing
    expected = prdc.compute_prdc(real_features=second.astype(np.float64), fake_features=first.astype(np.float64), nearest_k=k)
    found = neighbour_scores(first, second, k, "<")._asdict()
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-12)
    assert 0 < found["recall"] < 1
    assert 0 < found["coverage"] < 1
