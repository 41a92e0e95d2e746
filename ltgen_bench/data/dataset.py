"""A long-tailed training set with the balanced sets that it is judged against."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ltgen_bench.data.groups import all_groups
from ltgen_bench.data.images import ImageSet


@dataclass(frozen=True)
class LongTailDataset:
    """What a model trains on (`train`), and what its images are compared with (`reference`, `test`).

    `reference` is the whole balanced training set that `train` was cut from; `test` was never trained on.
    `flip` says whether a mirrored image is still an image of its class. `name` is the catalogue's.
    """

    name: str
    train: ImageSet
    reference: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    flip: bool
    imbalance_factor: float | None = None  # None: the classes' own counts were kept
    profile: str = "exp"

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
        counts = np.bincount(self.reference.labels, minlength=self.num_classes)
        return bool(counts.max() <= 2 * counts.min())

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """`many@thirds`, `medium@thirds`, ..., `few@count` -> their classes (perhaps none)."""
        return all_groups(self.class_counts)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the content of all three sets and the class names: equal exactly when the data are."""
        parts = {"train": self.train.content_hash(), "reference": self.reference.content_hash(),
                 "test": self.test.content_hash(), "class_names": list(self.class_names), "flip": self.flip}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
