import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ltgen_bench.statistics import Scale, compare, fit, scale_of
from ltgen_bench.statistics.critical import box_epsilon, brown_forsythe, critical_value
from ltgen_bench.statistics.further_seeds import further_seeds, settled
from ltgen_bench.statistics.scale import step_of
from ltgen_bench.statistics.seed_model import with_larger_variance

NAMES = [f"m{at:02}" for at in range(13)]


def scores(shifts, seeds=3, *, seed=0, sd=1.0, block=5.0):
    """Scores around 100 with entry shifts, what a seed adds, and normal rests."""
    rng = np.random.default_rng(seed)
    values = 100 + np.asarray(shifts) + block * rng.standard_normal((seeds, 1)) + sd * rng.standard_normal((seeds, len(shifts)))
    return pd.DataFrame(values, columns=NAMES[:len(shifts)], index=range(seeds))


def verdicts(frame, **settings):
    return {(one.a, one.b): one.verdict for one in compare(fit(frame, scale=Scale()), **settings).differences}


@pytest.mark.parametrize("k", [2, 3, 13])
@pytest.mark.parametrize("df", [2.0, 4.0, 24.0])
def test_the_critical_value_of_all_pairs_is_that_of_scipys_studentised_range(k, df):
    found = critical_value("pairs", k, df)
    assert found == pytest.approx(stats.studentized_range.ppf(0.95, k, df) / math.sqrt(2), rel=1e-3)


def test_the_critical_value_against_a_baseline_is_dunnetts():
    rng = np.random.default_rng(1)
    groups = [rng.standard_normal(5) + shift for shift in (0.0, 0.9, 1.5, 2.1)]
    interval = stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(2)).confidence_interval(0.95)
    sd = math.sqrt(np.mean([own.var(ddof=1) for own in groups]))
    half = critical_value("baseline", 4, 16.0) * sd * math.sqrt(2 / 5)
    assert (interval.high - interval.low) / 2 == pytest.approx(np.full(3, half), rel=0.01)
    assert critical_value("baseline", 2, 10.0) == pytest.approx(stats.t.ppf(0.975, 10), rel=1e-3)


@pytest.mark.parametrize("baseline", [None, "m01"])
def test_two_entries_are_compared_by_the_paired_t_test_at_three_quarters_of_the_level(baseline):
    frame = scores([0.0, 3.0], seeds=5)
    (one,) = compare(fit(frame, scale=Scale()), baseline=baseline).differences
    interval = stats.ttest_rel(frame["m00"], frame["m01"]).confidence_interval(1 - 0.75 * 0.05)
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high), rel=1e-3)


def test_what_a_seed_adds_to_all_entries_changes_no_difference():
    frame = scores([0.0, 2.0, 4.0, 4.0])
    moved = frame.add([0.0, 50.0, -20.0], axis=0)
    before, after = (compare(fit(one, scale=Scale())).differences for one in (frame, moved))
    assert [one.low for one in after] == pytest.approx([one.low for one in before])


def test_a_missing_score_leaves_the_differences_that_least_squares_gives():
    """Without rests the model is exact, so that the seeds' parts do not shift the entry that lacks one."""
    frame = scores([0.0, 2.0, 5.0], sd=1e-6)
    frame.iloc[2, 0] = np.nan
    found = compare(fit(frame, scale=Scale())).of("m00", "m02")
    assert found.estimate == pytest.approx(-5.0, abs=1e-4)


def test_verdicts_follow_the_direction_and_turn_with_the_pair():
    frame = scores([0.0, 20.0, 40.0])
    assert verdicts(frame)["m00", "m02"] == "better"
    higher = compare(fit(frame, scale=Scale(), direction="higher"))
    assert higher.of("m00", "m02").verdict == "worse"
    assert higher.of("m02", "m00").verdict == "better"
    assert higher.best == ("m02",)
    assert higher.counts("m01") == {"better": 1, "worse": 1, "equivalent": 0, "open": 0}
    assert {name: rank.rank for name, rank in higher.ranks.items()} == {"m00": 3, "m01": 2, "m02": 1}


def test_entries_that_are_not_told_apart_may_all_be_the_best():
    found = compare(fit(scores([0.0, 0.1, 30.0]), scale=Scale()))
    assert found.best == ("m00", "m01")
    assert (found.ranks["m00"].low, found.ranks["m00"].high) == (1, 2)
    assert (found.ranks["m02"].low, found.ranks["m02"].high) == (3, 3)


