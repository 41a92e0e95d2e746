import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from ltgen_bench.evaluation.metrics.kid import kid_over_subsets, subset_size, unbiased_mmd2


def features(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 6)) + shift


def by_double_loop(first: np.ndarray, second: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    def pairs(points: np.ndarray) -> float:
        return sum(kernel(x, y) for i, x in enumerate(points) for j, y in enumerate(points) if i != j)

    m, n = len(first), len(second)
    across = sum(kernel(x, y) for x in first for y in second)
    return pairs(first) / (m * (m - 1)) + pairs(second) / (n * (n - 1)) - 2 * across / (m * n)


@pytest.mark.parametrize("subsets", [1, 7])
def test_subsets_are_torch_fidelitys(subsets: int) -> None:
    first, second = features(80, 0), features(60, 1, shift=0.2)
    expected = kid_features_to_metric(torch.from_numpy(first), torch.from_numpy(second), kid_subsets=subsets,
                                      kid_subset_size=25, rng_seed=3, verbose=False)
    value, deviation = kid_over_subsets(first, second, subsets=subsets, size=25, seed=3)
    assert value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    assert deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("m", "n", "block"), [(12, 9, 1024), (12, 9, 5), (2, 2, 1), (7, 15, 4)])
def test_all_pairs_agree_with_a_double_loop_at_any_block_size(m: int, n: int, block: int) -> None:
    first, second = features(m, 0), features(n, 1, shift=0.4)
    assert unbiased_mmd2(first, second, block=block)[0] == pytest.approx(by_double_loop(first, second), rel=1e-10)


def test_the_error_is_the_jackknifes_over_both_sides() -> None:
    first, second = features(9, 0), features(7, 1, shift=0.4)
    without_first = [by_double_loop(np.delete(first, i, axis=0), second) for i in range(9)]
    without_second = [by_double_loop(first, np.delete(second, j, axis=0)) for j in range(7)]
    expected = math.sqrt(8 / 9 * np.square(without_first - np.mean(without_first)).sum()
                         + 6 / 7 * np.square(without_second - np.mean(without_second)).sum())
    assert unbiased_mmd2(first, second)[1] == pytest.approx(expected, rel=1e-8)


def test_two_images_have_a_value_and_no_error() -> None:
    value, error = unbiased_mmd2(features(2, 0), features(5, 1))
    assert math.isfinite(value)
    assert math.isnan(error)


def test_equal_distributions_have_expectation_zero_and_the_error_covers_the_spread() -> None:
    runs = [unbiased_mmd2(features(30, 2 * seed), features(20, 2 * seed + 1)) for seed in range(300)]
    values, errors = np.array(runs).T
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(300)
    assert 0.7 < np.sqrt(np.square(errors).mean()) / values.std() < 2.0


@pytest.mark.parametrize(("generated", "real", "size"), [(50_000, 50_000, 1000), (1000, 1347, 500), (5, 9, 2), (2, 2, 2)])
def test_a_subset_is_a_thousand_images_or_half_of_a_small_side(generated: int, real: int, size: int) -> None:
    assert subset_size(generated, real) == size
