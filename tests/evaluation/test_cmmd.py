import math
import tracemalloc

import numpy as np
import pytest

from ltgen_bench.evaluation.metrics.cmmd import cmmd
from ltgen_bench.evaluation.metrics.directions import directions


def features(count: int, seed: int, shift: float = 0.0, width: int = 6) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, width)) + shift).astype(np.float32)


def by_double_loop(first: np.ndarray, second: np.ndarray) -> float:
    """The paper's formula, pair by pair."""
    first, second = ([x.astype(np.float64) / math.sqrt(sum(float(v) ** 2 for v in x)) for x in side] for side in (first, second))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return math.exp(-sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True)) / (2 * 10 ** 2))

    def pairs(points: list[np.ndarray]) -> float:
        return math.fsum(kernel(x, y) for i, x in enumerate(points) for j, y in enumerate(points) if i != j)

    m, n = len(first), len(second)
    across = math.fsum(kernel(x, y) for x in first for y in second)
    return 1000 * (pairs(first) / (m * (m - 1)) + pairs(second) / (n * (n - 1)) - 2 * across / (m * n))


@pytest.mark.parametrize(("m", "n", "block"), [(12, 9, 256), (12, 9, 5), (2, 2, 1), (7, 15, 4)])
def test_it_is_the_papers_formula_at_any_block_size(m: int, n: int, block: int) -> None:
    first, second = features(m, 0), features(n, 1, shift=0.4)
    assert cmmd(first, second, block=block)[0] == pytest.approx(by_double_loop(first, second), rel=1e-9, abs=1e-9)


def test_length_and_order_play_no_part() -> None:
    first, second = features(30, 0), features(20, 1, shift=0.4)
    value = cmmd(first, second)[0]
    assert cmmd(first[::-1] * 3, second * np.linspace(1, 2, 20, dtype=np.float32)[:, None])[0] == pytest.approx(value, rel=1e-5)


def test_two_points_are_at_their_known_distance() -> None:
    east, north = np.tile([[2.0, 0.0]], (5, 1)), np.tile([[0.0, 3.0]], (4, 1))
    assert cmmd(east, north) == pytest.approx((2000 * (1 - math.exp(-2 / 200)), 0), abs=1e-9)
    assert cmmd(east, -east)[0] == pytest.approx(2000 * (1 - math.exp(-4 / 200)))
    assert cmmd(east, 2 * east)[0] == pytest.approx(0, abs=1e-9)


def test_equal_distributions_have_expectation_zero_and_the_error_covers_the_spread() -> None:
    values, errors = np.array([cmmd(features(30, 2 * seed), features(20, 2 * seed + 1)) for seed in range(200)]).T
    assert values.min() < 0 < values.max()
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(200)
    assert 0.7 < np.sqrt(np.square(errors).mean()) / values.std() < 2.0


def test_features_of_zeros_are_like_each_other_and_unlike_all_else() -> None:
    nothing, some = np.zeros((4, 3), np.float32), features(5, 0, width=3)
    assert cmmd(nothing, nothing)[0] == pytest.approx(0, abs=1e-9)
    assert cmmd(nothing, some)[0] > 1
    assert np.linalg.norm(directions(np.concatenate([nothing, some])), axis=1) == pytest.approx(1)


def test_no_matrix_of_all_pairs_is_held() -> None:
    first, second = features(2500, 0, width=8), features(1500, 1, width=8)
    tracemalloc.start()
    cmmd(first, second, block=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6, "all pairs would be 50 MB"
