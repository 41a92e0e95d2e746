import tracemalloc

import mpmath
import numpy as np
import pytest
import torch
from scipy import linalg
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from ltgen_bench.evaluation.metrics.fid import frechet_distance


def by_matrix_root(first: np.ndarray, second: np.ndarray) -> float:
    """The formula as Heusel et al. print it, with scipy's general matrix square root."""
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    shift = first.mean(axis=0) - second.mean(axis=0)
    return float(shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root).real)


def in_fifty_digits(first: np.ndarray, second: np.ndarray) -> float:
    """The formula in fifty digits, by the eigenvalues of R S_2 R with R^2 = S_1."""
    with mpmath.workdps(50):
        means, covariances = [], []
        for side in (first, second):
            points, count = mpmath.matrix(side.tolist()), len(side)
            means.append([mpmath.fsum(points[i, j] for i in range(count)) / count for j in range(side.shape[1])])
            centred = mpmath.matrix([[points[i, j] - means[-1][j] for j in range(side.shape[1])] for i in range(count)])
            covariances.append(centred.T * centred / (count - 1))
        values, vectors = mpmath.eigsy(covariances[0])
        root = vectors * mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values]) * vectors.T
        cross = mpmath.fsum(mpmath.sqrt(max(value, 0)) for value in mpmath.eigsy(root * covariances[1] * root, eigvals_only=True))
        traces = mpmath.fsum(covariance[j, j] for covariance in covariances for j in range(covariance.rows))
        return float(mpmath.fsum((a - b) ** 2 for a, b in zip(*means, strict=True)) + traces - 2 * cross)


def features(count: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)) @ np.diag(np.linspace(0.2, 2, width)) + shift


@pytest.mark.parametrize(("generated", "real", "width"), [(200, 300, 12), (60, 60, 12), (13, 400, 12)])
def test_more_images_than_dimensions_agree_with_the_matrix_square_root(generated: int, real: int, width: int) -> None:
    first, second = features(generated, width, 0), features(real, width, 1, shift=0.3)
    assert frechet_distance(first, second) == pytest.approx(by_matrix_root(first, second), rel=1e-9)


@pytest.mark.parametrize(("generated", "real", "width"), [(10, 10, 40), (10, 200, 40), (200, 10, 40), (2, 3, 5)])
def test_fewer_images_than_dimensions_agree_with_torch_fidelity(generated: int, real: int, width: int) -> None:
    first, second = features(generated, width, 0), features(real, width, 1, shift=0.3)
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (first, second)]
    # Its eigenvalues of a singular product lie about 1e-16 beside 0, and it takes their roots.
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("generated", "real", "width"), [(3, 4, 8), (4, 12, 8), (2, 2, 6), (30, 9, 8)])
def test_any_number_of_images_agrees_with_fifty_digits(generated: int, real: int, width: int) -> None:
    first, second = features(generated, width, 0), features(real, width, 1, shift=0.3)
    assert frechet_distance(first, second) == pytest.approx(in_fifty_digits(first, second), rel=1e-11)


@pytest.mark.parametrize(("generated", "real"), [(150, 150), (150, 900), (900, 150)])
def test_few_images_of_wide_features_agree_with_torch_fidelity_and_the_matrix_square_root(generated: int, real: int) -> None:
    first, second = features(generated, 300, 0), features(real, 300, 1, shift=0.3)
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (first, second)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(first, second) == pytest.approx(by_matrix_root(first, second), rel=1e-6)


@pytest.mark.parametrize("block", [1, 7, 64])
@pytest.mark.parametrize("count", [10, 200])
def test_block_size_and_order_change_nothing(block: int, count: int) -> None:
    first, second = features(count, 40, 0), features(150, 40, 1)
    value = frechet_distance(first, second)
    assert frechet_distance(first, second, block=block) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(first[::-1], second[::-1]) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("count", [50_000, 20])
def test_no_float64_copy_of_all_features_is_made(count: int) -> None:
    second = np.random.default_rng(0).standard_normal((50_000, 64), dtype=np.float32)
    tracemalloc.start()
    frechet_distance(second[:count], second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6, "a copy would be 26 MB"


def test_many_images_agree_with_torch_fidelity() -> None:
    first, second = features(500, 30, 0), features(400, 30, 1, shift=0.1)
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (first, second)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [8, 40, 400])
def test_a_set_is_at_no_distance_from_itself(count: int) -> None:
    same = features(count, 40, 0)
    trace = np.trace(np.cov(same, rowvar=False))
    assert 0 <= frechet_distance(same, same) < 1e-6 * trace


def test_both_ways_to_the_cross_term_agree_where_both_apply() -> None:
    first, second = features(41, 40, 0), features(90, 40, 1)
    padded = np.pad(first, ((0, 0), (0, 60))), np.pad(second, ((0, 0), (0, 60)))  # empty dimensions change nothing
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(first, second), rel=1e-9)


def test_two_gaussians_are_at_their_known_distance() -> None:
    first, second = features(200_000, 3, 0), 2 * features(200_000, 3, 1) + 1
    scales = np.linspace(0.2, 2, 3)  # sd 1 and 2 times these: the squared difference is these squared
    assert frechet_distance(first, second) == pytest.approx(3 + np.square(scales).sum(), rel=0.02)


def test_float32_features_are_summed_in_float64() -> None:
    first, second = features(300, 10, 0).astype(np.float32) + 1000, features(300, 10, 1).astype(np.float32) + 1000
    expected = by_matrix_root(first.astype(np.float64), second.astype(np.float64))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
