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