def test_equivalent_is_an_interval_inside_the_margin():
    frame = scores([0.0, 0.0, 0.0, 0.0], seeds=8, sd=0.2)
    assert set(verdicts(frame).values()) == {"equivalent"}, "2 % of 100 is 2"
    frame = scores([0.0, 0.0, 0.0, 0.0], seeds=8, sd=2.0)
    assert "equivalent" not in verdicts(frame).values()
    assert set(verdicts(frame, error_of_real=20.0).values()) == {"equivalent"}
    (one,) = compare(fit(scores([0.0, 0.0], seeds=8, sd=0.2), scale=Scale()), error_of_real=3.0).differences
    assert one.margin == 3.0


def test_an_entry_with_one_seed_takes_nothing_from_the_others():
    frame = scores([0.0, 10.0, 20.0, 0.0], sd=0.5)
    alone = verdicts(frame.drop(columns="m03"))
    frame.loc[frame.index[1:], "m03"] = np.nan
    model = fit(frame, scale=Scale())
    found = {(one.a, one.b): one.verdict for one in compare(model).differences}
    assert {pair: found[pair] for pair in alone} == alone
    assert any("m03: one seed" in text for text in model.conditions)
    assert found["m02", "m03"] == "worse", "by the variance of the others"


def test_the_seeds_of_external_samples_pair_with_nothing():
    """The same numbers as of a row of the blocks; what the seeds add is now a part of their variance."""
    frame = scores([0.0, 8.0, 8.0, 8.0], seeds=5, sd=0.5)
    paired = compare(fit(frame, scale=Scale())).of("m00", "m01")
    apart = compare(fit(frame, scale=Scale(), external=frozenset({"m00"}))).of("m00", "m01")
    assert apart.high - apart.low > 3 * (paired.high - paired.low)
    others = compare(fit(frame.drop(columns="m00"), scale=Scale())).of("m01", "m02")
    with_it = compare(fit(frame, scale=Scale(), external=frozenset({"m00"}))).of("m01", "m02")
    assert with_it.estimate == pytest.approx(others.estimate)


def test_two_rows_without_a_seed_in_common_are_compared_by_a_t_test_of_two_samples():
    frame = scores([0.0, 9.0], seeds=4, block=0.5)
    (one,) = compare(fit(frame, scale=Scale(), external=frozenset({"m01"}))).differences
    interval = stats.ttest_ind(frame["m00"], frame["m01"]).confidence_interval(0.95)
    assert one.estimate == pytest.approx(float((frame["m00"] - frame["m01"]).mean()))
    assert one.high - one.low == pytest.approx(interval.high - interval.low, rel=0.3), "of Welch's degrees of freedom"


def test_one_seed_gives_no_verdict_and_two_seeds_of_two_entries_neither():
    assert compare(fit(scores([0.0, 9.0, 30.0], seeds=1), scale=Scale())).differences == ()
    assert compare(fit(scores([0.0, 9.0], seeds=2), scale=Scale())).differences == ()
    two = compare(fit(scores([0.0, 9.0, 900.0, 0.0], seeds=2), scale=Scale()))
    assert two.of("m02", "m00").verdict == "worse"
    assert "Two seeds" in two.model.conditions[0]


def test_equal_differences_of_shares_are_no_proof():
    frame = pd.DataFrame({"a": [441, 440, 442], "b": [440, 439, 441], "c": [441, 440, 442]}) / 450
    found = compare(fit(frame, scale=scale_of("logit", frame), direction="higher"))
    assert [one.verdict for one in found.differences] != ["better", "equivalent", "worse"]
    assert not {"better", "worse"} & {one.verdict for one in found.differences}


def test_scores_without_any_variance_give_no_verdict():
    frame = pd.DataFrame({"a": [math.sqrt(2)] * 3, "b": [math.sqrt(3)] * 3, "c": [math.pi] * 3})
    assert compare(fit(frame, scale=Scale())).differences == ()


def test_a_baseline_and_a_selection_have_families_of_their_own():
    model = fit(scores(np.zeros(13)), scale=Scale())
    every, against, few = compare(model), compare(model, baseline="m04"), compare(model, among=["m01", "m04"])
    assert (every.family, against.family, few.family) == (78, 12, 1)
    widths = [one.of("m01", "m04").high - one.of("m01", "m04").low for one in (every, against, few)]
    assert widths[0] > widths[1] > widths[2]


