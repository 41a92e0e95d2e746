"""Class counts, indices and groups: literal totals, and the public rule computed independently."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.groups import GROUPS, RULES, all_groups, by_count, by_thirds
from ltgen_bench.data.longtail import class_counts as counts_at
from ltgen_bench.data.longtail import draw_ranks, head_to_tail, to_indices

CIFAR10_AT_100 = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def select_indices(labels, counts, seed=0):
    sizes = np.bincount(labels, minlength=len(counts)).tolist()
    return to_indices(labels, draw_ranks(sizes, counts, seed))


def class_counts(n_max, classes, factor, profile="exp"):
    return counts_at(n_max, classes, float(factor), profile)


class TestCounts:
    def test_cifar_10_at_factor_100_is_the_published_list(self):
        assert class_counts(5000, 10, 100) == CIFAR10_AT_100

    @pytest.mark.parametrize(("n_max", "classes", "factor", "total", "ends"), [
        (5000, 10, 100, 12406, (5000, 50)), (5000, 10, 50, 13996, (5000, 100)), (5000, 10, 1000, 9324, (5000, 5)),
        (500, 100, 100, 10847, (500, 5)), (500, 100, 50, 12608, (500, 10)), (131, 10, 20, 441, (131, 6)),
        (5000, 10, 1, 50000, (5000, 5000)),
    ])
    def test_totals_and_ends_are_the_published_ones(self, n_max, classes, factor, total, ends):
        counts = class_counts(n_max, classes, factor)
        assert sum(counts) == total
        assert (counts[0], counts[-1]) == ends
        assert counts == sorted(counts, reverse=True)

    @pytest.mark.parametrize("factor", [10, 20, 50, 100, 200, 500])
    @pytest.mark.parametrize(("n_max", "classes"), [(5000, 10), (500, 100)])
    def test_the_arithmetic_is_that_of_ldam_drw(self, n_max, classes, factor):
        imb_factor = float(f"{1 / factor:.4f}")  # there the user types 0.01
        expected = [int(n_max * (imb_factor ** (cls_idx / (classes - 1.0)))) for cls_idx in range(classes)]
        assert class_counts(n_max, classes, factor) == expected

    def test_a_step_has_two_heights(self):
        assert class_counts(5000, 10, 100, "step") == [5000] * 5 + [50] * 5
        assert class_counts(100, 5, 10, "step") == [100, 100, 10, 10, 10]

    @pytest.mark.parametrize("alpha", [0.5, 1.0, 6.0, 40.0])
    @pytest.mark.parametrize(("n_max", "classes", "factor"), [(5000, 10, 100), (1280, 1000, 256), (131, 10, 20)])
    def test_a_pareto_profile_is_a_power_law_with_the_same_ends(self, alpha, n_max, classes, factor):
        counts = class_counts(n_max, classes, factor, f"pareto:{alpha:g}")
        x = np.linspace(1, factor ** (1 / alpha), classes)
        expected = n_max * x ** -alpha
        assert np.all(np.abs(np.asarray(counts) - expected) <= 1 + 1e-6)
        assert (counts[0], counts[-1]) == (n_max, int(n_max * (1 / factor)))
        assert counts == sorted(counts, reverse=True)

    def test_a_small_shape_falls_faster_and_a_large_one_is_the_exponential(self):
        totals = [sum(class_counts(5000, 10, 100, f"pareto:{alpha}")) for alpha in (0.5, 1, 2, 6, 50)]
        assert totals == sorted(totals)
        assert np.allclose(class_counts(5000, 10, 100, "pareto:1000000"), CIFAR10_AT_100, atol=1)
        assert totals[-1] < sum(CIFAR10_AT_100)

    def test_a_pareto_profile_at_factor_one_keeps_all(self):
        assert class_counts(50, 4, 1, "pareto:2") == [50] * 4

    def test_a_pareto_shape_of_zero_is_refused(self):
        with pytest.raises(UserError, match="profile pareto:0: the shape"):
            class_counts(50, 4, 10, "pareto:0")

    @pytest.mark.parametrize("factor", [0.5, 0.0, -3.0, float("nan")])
    def test_a_factor_below_one_is_refused(self, factor):
        with pytest.raises(UserError, match=r"imbalance factor .*at least 1"):
            class_counts(100, 10, factor)

    def test_one_class_has_no_tail(self):
        with pytest.raises(UserError, match="least 2 classes"):
            class_counts(100, 1, 10)

    @pytest.mark.parametrize("profile", ["exp", "step"])
    def test_a_class_left_empty_is_named_and_the_largest_factor_said(self, profile):
        with pytest.raises(UserError, match=r"200 leaves class \d without"):
            class_counts(100, 4, 200, profile)

    def test_the_advice_given_for_an_empty_class_is_true(self):
        with pytest.raises(UserError, match="factor below 49"):
            class_counts(49, 2, 49)  # 49 * (1 / 49) is 0.99...
        assert class_counts(49, 2, 48.99)[-1] == 1

    @given(n_max=st.integers(1, 6000), classes=st.integers(2, 200), share=st.floats(0.01, 0.99),
           profile=st.sampled_from(["exp", "step", "pareto:0.5", "pareto:6"]))
    def test_counts_fall_from_n_max_and_never_reach_zero(self, n_max, classes, share, profile):
        factor = max(1.0, share * n_max)
        counts = class_counts(n_max, classes, factor, profile)
        assert len(counts) == classes
        assert counts[0] == n_max
        assert all(a >= b >= 1 for a, b in pairwise(counts))
        assert abs(counts[-1] - n_max / factor) <= 1


def ldam_indices(targets, img_num_per_cls, seed):
    """gen_imbalanced_data of LDAM-DRW, restated: numpy's global generator, seeded, shuffles each class in turn."""
    before = np.random.get_state()  # noqa: NPY002  (the published draw is of this generator)
    np.random.seed(seed)  # noqa: NPY002
    chosen = []
    targets = np.array(targets, dtype=np.int64)
    for the_class, the_img_num in zip(np.unique(targets), img_num_per_cls, strict=True):
        idx = np.where(targets == the_class)[0]
        np.random.shuffle(idx)  # noqa: NPY002
        chosen.extend(idx[:the_img_num])
    np.random.set_state(before)  # noqa: NPY002
    return np.array(chosen)


