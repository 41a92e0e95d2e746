"""Copies among generated images: found however they are disguised, and never among honest ones."""

import io

import numpy as np
import pytest
from PIL import Image

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.load import load_dataset
from ltgen_bench.evaluation.copies import find_copies
from ltgen_bench.evaluation.trivial_samples import TRIVIAL


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_dataset(DataConfig(name="digits-lt"), data_root=tmp_path_factory.mktemp("data"))


def found(images, labels, digits):
    return find_copies(ImageSet(images, labels), digits.train, digits.reference, digits.test)


def clipped(values):
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def jpeg(images):
    made = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[0]).save(file, "JPEG", quality=75)
        made.append(np.asarray(Image.open(file))[None])
    return np.stack(made)


def noise(sd):
    return lambda images: clipped(images + np.random.default_rng(0).normal(0, sd, images.shape))


DISGUISES = {
    "one grey level": lambda images: clipped(images + np.random.default_rng(0).integers(-1, 2, images.shape)),
    "noise of 4": noise(4), "noise of 10": noise(10), "mirrored": lambda images: images[:, :, :, ::-1],
    "shifted": lambda images: np.pad(images, ((0, 0), (0, 0), (1, 0), (0, 1)), mode="edge")[:, :, :8, 1:],
    "brighter": lambda images: clipped(images + 30.0), "less contrast": lambda images: clipped((images - 128.0) * 0.8 + 128),
    "jpeg": jpeg,
}


@pytest.mark.parametrize("name", DISGUISES)
def test_disguised_copies_of_held_out_images_are_found(name, digits):
    copies = found(DISGUISES[name](digits.test.images), digits.test.labels, digits)
    assert copies.held_out.found.mean() > 0.97
    assert copies.held_out.of_found.mean() > 0.97
    assert not copies.training.found.any()
    assert not copies.again.any()


def test_held_out_images_themselves_are_equal_whatever_their_label(digits):
    copies = found(digits.test.images, np.roll(digits.test.labels, 7), digits)
    assert copies.held_out.equal.all()
    assert copies.held_out.of_equal.all()


@pytest.mark.parametrize("name", ["real-train", "jitter-train", "class-gaussian"])
def test_images_made_without_the_held_out_ones_are_no_copies_of_them(name, digits):
    samples = TRIVIAL[name].draw(digits, 100, 0)
    copies = find_copies(samples, digits.train, digits.reference, digits.test)
    assert not copies.held_out.found.any()
    assert not copies.other_label.any()


def test_real_images_that_were_seen_by_nobody_are_hardly_ever_taken_for_copies(digits):
    order = np.random.default_rng(0).permutation(len(digits.reference))
    train, unseen = digits.reference.take(order[:79]), digits.reference.take(order[79:])  # few are known: few are near
    copies = find_copies(unseen, train, train, digits.test.take(np.arange(20)))
    assert max(copies.held_out.found.mean(), copies.training.found.mean(), copies.again.mean()) < 0.01


def test_an_image_that_the_data_hold_twice_is_no_copy_of_a_held_out_one(digits):
    test = ImageSet(np.concatenate([digits.test.images, digits.train.images[:5]]),
                    np.concatenate([digits.test.labels, digits.train.labels[:5]]))
    copies = find_copies(digits.train, digits.train, digits.reference, test)
    assert not copies.held_out.found.any()


@pytest.mark.parametrize("disguise", ["one grey level", "noise of 4", "shifted"])
def test_copies_of_training_images_under_wrong_labels_are_found(disguise, digits):
    copies = found(DISGUISES[disguise](digits.train.images), (digits.train.labels + 1) % 10, digits)
    assert copies.other_label.mean() > 0.97
    right = found(DISGUISES[disguise](digits.train.images), digits.train.labels, digits)
    assert right.training.found.mean() > 0.97
    assert not right.other_label.any()


def test_repeats_are_all_but_the_first(digits):
    collapsed = TRIVIAL["one-per-class"].draw(digits, 30, 0)
    copies = find_copies(collapsed, digits.train, digits.reference, digits.test)
    assert (copies.again_equal.sum(), copies.again.sum()) == (290, 290)
    blurred = ImageSet(noise(4)(collapsed.images), collapsed.labels)
    copies = find_copies(blurred, digits.train, digits.reference, digits.test)
    assert (copies.again_equal.sum(), copies.again.sum()) == (0, 290)
    one = ImageSet(np.repeat(digits.train.images[:1], 10, axis=0), np.arange(10))
    assert find_copies(one, digits.train, digits.reference, digits.test).again.sum() == 9, "under any label"


def test_blank_images_are_copies_of_nothing_but_their_like(digits):
    blank = np.full((20, 1, 8, 8), 7, np.uint8) + np.random.default_rng(0).integers(0, 2, (20, 1, 8, 8), dtype=np.uint8)
    copies = found(blank, np.arange(20) % 10, digits)
    assert not copies.held_out.found.any()
    assert not copies.training.found.any()
    assert not copies.again.any()


@pytest.mark.parametrize("held_out", [0, 1])
def test_hardly_any_held_out_images_are_no_mistake(held_out, digits):
    test = digits.test.take(np.arange(held_out))
    copies = find_copies(digits.train, digits.train, digits.train, test)
    assert not copies.held_out.found.any()
    assert copies.held_out.of_found.shape == (held_out,)
    assert copies.training.equal.all()


def test_larger_images_are_found_shifted_and_mirrored(make_images):
    rng = np.random.default_rng(0)

    def pictures(count, seed):
        coarse = np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
        return ImageSet(np.kron(coarse, np.ones((1, 1, 4, 4), np.uint8)), np.arange(count) % 2)

    train, test = pictures(60, 1), pictures(60, 2)
    copies = find_copies(ImageSet(clipped(np.roll(test.images, 2, axis=3)[:, :, :, ::-1] + rng.normal(0, 4, test.images.shape)),
                                  test.labels), train, train, test)
    assert copies.held_out.found.mean() > 0.97
    assert not find_copies(pictures(60, 3), train, train, test).held_out.found.any()
