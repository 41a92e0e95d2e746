import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ltgen_bench.records.statistics import clear_best, compare, holm, paired_p, record_of, step_of, summarise

NUMBERS = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


def test_mean_sd_and_interval_equal_scipys():
    values = [10.0, 11.5, 9.0, 10.7]
    found = summarise(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert found.mean == pytest.approx(10.3)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.n == 4
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_seed_has_a_value_and_no_interval():
    found = summarise([3.5])
    assert (found.mean, found.n) == (3.5, 1)
    assert all(math.isnan(number) for number in (found.sd, found.low, found.high))


def test_scores_that_are_not_available_are_not_counted():
    assert summarise([math.nan, 2.0, 4.0]).n == 2
    assert summarise([math.nan, 2.0, 4.0]).mean == 3.0
    assert math.isnan(summarise([math.nan]).mean)
    assert summarise([]).n == 0


def test_the_paired_test_is_scipys():
    a, b = [10.1, 9.8, 10.4, 10.0], [10.9, 10.2, 11.0, 10.1]
    assert paired_p(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_differences_on_a_scale_of_steps_spread_by_one_step_at_least():
    assert paired_p([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    one_step = 2 * stats.t.sf(math.sqrt(3), 2)  # all apart by one step, whose spread is one step
    assert paired_p([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]) == pytest.approx(one_step)
    thirds = [0.1 + 0.2, 0.2 + 0.2, 0.3 + 0.4]  # 0.30000000000000004, 0.4, 0.7
    assert paired_p(thirds, [0.2, 0.3, 0.6]) == pytest.approx(one_step), "all apart by 0.1 but for rounding"
    assert paired_p(thirds, [0.3, 0.4, 0.7]) == 1.0, "alike but for rounding"
    shares, apart = [441 / 450, 440 / 450, 442 / 450], [431 / 450, 430 / 450, 432 / 450]
    assert paired_p(shares, apart) == pytest.approx(2 * stats.t.sf(10 * math.sqrt(3), 2))
    assert paired_p(shares, [*apart[:2], 431 / 450]) == pytest.approx(2 * stats.t.sf(31 / math.sqrt(3), 2))


def test_a_spread_above_the_step_is_left_as_it_is():
    a, b = [400 / 450, 410 / 450, 420 / 450], [390 / 450, 380 / 450, 405 / 450]
    assert paired_p(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert 0 < paired_p([math.pi, 2.0, 3.0], [math.pi - 1e-9, 2.0, 3.0 + 1e-9]) <= 1, "small is not rounding"


def test_equal_differences_without_a_step_say_nothing():
    roots = [math.sqrt(2), math.sqrt(3), math.sqrt(5)]
    assert paired_p(roots, [root - math.e for root in roots]) == 1.0


def test_the_step_of_shares_of_printed_numbers_and_of_none():
    assert step_of([441 / 450, 440 / 450, math.nan]) == pytest.approx(1 / 450)
    assert step_of([0.5518, 0.4036]) == pytest.approx(1 / 5000), "density of 1,000 images at k = 5"
    assert step_of([3.25, 4.1]) == pytest.approx(0.05)
    assert step_of([1.0, 0.0]) == 1.0
    assert step_of([0.694386123456789, 1.2]) == 0.0
    assert step_of([1 / 999_983, 1 / 999_979]) == 0.0, "no common step that counts"


@pytest.mark.parametrize(("images", "share"), [(450, 0.98), (45, 0.95), (10, 0.9), (10_000, 0.999)])
def test_equal_methods_get_no_verdict_from_the_scale_of_their_shares(images, share):
    rng = np.random.default_rng(0)
    columns = [pd.DataFrame(rng.binomial(images, share, (3, 13)) / images) for _ in range(40)]
    false = sum(any(pair.verdict != "tie" for pair in compare(column, "higher")) for column in columns)
    assert false <= 4  # 5 % of 40 and their scatter; it was 14 of 40 at 450 images


def test_holm_by_hand():
    # sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1 -> .02, .03, .06, max(.06, .04)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_never_lowers_a_p_and_lies_between_it_and_bonferroni(p_values):
    corrected = holm(p_values)
    bonferroni = np.minimum(np.asarray(p_values) * len(p_values), 1)
    assert (corrected >= np.asarray(p_values) - 1e-12).all()
    assert (corrected <= bonferroni + 1e-12).all()


def wide(**columns):
    return pd.DataFrame(columns, index=pd.RangeIndex(len(next(iter(columns.values())))))


FAR = wide(good=[1.0, 1.1, 0.9, 1.05], middle=[5.0, 5.2, 4.9, 5.1], bad=[9.0, 9.1, 8.8, 9.2])


def test_a_clear_order_gives_wins_and_losses_by_direction():
    pairs = compare(FAR, "lower")
    assert record_of(pairs, "good") == (2, 0, 0)
    assert record_of(pairs, "middle") == (1, 0, 1)
    assert record_of(pairs, "bad") == (0, 0, 2)
    assert clear_best(FAR, "lower") == "good"
    assert clear_best(FAR, "higher") == "bad"


def test_noise_as_large_as_the_gap_is_a_tie_and_nobody_is_best():
    noisy = wide(a=[1.0, 3.0, 2.0], b=[2.1, 1.9, 2.3])
    assert [pair.verdict for pair in compare(noisy, "lower")] == ["tie"]
    assert clear_best(noisy, "lower") is None


def test_two_seeds_allow_no_verdict():
    assert compare(FAR.iloc[:2], "lower") == []
    assert clear_best(FAR.iloc[:2], "lower") is None


def test_an_entry_without_three_common_seeds_keeps_others_from_being_best():
    gaps = FAR.assign(bad=[9.0, math.nan, math.nan, 9.2])
    assert len(compare(gaps, "lower")) == 1
    assert clear_best(gaps, "lower") is None


def test_one_entry_alone_is_not_the_best_of_anything():
    assert clear_best(FAR[["good"]], "lower") is None


@given(NUMBERS, st.floats(-50, 50))
def test_shifting_all_scores_shifts_the_interval(values, shift):
    before, after = summarise(values), summarise([value + shift for value in values])
    assert after.mean == pytest.approx(before.mean + shift, abs=1e-6)
    assert after.high - after.low == pytest.approx(before.high - before.low, abs=1e-6)
