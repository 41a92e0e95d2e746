import tracemalloc

import numpy as np
import pytest

from ltgen_bench.evaluation.metrics.memorisation import (
    HELD_OUT_NEEDED,
    RATE,
    excess_nearness,
    memorisation,
    near_copies,
    nearest_of_class,
    results,
)
from ltgen_bench.evaluation.metrics.metric import FeatureSet

CENTRES = np.random.default_rng(9).standard_normal((3, 6)) * 4


def drawn(counts: tuple[int, ...], seed: int, wide: float = 1.0) -> FeatureSet:
    """Real images, or those of an honest generator: a cloud for each class; in mixed order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    return FeatureSet((CENTRES[labels] + wide * rng.standard_normal((len(labels), 6))).astype(np.float32), labels)


def by_loops(generated: FeatureSet, train: FeatureSet, held_out: FeatureSet) -> tuple[float, float]:
    """Both definitions, an image at a time."""
    def nearest(point: np.ndarray, label: int, others: FeatureSet) -> float:
        return min(float(np.linalg.norm(point.astype(float) - other.astype(float)))
                   for other, known in zip(others.features, others.labels, strict=True) if known == label)

    scores, copies = [], []
    for point, label in zip(generated.features, generated.labels, strict=True):
        n, m = int((train.labels == label).sum()), int((held_out.labels == label).sum())
        to_train, to_held_out = nearest(point, label, train), nearest(point, label, held_out)
        chance = n / (n + m)
        scores.append(((to_train < to_held_out) - chance) / (1 - chance))
        unseen = sorted(nearest(x, label, train) for x, known in zip(held_out.features, held_out.labels, strict=True)
                        if known == label)
        copies.append(to_train <= unseen[-(-m // 20) - 1])  # the ceiling of a twentieth, from 1
    return float(np.mean(scores)), float(np.mean(copies))


def test_both_scores_are_their_definitions() -> None:
    sides = drawn((12, 7, 9), 0), drawn((30, 8, 2), 1), drawn((20, 25, 41), 2)
    assert memorisation(*sides) == pytest.approx(by_loops(*sides))


def test_a_copying_generator_has_1_by_both_in_every_class() -> None:
    train, held_out = drawn((200, 30, 5), 0), drawn((60, 60, 60), 1)
    copies = train.take(np.random.default_rng(0).integers(0, len(train), 500))
    assert memorisation(copies, train, held_out) == (1, 1)
    for label in range(3):
        own = copies.take(copies.labels == label)
        assert memorisation(own, train, held_out) == (1, 1)


def test_slightly_changed_copies_are_found_too() -> None:
    train, held_out = drawn((200, 30, 5), 0), drawn((60, 60, 60), 1)
    noise = np.random.default_rng(0).normal(0, 0.02, train.features.shape).astype(np.float32)
    jitter = FeatureSet(train.features + noise, train.labels)
    assert memorisation(jitter, train, held_out) == (1, 1)


@pytest.mark.parametrize("wide", [0.3, 1.0, 2.0])
def test_a_generator_that_saw_nothing_has_no_excess_however_good_it_is(wide: float) -> None:
    found = np.array([memorisation(drawn((40, 40, 40), seed, wide), drawn((90, 20, 5), seed + 1), drawn((40, 40, 40), seed + 2))
                      for seed in range(0, 240, 3)])
    memorised, copies = found.mean(axis=0)
    assert abs(memorised) < 4 * found[:, 0].std() / np.sqrt(80)
    if wide == 1.0:  # drawn as the held-out images are: their rate, up to what a quantile of 40 gives away
        assert copies == pytest.approx(RATE, abs=0.02)
    else:
        assert copies > 0.2 if wide < 1 else copies < 0.02


@pytest.mark.parametrize("count", [20, 45, 100, 1000])
def test_held_out_images_themselves_have_the_stated_rate(count: int) -> None:
    train, held_out = drawn((50,), 0), drawn((count,), 1)
    distances = nearest_of_class(held_out, train)
    flagged = near_copies(distances, held_out.labels, distances, held_out.labels)
    assert flagged.sum() == np.ceil(count * RATE)


def test_a_tie_is_half_a_hit_so_that_an_image_in_both_sets_says_nothing() -> None:
    labels, counts = np.zeros(3, np.int64), np.array([10])
    ones = np.ones(3)
    assert excess_nearness(ones, ones, labels, counts, counts).tolist() == [0, 0, 0]
    assert excess_nearness(ones, 2 * ones, labels, counts, counts).tolist() == [1, 1, 1]
    assert excess_nearness(2 * ones, ones, labels, 3 * counts, counts) == pytest.approx([-3, -3, -3])


def test_order_and_block_size_change_nothing() -> None:
    sides = drawn((30, 20, 10), 0), drawn((50, 20, 3), 1), drawn((30, 30, 30), 2)
    mixed = [side.take(np.random.default_rng(5).permutation(len(side))) for side in sides]
    assert memorisation(*mixed) == pytest.approx(memorisation(*sides), rel=1e-12)
    np.testing.assert_allclose(nearest_of_class(sides[0], sides[1], block=7), nearest_of_class(sides[0], sides[1]), rtol=1e-9)


def test_copies_far_from_the_origin_and_of_wide_features_are_at_no_distance() -> None:
    for width in (6, 700):
        features = np.random.default_rng(0).standard_normal((40, width)) + 1000
        points = FeatureSet(features.astype(np.float32), np.zeros(40, np.int64))
        assert nearest_of_class(points, points).tolist() == [0] * 40


def test_too_few_held_out_images_or_a_class_without_any_are_mistakes() -> None:
    train = drawn((5, 5), 0)
    with pytest.raises(AssertionError, match="too few"):
        memorisation(train, train, drawn((HELD_OUT_NEEDED, HELD_OUT_NEEDED - 1), 1))
    with pytest.raises(AssertionError, match="nearest"):
        memorisation(train, train, drawn((HELD_OUT_NEEDED,), 1))


def test_results_count_what_was_compared() -> None:
    found = results(drawn((4, 4), 0), drawn((30, 3), 1), drawn((20, 20), 2))
    assert set(found) == {"memorised", "near_copies"}
    assert {(result.n_generated, result.n_real) for result in found.values()} == {(8, 33)}


def test_no_matrix_of_all_pairs_is_held() -> None:
    rng = np.random.default_rng(0)
    points = FeatureSet(rng.standard_normal((50_000, 64), dtype=np.float32), np.zeros(50_000, np.int64))
    train = FeatureSet(rng.standard_normal((1000, 64), dtype=np.float32), np.zeros(1000, np.int64))
    tracemalloc.start()
    nearest_of_class(points, train, block=512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6, "all pairs would be 400 MB"
