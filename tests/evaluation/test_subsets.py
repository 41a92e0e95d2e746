import numpy as np
import pytest

from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.subsets import canonical, stratified_halves, stratified_take


def test_the_canonical_order_depends_on_content_alone(make_images):
    images = make_images((9, 5, 4))
    shuffled = images.take(np.random.default_rng(3).permutation(len(images)))
    assert not np.array_equal(shuffled.labels, images.labels)
    assert canonical(shuffled).content_hash() == canonical(images).content_hash()
    assert (np.diff(canonical(images).labels) >= 0).all()


def test_the_canonical_order_keeps_images_with_their_labels(make_images):
    images = make_images((9, 5, 4))
    pairs = {(image.tobytes(), int(label)) for image, label in zip(images.images, images.labels, strict=True)}
    ordered = canonical(images)
    assert {(image.tobytes(), int(label)) for image, label in zip(ordered.images, ordered.labels, strict=True)} == pairs


def test_copies_of_an_image_stay_in_the_set():
    same = ImageSet(np.zeros((4, 1, 2, 2), np.uint8), np.array([1, 0, 1, 0]))
    assert canonical(same).labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("count", [0, 1, 7, 30, 59, 60])
def test_a_stratified_draw_keeps_the_shares_of_the_classes(count):
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    chosen = stratified_take(labels, count, np.random.default_rng(0))
    assert len(np.unique(chosen)) == count
    exact = np.array([30, 20, 10]) * count / 60
    assert (np.abs(np.bincount(labels[chosen], minlength=3) - exact) < 1).all()


def test_halves_share_no_image_and_hold_equally_many_of_every_class():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [31, 6, 1]))
    first, second = stratified_halves(labels, np.random.default_rng(1))
    assert not set(first) & set(second)
    assert np.bincount(labels[first], minlength=3).tolist() == [15, 3, 0]
    assert np.bincount(labels[second], minlength=3).tolist() == [15, 3, 0]
