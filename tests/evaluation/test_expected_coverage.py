from math import comb

import numpy as np
import pytest

from ltgen_bench.evaluation.metrics.balls import neighbour_scores
from ltgen_bench.evaluation.metrics.neighbours import expected_coverage


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "m"), [(6, 1), (50, 50), (5000, 500), (500, 5000), (6, 0)])
def test_it_is_the_chance_that_not_all_k_neighbours_are_real(n: int, m: int, k: int) -> None:
    all_real = comb(n - 1, k) / comb(n - 1 + m, k)  # of the ways to choose k neighbours among all others
    assert expected_coverage(n, m, k) == pytest.approx(1 - all_real, rel=1e-12, abs=1e-12)


def test_known_numbers() -> None:
    assert expected_coverage(10_000, 10_000, 5) == pytest.approx(0.969, abs=5e-4)
    assert expected_coverage(10_000, 10_000, 3) == pytest.approx(0.875, abs=5e-4)
    assert expected_coverage(5000, 50, 5) == pytest.approx(0.049, abs=5e-4)
    assert expected_coverage(20, 0, 5) == 0


@pytest.mark.parametrize(("n", "m", "k"), [(60, 60, 3), (80, 20, 5), (30, 90, 5)])
def test_images_of_one_distribution_are_covered_as_expected(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(0)
    found = [neighbour_scores(rng.standard_normal((m, 4)), rng.standard_normal((n, 4)), k).coverage for _ in range(200)]
    assert np.mean(found) == pytest.approx(expected_coverage(n, m, k), abs=4 * np.std(found) / np.sqrt(200))


def test_a_ball_without_enough_neighbours_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        expected_coverage(5, 10, 5)