def test_a_baseline_with_a_large_variance_has_its_own_and_one_with_a_small_one_the_pooled():
    frame = scores(np.zeros(6), seeds=6)
    frame["m00"] = 100 + 6 * (frame["m00"] - frame["m00"].mean())
    model = fit(frame, scale=Scale())
    large, small = (with_larger_variance(model, [at]).variances[at] for at in (0, int(np.argmin(model.own_variances))))
    assert large == pytest.approx(model.own_variances[0])
    assert large > model.variances[0]
    assert small == pytest.approx(model.pooled_variances[0])


def test_logarithms_tell_ratios_and_log_odds_tell_shares():
    frame = np.exp(scores([0.0, math.log(2)], sd=0.01, block=0.1) - 100)
    (one,) = compare(fit(frame, scale=scale_of("log", frame))).differences
    assert one.shown(one.estimate) == pytest.approx(-0.5, abs=0.02)
    shares = pd.DataFrame({"a": [0.9, 0.901, 0.899], "b": [0.8, 0.802, 0.801], "c": [0.85, 0.851, 0.852]})
    found = compare(fit(shares, scale=scale_of("logit", shares), direction="higher")).of("a", "b")
    assert found.shown(found.estimate) == pytest.approx(0.1, abs=0.005)
    assert found.verdict == "better"


def test_the_sampling_error_is_the_least_variance():
    frame = scores([0.0, 3.0, 6.0, 9.0], sd=0.01)
    assert verdicts(frame)["m00", "m01"] == "better"
    model = fit(frame, scale=scale_of("linear", frame, errors=np.full(frame.shape, 4.0)))
    assert compare(model).of("m00", "m01").verdict == "open"


def test_scores_outside_the_bounds_of_their_scale_are_compared_as_they_are():
    assert scale_of("log", [0.0, 2.0]).name == "linear"
    assert scale_of("logit", [0.5, 1.2]).name == "linear"
    assert scale_of("logit", [0.0, 0.5, 1.0]).name == "logit"
    assert np.isfinite(scale_of("logit", [0.0, 0.5, 1.0]).transform([0.0, 1.0])).all()


def test_the_step_of_shares_of_printed_numbers_and_of_none():
    assert step_of([441 / 450, 440 / 450, math.nan]) == pytest.approx(1 / 450)
    assert step_of([0.5518, 0.4036]) == pytest.approx(1 / 5000), "density of 1,000 images at k = 5"
    assert step_of([3.25, 4.1]) == pytest.approx(0.05)
    assert step_of([1.0, 0.0]) == 1.0
    assert step_of([0.694386123456789, 1.2]) == 0.0
    assert step_of([1 / 999_983, 1 / 999_979]) == 0.0, "no common step that counts"


def test_brown_and_forsythes_test_is_scipys_but_for_the_distance_of_the_median_itself():
    rng = np.random.default_rng(3)
    even = [rng.standard_normal(6) * sd for sd in (1, 1, 4)]
    assert brown_forsythe(even) == pytest.approx(stats.levene(*even, center="median").pvalue)
    assert brown_forsythe([rng.standard_normal(12) * sd for sd in (1, 1, 1, 9)]) < 0.01
    assert brown_forsythe(even[:2]) == 1.0, "residuals of two entries mirror each other"


def test_variances_that_differ_by_much_are_not_pooled():
    frame = scores(np.zeros(6), seeds=12)
    assert fit(frame, scale=Scale()).variance == "pooled"
    frame["m05"] = 100 + 8 * (frame["m05"] - 100)
    model = fit(frame, scale=Scale())
    assert model.variance == "own"
    assert model.variances[5] > 10 * model.variances[0]


def test_boxs_factor_is_one_for_two_entries_and_two_thirds_for_many():
    assert box_epsilon(2) == pytest.approx(1.0)
    assert 0.6 < box_epsilon(13) < 0.7


def test_further_seeds_are_the_fewest_that_settle_with_80_percent():
    family = ("pairs", 13, 0.05)
    more = further_seeds(2.0, 1.0, 0.0, df=9.0, seeds=3, family=family)

    def chance(added):
        df = 9.0 * (3 + added - 1) / 2
        return settled(2.0, math.sqrt(3 / (3 + added)), 0.0, df=df, critical=critical_value("pairs", 13, df))

    assert chance(more - 1) < 0.8 <= chance(more)
    assert further_seeds(0.001, 1.0, 0.0, df=9.0, seeds=3, family=family) is None
    assert further_seeds(0.0, 1.0, 2.0, df=9.0, seeds=3, family=family) < 20, "equivalence settles it too"
