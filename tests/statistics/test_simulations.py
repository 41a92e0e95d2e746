"""Verdicts, intervals and numbers of further seeds on simulated scores of which the truth is known."""

import math

import pytest
import simulations
from simulations import (
    CELLS,
    REPETITIONS,
    SELECTIONS,
    UNLIKE,
    Cell,
    false_equivalence,
    further,
    level,
    level_of_unlike,
    power,
    rank_coverage,
    repetitions_of,
)

QUICK = 150


def at_most(share, repetitions):
    """The largest frequency that `share` has in so many repetitions but in 1 of 400 cases."""
    return share + 2.8 * math.sqrt(share * (1 - share) / repetitions)


@pytest.mark.parametrize("cell", [Cell(13, 3), Cell(13, 3, "normal", "baseline"), Cell(20, 4, "normal", "half"),
                                  Cell(13, 3, "exponential", "baseline", True), Cell(2, 5, "exponential", "baseline")])
def test_equal_methods_rarely_get_a_verdict(cell):
    assert max(level(cell, QUICK)) <= at_most(0.05, QUICK)


def test_verdicts_find_what_paired_tests_with_a_correction_over_all_pairs_do_not():
    new, from_baseline, old, calculated = power(3, 5, 60)
    assert new > 0.7
    assert from_baseline > new
    assert old < 0.1
    assert new == pytest.approx(calculated, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell)))
def test_at_most_five_percent_have_a_false_verdict(cell):
    found = level(cell)
    assert max(found) <= at_most(0.05, repetitions_of(cell))
    if (cell.rest, cell.large, cell.steps) == ("normal", "equal", False):
        pairs, from_baseline = found
        assert pairs >= 0.01, "intervals that contain the truth too often are too wide"
        assert from_baseline >= 0.004  # wider, since the baseline's variance may be a large one


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "repetitions", "chosen"), SELECTIONS)
def test_a_selection_of_the_methods_keeps_the_level(cell, repetitions, chosen):
    assert max(level(cell, repetitions, chosen)) <= at_most(0.05, repetitions)


@pytest.mark.slow
@pytest.mark.parametrize("case", UNLIKE)
def test_entries_with_fewer_seeds_and_external_samples_keep_the_level(case):
    assert max(level_of_unlike(*UNLIKE[case])) <= at_most(0.05, REPETITIONS // 2)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("distance", [1e-6, 0.5, 2.0])
def test_rank_intervals_contain_the_true_ranks(seeds, distance):
    assert rank_coverage(seeds, distance) >= 1 - at_most(0.05, REPETITIONS // 8)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("shift", [1, 2, 3, 5])
def test_power_is_near_the_calculated_one_and_above_that_of_the_former_test(seeds, shift):
    new, from_baseline, old, calculated = power(seeds, shift)
    assert new == pytest.approx(calculated, abs=0.05)
    assert from_baseline > new - 0.02
    assert new > 1.5 * old


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 1.5, 2.0, 3.0])
def test_further_seeds_are_right_within_a_factor_of_one_and_a_half(shift):
    told, needed = further(shift)
    assert 1 / 1.5 <= (told - 3) / (needed - 3) <= 1.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("sd", [0.001, 0.004])
def test_methods_that_differ_by_the_margin_are_rarely_equivalent(seeds, sd):
    assert false_equivalence(seeds, sd) <= at_most(0.05, REPETITIONS // 2)


def test_the_scores_that_further_seeds_are_told_from_have_the_stated_variance():
    frame = simulations.exact(3, 2.0)
    within = frame.sub(frame.mean(axis=1), axis=0)
    within -= within.mean()
    assert (within**2).sum().to_numpy() == pytest.approx(2 * 12 / 13)
