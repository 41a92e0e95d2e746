"""Reference rows: what the trivial generators draw."""

import numpy as np
import pytest

from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.evaluation.trivial_samples import NOISE_SD, TRIVIAL

MADE = [name for name in TRIVIAL if not TRIVIAL[name].real]


def keys(images):
    return {(label, image.tobytes()) for image, label in zip(images.images, images.labels.tolist(), strict=True)}


def shuffled(dataset):
    from dataclasses import replace

    order = np.random.default_rng(9).permutation(len(dataset.train))
    return replace(dataset, train=dataset.train.take(order))


@pytest.mark.parametrize("name", list(TRIVIAL))
def test_the_same_arguments_give_the_same_images_whatever_order_the_data_came_in(make_dataset, name):
    draw, dataset = TRIVIAL[name].draw, make_dataset((20, 9, 4))
    first, again, other = draw(dataset, 12, 0), draw(shuffled(dataset), 12, 0), draw(dataset, 12, 1)
    assert first.content_hash() == again.content_hash()
    assert canonical(first).content_hash() != canonical(other).content_hash()
    assert first.images.dtype == np.uint8
    assert np.bincount(first.labels).tolist() == [12, 12, 12]


@pytest.mark.parametrize("name", MADE)
def test_a_class_of_one_image_has_as_many_as_the_others(make_dataset, name):
    images = TRIVIAL[name].draw(make_dataset((20, 1)), 7, 0)
    assert np.bincount(images.labels).tolist() == [7, 7]


@pytest.mark.parametrize(("name", "part"), [("real-train", "reference"), ("real-test", "test")])
def test_real_images_are_drawn_without_replacement_and_at_most_all(make_dataset, name, part):
    dataset = make_dataset((20, 9, 4))
    some, every = TRIVIAL[name].draw(dataset, 5, 0), TRIVIAL[name].draw(dataset, 500, 0)
    assert len(keys(some)) == 15
    assert keys(some) < keys(getattr(dataset, part))
    assert canonical(every).content_hash() == canonical(getattr(dataset, part)).content_hash()


def test_copies_are_the_training_images_each_equally_often(make_dataset):
    dataset = make_dataset((20, 9, 4))
    copies = TRIVIAL["copy-train"].draw(dataset, 10, 0)
    assert keys(copies) <= keys(dataset.train)
    for label, least in ((0, 0), (1, 1), (2, 2)):
        own = copies.images[copies.labels == label].reshape(10, -1)
        times = np.unique(own, axis=0, return_counts=True)[1]
        assert set(times.tolist()) <= {max(least, 1), least + 1}


@pytest.mark.parametrize(("side", "most"), [(8, 1), (32, 2)])
def test_jitter_moves_by_a_pixel_or_two_under_noise_of_the_stated_size(make_dataset, side, most):
    dataset = make_dataset((3, 2), (1, side, side))
    flat = ImageSet(np.full_like(dataset.train.images, 128), dataset.train.labels)
    flat.images[:, :, side // 2, side // 2] = 255
    from dataclasses import replace

    made = TRIVIAL["jitter-train"].draw(replace(dataset, train=flat), 400, 0).images[:, 0].astype(float)
    rows, columns = np.divmod(made.reshape(800, -1).argmax(axis=1), side)
    assert set((rows - side // 2).tolist()) == set((columns - side // 2).tolist()) == set(range(-most, most + 1))
    assert made[:, 0, 0].std() == pytest.approx(NOISE_SD, rel=0.1)


def test_a_class_gaussian_has_the_mean_and_the_shrunk_covariance_of_the_class(make_images, make_dataset):
    """Against the definition, with a covariance matrix that is made in full."""
    from dataclasses import replace

    rng = np.random.default_rng(0)
    shape = rng.normal(0, 12, (30, 2)) @ rng.normal(0, 1, (2, 4)) + 128 + rng.normal(0, 5, (30, 4))
    images = np.clip(shape, 0, 255).astype(np.uint8).reshape(30, 1, 2, 2)
    dataset = replace(make_dataset((20, 10)), train=ImageSet(images, np.repeat([0, 1], [20, 10])))
    drawn = TRIVIAL["class-gaussian"].draw(dataset, 40_000, 0)
    flat = images.reshape(30, 4).astype(float)
    pooled = sum(((flat[own] - flat[own].mean(axis=0)) ** 2).sum(axis=0) for own in (slice(0, 20), slice(20, 30))) / 28
    for label, own in ((0, flat[:20]), (1, flat[20:])):
        n = len(own)
        wanted = (1 - 1 / n) * np.cov(own.T) + np.diag(pooled) / n
        made = drawn.images[drawn.labels == label].reshape(-1, 4).astype(float)
        np.testing.assert_allclose(made.mean(axis=0), own.mean(axis=0), atol=0.5)
        np.testing.assert_allclose(np.cov(made.T), wanted, atol=0.04 * wanted.max())


def test_a_collapsed_generator_knows_one_training_image_of_each_class(make_dataset):
    dataset = make_dataset((20, 9, 4))
    collapsed = TRIVIAL["one-per-class"].draw(dataset, 6, 3)
    assert len(keys(collapsed)) == 3
    assert keys(collapsed) <= keys(dataset.train)
