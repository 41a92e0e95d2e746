"""What every source of images hands over, before a long tail is cut."""

from dataclasses import dataclass

import numpy as np

from ltgen_bench.data.images import ImageSet
from ltgen_bench.errors import UserError


@dataclass(frozen=True)
class RawData:
    """A data set as it comes: training and test images and the names of the classes.

    `checksum` names the content that the images were read from (`md5:...` of a published archive, `sha256:...` of files
    or arrays); empty where only the images themselves can tell.
    """

    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    checksum: str = ""


def stratified_split(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Three quarters of each class for training, one for testing; seed 0."""
    from sklearn.model_selection import train_test_split

    counts = np.bincount(images.labels)
    rarest = int(counts.argmin())
    too_few = UserError(f"class {rarest} has {counts[rarest]} of {len(images)} images, too few to hold a quarter of it "
                        "out for testing; add images, or give a test part.")
    if counts.min() < 2 or len(images) < 4 * len(counts):
        raise too_few
    train, test = train_test_split(np.arange(len(images)), test_size=0.25, random_state=0, stratify=images.labels)
    if len(np.unique(images.labels[test])) < len(counts):  # a rare class can fall through the rounding
        raise too_few
    return images.take(train), images.take(test)
