"""The form in which every source returns its images, before a long tail is cut."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import ImageSet


@dataclass(frozen=True)
class RawData:
    """Training and test images of a data set, and the names of its classes.

    `checksum` identifies the content (`md5:...` of a published archive, `sha256:...` of files or arrays), or is empty.
    `test_part` is the part that serves as test, as `Parts.test`; `unread` are the parts that are not read. Without a test part
    `test` has no images.
    """

    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    checksum: str = ""
    test_part: str = "test"
    unread: tuple[str, ...] = ()


def stratified_split(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Return three quarters of each class for training and one for testing, with seed 0."""
    train, test = stratified_indices(images.labels)
    return images.take(train), images.take(test)


def stratified_indices(labels: Int64[np.ndarray, " N"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Return (training indices, test indices) of images with these labels. Raises `UserError` for a class that is too small."""
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
