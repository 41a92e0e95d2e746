"""What every source of images hands over, before a long tail is cut."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import ImageSet


@dataclass(frozen=True)
class RawData:
    """A data set as it comes: training and test images and the names of the classes.

    `checksum` names the content that the images were read from (`md5:...` of a published archive, `sha256:...` of files
    or arrays); empty where only the images themselves can tell. `test_part` says which part serves as test, as
    `parts.Parts.test`; `unread` are the parts that are not read. Without a test part `test` has no images.
    """

    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    checksum: str = ""
    test_part: str = "test"
    unread: tuple[str, ...] = ()


def stratified_split(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Three quarters of each class for training, one for testing; seed 0."""
    train, test = stratified_indices(images.labels)
    return images.take(train), images.take(test)


def stratified_indices(labels: Int64[np.ndarray, " N"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Which of the images with these labels train, and which test; a class too small for that is a `UserError`."""
    from sklearn.model_selection import train_test_split

    counts = np.bincount(labels)
    rarest = int(counts.argmin())
    if not counts[rarest]:
        raise UserError(f"class {rarest} has no images, and labels go up to {len(counts) - 1}; every class needs some.")
    too_few = UserError(f"class {rarest} has {counts[rarest]} of {len(labels)} images, too few to hold a quarter of it "
                        "out for testing; add images, or give a test part, or go without one: --test-part none (scores "
                        "that need held-out images are then not available).")
    if counts.min() < 2 or len(labels) < 4 * len(counts):
        raise too_few
    train, test = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    if len(np.unique(labels[test])) < len(counts):  # a rare class can fall through the rounding
        raise too_few
    return train.astype(np.int64), test.astype(np.int64)
