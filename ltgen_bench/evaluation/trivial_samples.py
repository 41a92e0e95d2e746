"""Samples that no model made: real images, and generators so plain that every metric should see through them.

They stand in tables as reference rows, which are never ranked. A metric under which `copy-train` or `one-per-class` looks
good does not measure copying or collapse; a score that a model has no better than `class-gaussian` says nothing of that model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.registry import Registry
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.subsets import canonical, of_each_class

NOISE_SD = 4.0  # grey levels of 255, of the noise of `jitter-train`
LARGE = 32  # pixels; from here on `jitter-train` shifts by up to two pixels, below by one

Images = UInt8[np.ndarray, "_ C H W"]
Draw = Callable[[LongTailDataset, int, int], ImageSet]


@dataclass(frozen=True)
class Trivial:
    """`draw(dataset, images_per_class, seed)` gives the same images for the same arguments, in any order of the data.

    `real`: they are held or training images, of which there may be fewer than asked for. `summary` says what they are.
    """

    name: str
    summary: str
    draw: Draw
    real: bool = False


TRIVIAL: Registry[Trivial] = Registry("reference", "references")


def real_train(dataset: LongTailDataset, images_per_class: int, seed: int) -> ImageSet:
    """Draw at most `images_per_class` of each class of the balanced training images, without replacement."""
    return of_each_class(dataset.reference, images_per_class, np.random.default_rng(seed))


def real_test(dataset: LongTailDataset, images_per_class: int, seed: int) -> ImageSet:
    """Draw at most `images_per_class` of each class of the test images. Raises `UserError` for data without a test part."""
    if not len(dataset.test):
        raise UserError(f"real-test: {dataset.name} has no test part and so no held-out images; choose one with --test-part.")
    return of_each_class(dataset.test, images_per_class, np.random.default_rng(seed))


def copy_train(dataset: LongTailDataset, images_per_class: int, seed: int) -> ImageSet:
    """Long-tailed training images: of each class all as often as they go into the number, and the rest drawn."""
    return _by_class(dataset, images_per_class, seed, _copies)


def jitter_train(dataset: LongTailDataset, images_per_class: int, seed: int) -> ImageSet:
    """Draw training images, each shifted by up to 1 pixel (2 from 32 pixels on) in both directions, with noise."""
    return _by_class(dataset, images_per_class, seed, lambda own, count, rng: _jittered(_copies(own, count, rng), rng))


def one_per_class(dataset: LongTailDataset, images_per_class: int, seed: int) -> ImageSet:
    """One long-tailed training image of each class, repeated: a generator that has collapsed."""
    return _by_class(dataset, images_per_class, seed, lambda own, count, rng: own[np.full(count, rng.integers(len(own)))])


def class_gaussian(dataset: LongTailDataset, images_per_class: int, seed: int) -> ImageSet:
    """A Gaussian of each class in pixel space, rounded and clipped to 0 ... 255.

    Fitted to the n long-tailed training images of the class: their mean, and the covariance (1 - 1/n) S + (1/n) D. S is their
    own covariance (divided by n - 1), D holds the variance of each pixel around the class means over all classes, so that
    a class of one image has one too. No D x D matrix is made: S is drawn from as a random combination of the images.
    """
    train = dataset.train
    shared = _within_variance(train)

    def draw(own: Images, count: int, rng: np.random.Generator) -> Images:
        n = len(own)
        flat = own.reshape(n, -1).astype(np.float64)
        mean = flat.mean(axis=0)
        drawn = mean + rng.standard_normal((count, len(mean))) * np.sqrt(shared / n)
        if n > 1:
            drawn += rng.standard_normal((count, n)) @ (flat - mean) * np.sqrt((1 - 1 / n) / (n - 1))
        return _rounded(drawn).reshape(count, *own.shape[1:])

    return _by_class(dataset, images_per_class, seed, draw)


def _within_variance(train: ImageSet) -> np.ndarray:
    """Variance of each pixel around the mean of its class, pooled over the classes: float64 [C H W]."""
    squares = np.zeros(int(np.prod(train.images.shape[1:])))
    labels = np.unique(train.labels)
    for label in labels:
        own = train.images[train.labels == label]
        squares += own.reshape(len(own), -1).astype(np.float64).var(axis=0) * len(own)
    return squares / max(1, len(train) - len(labels))


def _by_class(dataset: LongTailDataset, images_per_class: int, seed: int,
              draw: Callable[[Images, int, np.random.Generator], Images]) -> ImageSet:
    """`images_per_class` images of every class, each class by a stream of its own."""
    parts = [draw(own, images_per_class, np.random.default_rng([seed, label])) for label, own in _classes(dataset)]
    labels: Int64[np.ndarray, " N"] = np.repeat(np.arange(len(parts)), images_per_class).astype(np.int64)
    return ImageSet(np.concatenate(parts), labels)


def _classes(dataset: LongTailDataset) -> Iterator[tuple[int, Images]]:
    train = canonical(dataset.train)  # so that the order of the files changes nothing
    for label in range(dataset.num_classes):
        yield label, train.images[train.labels == label]


def _copies(own: Images, count: int, rng: np.random.Generator) -> Images:
    whole, rest = divmod(count, len(own))
    return own[np.concatenate([np.tile(np.arange(len(own)), whole), rng.permutation(len(own))[:rest]])]


def _jittered(images: Images, rng: np.random.Generator) -> Images:
    height, width = images.shape[2:]
    most = 2 if min(height, width) >= LARGE else 1
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)), mode="edge")
    shifts = rng.integers(0, 2 * most + 1, (len(images), 2))
    shifted = np.stack([one[:, top:top + height, left:left + width] for one, (top, left) in zip(padded, shifts, strict=True)])
    return _rounded(shifted + rng.normal(0, NOISE_SD, shifted.shape))


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


for _trivial in (
    Trivial("real-train", "the balanced training images themselves: a lower bound, with FID 0 by construction where all of them "
            "count and are the reference", real_train, real=True),
    Trivial("real-test", "held-out test images: what another draw of real images scores", real_test, real=True),
    Trivial("copy-train", "training images of the long tail, repeated", copy_train),
    Trivial("jitter-train", "training images of the long tail, repeated, each shifted by up to 1 pixel (2 from 32 pixels "
            f"on) under noise of {NOISE_SD:g} of 255 grey levels", jitter_train),
    Trivial("class-gaussian", "a Gaussian of each class in pixel space, fitted to the training images", class_gaussian),
    Trivial("one-per-class", "one training image of each class, repeated: a collapsed generator", one_per_class),
):
    TRIVIAL.add(_trivial.name, _trivial)
