"""Vendi score and diversity: how different the images of one class are from each other."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy import linalg

from ltgen_bench.evaluation.metrics.diversity import DIVERSITY, class_diversity, mean_cosine_distance
from ltgen_bench.evaluation.metrics.metric import FeatureSet, Settings
from ltgen_bench.evaluation.metrics.vendi import VENDI, vendi_score


def features(count: int, width: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, width)) + 0.5).astype(np.float32)


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    dot, xx, yy = (sum(float(a) * float(b) for a, b in zip(*pair, strict=True)) for pair in ((x, y), (x, x), (y, y)))
    return dot / math.sqrt(xx * yy)


class TestVendi:
    @pytest.mark.parametrize(("count", "width"), [(12, 30), (30, 5), (7, 7), (1, 4), (2, 3)])
    def test_it_is_the_entropy_of_the_similarity_matrix(self, count, width):
        points = features(count, width)
        similarity = np.array([[cosine(x, y) for y in points] for x in points]) / count
        values = np.linalg.eigvals(similarity).real
        expected = math.exp(-sum(value * math.log(value) for value in values if value > 1e-12))
        assert vendi_score(points) == pytest.approx(expected, rel=1e-6)

    def test_of_a_regular_matrix_it_is_the_von_neumann_entropy(self):
        points = features(6, 40).astype(np.float64)
        similarity = np.array([[cosine(x, y) for y in points] for x in points]) / 6
        assert vendi_score(points) == pytest.approx(math.exp(-np.trace(similarity @ linalg.logm(similarity))), rel=1e-9)

    @pytest.mark.parametrize("count", [1, 2, 9])
    def test_images_at_right_angles_count_each_and_equal_ones_once(self, count):
        assert vendi_score(np.diag(np.arange(1.0, count + 1))) == pytest.approx(count)
        assert vendi_score(np.tile(features(1, 20), (count, 1))) == pytest.approx(1)
        assert vendi_score(np.zeros((count, 3))) == pytest.approx(1)

    def test_every_image_twice_and_in_any_order_is_worth_the_same(self):
        points = features(20, 8)
        assert vendi_score(np.concatenate([points, points[::-1]])) == pytest.approx(vendi_score(points), rel=1e-9)

    def test_many_images_need_no_matrix_of_all_pairs(self):
        points = features(50_000, 64)
        tracemalloc.start()
        assert 1 < vendi_score(points) < 65
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 50_000 * 65 * 8, "all pairs would be 20 GB"

    def test_it_is_measured_by_class(self):
        assert VENDI.scopes == ("class",)
        found = VENDI.compute(FeatureSet(features(5, 9), np.zeros(5, np.int64)), nobody(), Settings(), "class")
        assert found["vendi"].value == pytest.approx(vendi_score(features(5, 9)))
        assert (found["vendi"].n_generated, found["vendi"].n_real) == (5, None)


def nobody():
    return FeatureSet(np.empty((0, 9), np.float32), np.empty(0, np.int64))


class TestDiversity:
    @pytest.mark.parametrize(("count", "width"), [(2, 3), (12, 30), (30, 5)])
    def test_it_is_the_mean_over_all_pairs(self, count, width):
        points = features(count, width)
        pairs = [1 - cosine(points[i], points[j]) for i in range(count) for j in range(count) if i != j]
        assert mean_cosine_distance(points) == pytest.approx(math.fsum(pairs) / len(pairs), rel=1e-6)

    def test_known_sets_have_known_values(self):
        assert mean_cosine_distance(np.eye(7)) == pytest.approx(1)
        assert mean_cosine_distance(np.array([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(2)
        assert mean_cosine_distance(np.tile(features(1, 20), (6, 1))) == pytest.approx(0, abs=1e-12)
        assert mean_cosine_distance(np.zeros((4, 3))) == pytest.approx(0, abs=1e-12)

    def test_its_expectation_does_not_depend_on_the_count(self):
        whole = features(40, 5)
        rng = np.random.default_rng(0)
        few = np.mean([mean_cosine_distance(whole[rng.choice(40, 3, replace=False)]) for _ in range(3000)])
        assert few == pytest.approx(mean_cosine_distance(whole), rel=0.03)

    def test_classes_count_alike_however_many_images_they_have(self):
        points, labels = features(14, 6), np.repeat([3, 8], [10, 4])
        expected = (mean_cosine_distance(points[:10]) + mean_cosine_distance(points[10:])) / 2
        assert class_diversity(points, labels) == pytest.approx(expected)
        order = np.random.default_rng(0).permutation(14)
        assert class_diversity(points[order], labels[order]) == pytest.approx(expected)

    def test_images_of_one_class_far_from_another_are_no_variety(self):
        one, other = np.tile([[1.0, 0.0]], (3, 1)), np.tile([[0.0, 1.0]], (3, 1))
        assert class_diversity(np.concatenate([one, other]), np.repeat([0, 1], 3)) == pytest.approx(0, abs=1e-12)

    def test_a_class_of_one_image_leaves_no_score(self):
        alone = FeatureSet(features(3, 4), np.array([0, 0, 1]))
        assert math.isnan(DIVERSITY.compute(alone, alone, Settings(), "all")["diversity"].value)
        assert DIVERSITY.images_needed(Settings()) == 2

    def test_many_images_need_no_matrix_of_all_pairs(self):
        points = features(50_000, 64)
        tracemalloc.start()
        mean_cosine_distance(points)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 50_000 * 65 * 8
