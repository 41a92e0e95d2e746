"""Detection of test images that are training images: the same file under another path, or equal pixels."""

import hashlib

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.words import counted
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.listing import NAMED, Listing


def refuse_shared_files(listing: Listing) -> None:
    """Raise `UserError` for test files that are training files, under another path or a link."""
    train = {file_id: file for file_id, file in zip(listing.train.file_ids, listing.train.files, strict=True) if file_id}
    test = zip(listing.test.file_ids, listing.test.files, strict=True)
    both = [(file, train[file_id]) for file_id, file in test if file_id in train]
    if both:
        raise UserError(f"{listing.where}: {counted(len(both), 'test image')} that the training part has too; take them out of "
                        "one part, or choose the test part with --test-part NAME, train (a quarter of each class) or none",
                        [file if file == other else f"{file} is {other}" for file, other in both[:NAMED]])


def equal_images(dataset: LongTailDataset) -> dict[str, int]:
    """Return how many test images equal a training image (`longtail`), or any of the balanced training images (`train`).

    Pixels are compared, labels are not.
    """
    longtail = set(pixel_hashes(dataset.train))
    train = longtail if dataset.reference is dataset.train else longtail | set(pixel_hashes(dataset.reference))
    test = pixel_hashes(dataset.test)
    return {"longtail": sum(own in longtail for own in test), "train": sum(own in train for own in test)}


def equal_words(dataset_facts: dict[str, int], total: int) -> str:
    """Return `3 of 450 test images equal training images pixel for pixel (2 of them images that are trained on)`."""
    count, trained_on = dataset_facts["train"], dataset_facts["longtail"]
    if not count:
        return f"none of {total:,} test images equals a training image pixel for pixel"
    verb = "equals a training image" if count == 1 else "equal training images"
    return f"{count:,} of {total:,} test images {verb} pixel for pixel, {trained_on:,} of them one that is trained on"


def pixel_hashes(images: ImageSet | UInt8[np.ndarray, "N C H W"]) -> list[bytes]:
    """Return 16 bytes of SHA-256 over the pixels of each image."""
    pixels = images.images if isinstance(images, ImageSet) else images
    return [hashlib.sha256(np.ascontiguousarray(image).data).digest()[:16] for image in pixels]