class TestIndices:
    @pytest.mark.parametrize(("classes", "each", "factor", "seed"), [(10, 5000, 100, 0), (10, 5000, 100, 1),
                                                                     (100, 500, 50, 0), (10, 131, 20, 0)])
    def test_the_same_images_as_ldam_drw_in_the_same_order(self, classes, each, factor, seed):
        labels = np.random.default_rng(7).permutation(np.repeat(np.arange(classes), each)).astype(np.int64)
        counts = class_counts(each, classes, factor)
        assert np.array_equal(select_indices(labels, counts, seed), ldam_indices(labels, counts, seed))

    def test_the_first_indices_of_cifar_10_stay_what_they_are(self):
        """Balanced labels in order 0, 1, ..., 9, 0, ...: frozen, so that a change of numpy would be seen."""
        labels = np.tile(np.arange(10), 5000).astype(np.int64)
        chosen = select_indices(labels, CIFAR10_AT_100)
        assert chosen[:3].tolist() == [3980, 38330, 48360]
        assert int(chosen.sum()) == 309550124

    def test_images_at_a_larger_factor_are_among_those_at_a_smaller_one(self):
        few, many = (draw_ranks([500] * 9, class_counts(500, 9, factor), 3) for factor in (100, 10))
        assert all(set(a.tolist()) <= set(b.tolist()) for a, b in zip(few, many, strict=True))

    def test_without_an_order_the_first_label_is_the_head(self):
        assert head_to_tail(4) == [0, 1, 2, 3]

    def test_an_order_is_a_permutation_that_its_seed_decides(self):
        orders = [head_to_tail(10, seed) for seed in (0, 1, 0)]
        assert orders[0] == orders[2] != orders[1]
        assert sorted(orders[0]) == list(range(10))
        assert orders[0] == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]  # numpy's legacy generator, frozen

    def test_the_global_generator_is_left_alone(self):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        select_indices(np.zeros(9, dtype=np.int64), [4])
        assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002

    def test_each_index_once_and_as_many_of_each_class_as_asked(self):
        labels = np.tile(np.arange(3), 20).astype(np.int64)
        chosen = select_indices(labels, [20, 7, 1])
        assert len(set(chosen.tolist())) == 28
        assert np.bincount(labels[chosen]).tolist() == [20, 7, 1]
        assert np.array_equal(labels[chosen], np.repeat([0, 1, 2], [20, 7, 1]))

    def test_a_smaller_factor_keeps_the_images_of_a_larger_one(self):
        labels = np.tile(np.arange(4), 50).astype(np.int64)
        few = set(select_indices(labels, class_counts(50, 4, 25)).tolist())
        assert few < set(select_indices(labels, class_counts(50, 4, 5)).tolist())

    def test_a_class_with_too_few_images_is_named(self):
        with pytest.raises(UserError, match="class 1 has 2 images"):
            select_indices(np.array([0, 0, 0, 1, 1], dtype=np.int64), [3, 3])


