"""A long-tailed training set with the balanced sets that generated images are compared with."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.groups import all_groups
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.splits import Split

HALF_SEED = 0  # seed of the division of the real images into the halves `selection` and `report`


@dataclass(frozen=True)
class LongTailDataset:
    """Images to train on (`train`), and real images to compare generated ones with (`reference`, `test`).

    `reference` is the balanced training set that `train` was cut from. `test` is held out, and has no images where the user's
    data have no test part. `flip` says whether a mirrored image still belongs to its class. `name` is used in folders and
    tables. `split` is the manifest of the training images, or None. `halved` names the half of the real images that
    `reference` and `test` hold, if not all.
    """

    name: str
    train: ImageSet
    reference: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    flip: bool
    imbalance_factor: float | None = None  # None: the classes' own counts were kept
    profile: str = "exp"
    split: Split | None = None
    halved: Literal["selection", "report"] | None = None
    test_part: str = "test"  # which part of the source `test` is, as `parts.Parts.test`

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @cached_property
    def class_counts(self) -> list[int]:
        """Training images of each class, by label."""
        return [int(n) for n in np.bincount(self.train.labels, minlength=self.num_classes)]

    @property
    def reference_is_balanced(self) -> bool:
        """Whether `reference` can stand for equally frequent classes: no class has over twice another's images."""
        return balanced(self.reference.labels, self.num_classes)

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Scope name -> classes: `many@thirds`, `medium@thirds`, ..., `few@count`; groups may be empty."""
        return all_groups(self.class_counts)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a hash over the pixels and labels of all three sets and the class names."""
        train = self.train.content_hash()
        reference = train if self.reference is self.train else self.reference.content_hash()
        parts = {"train": train, "reference": reference, "test": self.test.content_hash(),
                 "class_names": list(self.class_names), "flip": self.flip}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def half(self, name: Literal["selection", "report"]) -> "LongTailDataset":
        """Return the data set with the same training images, and one half of every class of `reference` and `test`.

        Settings are chosen on the half `selection` and reported on the half `report`, which share no image. Each half has a
        fingerprint of its own. Raises `UserError` for a class with a single image.
        """
        assert self.halved is None, "a half of a half"
        for part, images in (("reference", self.reference), ("test", self.test)):
            counts = np.bincount(images.labels, minlength=self.num_classes)
            if counts.min() < 2 and (part == "reference" or len(images)):
                raise UserError(f"{self.name}: the {part} set has {counts.min()} images of class "
                                f"{self.class_names[int(counts.argmin())]}, too few to be halved; choose settings without a "
                                "search, or add images.")
        return replace(self, halved=name, reference=self.reference.take(_half(self.reference.labels, name)),
                       test=self.test.take(_half(self.test.labels, name)))


def balanced(labels: Int64[np.ndarray, " N"], num_classes: int) -> bool:
    """Return whether no class has more than twice the images of another."""
    counts = np.bincount(labels, minlength=num_classes)
    return bool(counts.max() <= 2 * counts.min())


def _half(labels: Int64[np.ndarray, " N"], half: Literal["selection", "report"]) -> Int64[np.ndarray, " n"]:
    """Return the indices of one half of every class, ascending; the odd image belongs to `report`."""
    rng = np.random.RandomState(HALF_SEED)  # numpy has frozen the stream of this generator
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rng.shuffle(members)
        middle = len(members) // 2
        chosen.append(members[:middle] if half == "selection" else members[middle:])
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen])).astype(np.int64)
