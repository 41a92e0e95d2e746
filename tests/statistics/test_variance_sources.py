"""Sources of variance, by simulated scores of which the truth is known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from ltgen_bench.statistics.variance_sources import variance_sources

TRAINING, SAMPLING = 4.0, 1.0


def drawn(rng, *, entries=4, trainings=3, samplings=3, shared=0.0, crossed=True):
    """Scores: entry + training + sampling; with `crossed` seeds a part `shared` of the sampling variance is that of its seed."""
    rows = []
    for entry in range(entries):
        of_training = rng.normal(0, np.sqrt(TRAINING), trainings)
        of_seed = rng.normal(0, np.sqrt(shared * SAMPLING), samplings)
        for seed, sampled in itertools.product(range(trainings), range(samplings)):
            rest = rng.normal(0, np.sqrt((1 - shared) * SAMPLING))
            rows.append((f"m{entry}", seed, sampled if crossed else 100 * seed + sampled,
                         10 * entry + of_training[seed] + of_seed[sampled] * crossed + rest))
    return pd.DataFrame(rows, columns=["entry", "seed", "sample_seed", "value"])


@pytest.mark.parametrize(("shared", "crossed"), [(0.0, False), (0.0, True), (0.8, True)])
def test_both_variances_are_found_without_bias(shared, crossed):
    rng = np.random.default_rng(3)
    found = [variance_sources(drawn(rng, entries=12, shared=shared, crossed=crossed)) for _ in range(60)]
    assert np.mean([one.training for one in found]) == pytest.approx(TRAINING, rel=0.1)
    assert np.mean([one.sampling for one in found]) == pytest.approx(SAMPLING, rel=0.1)
    assert {(one.training_df, one.sampling_df) for one in found} == {(12 * 2, 12 * 3 * 2)}


def test_with_sampling_seeds_of_their_own_it_is_the_nested_analysis_of_variance():
    frame = drawn(np.random.default_rng(1), entries=1, crossed=False)
    means = frame.groupby("seed")["value"].mean()
    within = frame.groupby("seed")["value"].var(ddof=1).mean()
    found = variance_sources(frame)
    assert found.sampling == pytest.approx(within)
    assert found.training == pytest.approx(means.var(ddof=1) - within / 3)


def test_nothing_is_said_of_one_sampling_seed_and_nothing_of_one_training():
    assert variance_sources(drawn(np.random.default_rng(1), samplings=1)) is None
    one = variance_sources(drawn(np.random.default_rng(1), trainings=1))
    assert (one.training, one.training_df) == (None, 0)
    assert one.sampling_df == 4 * 2


def test_a_training_variance_below_zero_is_zero_and_entries_of_one_sampling_seed_do_not_count():
    frame = pd.DataFrame({"entry": "a", "seed": [0, 0, 1, 1], "sample_seed": [0, 1, 2, 3], "value": [0.0, 2.0, 0.0, 2.0]})
    found = variance_sources(frame)
    assert (found.training, found.sampling) == (0.0, 2.0)
    other = pd.DataFrame({"entry": "b", "seed": [0, 1], "sample_seed": [0, 0], "value": [5.0, 50.0]})
    assert variance_sources(pd.concat([frame, other])) == found