class TestGroups:
    def test_cifar_10_has_thirds_of_three_three_and_four(self):
        assert by_thirds(CIFAR10_AT_100) == {"many": [0, 1, 2], "medium": [3, 4, 5], "few": [6, 7, 8, 9]}

    def test_cifar_100_at_factor_100_is_split_as_the_literature_says(self):
        counts = class_counts(500, 100, 100)
        thirds, count = by_thirds(counts), by_count(counts)
        assert [(thirds[g][0], thirds[g][-1]) for g in GROUPS] == [(0, 32), (33, 65), (66, 99)]
        assert [(count[g][0], count[g][-1]) for g in GROUPS] == [(0, 34), (35, 69), (70, 99)]

    def test_groups_by_count_have_their_borders_at_100_and_20(self):
        assert by_count([101, 100, 20, 19]) == {"many": [0], "medium": [1, 2], "few": [3]}

    def test_thirds_go_by_rank_and_not_by_label(self):
        assert by_thirds([1, 9, 5]) == {"many": [1], "medium": [2], "few": [0]}

    def test_equal_counts_keep_the_order_of_their_labels(self):
        assert by_thirds([7, 7, 7]) == {"many": [0], "medium": [1], "few": [2]}

    def test_an_empty_group_is_there_with_no_classes(self):
        groups = all_groups([500, 500])
        assert list(groups) == [f"{group}@{rule}" for rule in RULES for group in GROUPS]
        assert groups["few@count"] == []
        assert groups["many@thirds"] == []

    @given(st.lists(st.integers(1, 5000), min_size=2, max_size=1000))
    def test_every_class_is_in_exactly_one_group_of_each_rule(self, counts):
        groups = all_groups(counts)
        for rule in RULES:
            members = [c for group in GROUPS for c in groups[f"{group}@{rule}"]]
            assert sorted(members) == list(range(len(counts)))
            means = [np.mean([counts[c] for c in groups[f"{g}@{rule}"]]) for g in GROUPS if groups[f"{g}@{rule}"]]
            assert means == sorted(means, reverse=True)

    @pytest.mark.parametrize("profile", ["exp", "step", "pareto:6"])
    def test_for_every_number_of_classes_each_class_is_in_exactly_one_group(self, profile):
        for classes in range(2, 1001):
            counts = class_counts(500, classes, 100, profile)
            groups = all_groups(counts)
            for rule in RULES:
                members = [c for group in GROUPS for c in groups[f"{group}@{rule}"]]
                assert sorted(members) == list(range(classes)), (classes, rule)
            assert set(groups) == {f"{group}@{rule}" for group in GROUPS for rule in RULES}

    def test_cifar_10_at_100_has_no_few_by_count(self):
        assert all_groups(CIFAR10_AT_100)["few@count"] == []

    @pytest.mark.parametrize("classes", [*range(2, 40), 99, 100, 101, 365, 1000])
    def test_thirds_have_their_borders_at_a_third_and_two_thirds(self, classes):
        thirds = by_thirds(list(range(classes, 0, -1)))
        first, second = int(np.floor(classes / 3)), int(np.floor(2 * classes / 3))
        assert [len(thirds[g]) for g in GROUPS] == [first, second - first, classes - second]
