"""Split manifests: the selected training images of each class, with a checksum.

Images are identified by (class, rank within the class in the order of the source), since the published draw permutes ranks.
The standard splits ship with the package.
"""

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import write_atomically
from ltgen_bench.data.longtail import class_counts, draw_ranks, head_to_tail, to_indices

SCHEMA = 1
SHIPPED = Path(__file__).parent / "manifests"
STANDARD: dict[str, tuple[float, ...]] = {
    "cifar10": (10.0, 50.0, 100.0, 200.0, 1000.0), "cifar100": (10.0, 50.0, 100.0, 200.0), "digits": (20.0,)}
NATURAL = "natural"
LARGEST = 1 << 28  # bytes of a manifest; one of half a million images has 4 million


@dataclass(frozen=True)
class Split:
    """Selected training images. `ranks`: for each class, by label, int64 ranks in the order of the draw; None: all.

    `dataset` names the images without a tail (`cifar10`; `folder` for a user's own), `source` is their checksum.
    """

    dataset: str
    source: str
    profile: str = NATURAL
    imbalance_factor: float | None = None
    seed: int = 0
    class_order: int | None = None
    ranks: tuple[Int64[np.ndarray, " _"], ...] | None = None

    @cached_property
    def sha256(self) -> str:
        """64 hex digits over the canonical JSON of the manifest."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def id(self) -> str:
        """The first 16 digits of the checksum."""
        return self.sha256[:16]

    def _content(self) -> dict[str, Any]:
        ranks = None if self.ranks is None else [[int(rank) for rank in own] for own in self.ranks]
        return {"schema": SCHEMA, "dataset": self.dataset, "source": self.source, "profile": self.profile,
                "imbalance_factor": self.imbalance_factor, "seed": self.seed, "class_order": self.class_order, "ranks": ranks}

    def indices(self, labels: Int64[np.ndarray, " N"], num_classes: int) -> Int64[np.ndarray, " M"]:
        """Return the indices of the selected images in `labels` of the source. Raises `UserError` for ranks that it lacks."""
        if self.ranks is None:
            return np.arange(len(labels), dtype=np.int64)
        sizes = np.bincount(labels, minlength=num_classes)
        if len(self.ranks) != num_classes:
            raise UserError(f"the manifest has {len(self.ranks)} classes and the data set {num_classes}; it belongs to other "
                            "images.")
        for label, (own, size) in enumerate(zip(self.ranks, sizes, strict=True)):
            if not len(own) or own.min() < 0 or own.max() >= size or len(np.unique(own)) < len(own):
                raise UserError(f"the manifest names images of class {label} that are not there, twice, or none at all: ranks "
                                f"are different numbers from 0 to {size - 1}.")
        return to_indices(labels, list(self.ranks))

    def save(self, path: Path) -> None:
        """Write the manifest with its checksum as JSON, compressed where the name ends in .gz."""
        text = json.dumps({**self._content(), "sha256": self.sha256}, separators=(",", ":")) + "\n"
        data = text.encode()
        if path.suffix == ".gz":
            data = gzip.compress(data, compresslevel=9, mtime=0)  # no time stamp: equal manifests are equal files
        write_atomically(path, lambda part: part.write_bytes(data))

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read and check a manifest. Raises `UserError` where it is missing, malformed or does not match its checksum."""
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                data = file.read(LARGEST + 1)
            values = json.loads(_bounded(data))
        except FileNotFoundError:
            raise UserError(f"there is no manifest {path}; `ltgen-bench data export` writes one.") from None
        except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
            raise UserError(f"the manifest {path} could not be read: {error}; take an unbroken copy.") from error
        return cls._checked(values, path)

    @classmethod
    def _checked(cls, values: Any, path: Path) -> "Split":
        keys = {"schema", "dataset", "source", "profile", "imbalance_factor", "seed", "class_order", "ranks", "sha256"}
        if not isinstance(values, dict) or set(values) != keys or values["schema"] != SCHEMA:
            raise UserError(f"{path} is not a manifest of a split (schema {SCHEMA}); `ltgen-bench data export` writes one.")
        ranks = values["ranks"]
        whole = ranks is None or (isinstance(ranks, list) and all(
            isinstance(own, list) and all(type(rank) is int and abs(rank) < 2**62 for rank in own) for own in ranks))
        split = cls(
            dataset=str(values["dataset"]), source=str(values["source"]), profile=str(values["profile"]),
            imbalance_factor=values["imbalance_factor"], seed=values["seed"], class_order=values["class_order"],
            ranks=None if ranks is None or not whole else tuple(np.asarray(own, dtype=np.int64) for own in ranks))
        if not whole or split.sha256 != values["sha256"]:
            raise UserError(f"the manifest {path} was changed after it was written: its content does not have the checksum "
                            f"{str(values['sha256'])[:16]}... that it states; take an unchanged copy, or draw a split of your "
                            "own with --split-seed.")
        return split


def _bounded(data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes unpacked, which no manifest has")
    return data


def draw_split(dataset: str, source: str, class_sizes: list[int], imbalance_factor: float, profile: str = "exp", seed: int = 0,
               class_order: int | None = None) -> Split:
    """Draw a long-tailed split, with n_max the size of the smallest class.

    `class_sizes` are the source's images of each class. `class_order` seeds a permutation of the classes from head to tail; the
    images of a class at a given count do not depend on it. Raises `UserError` as `class_counts` does.
    """
    at_place = class_counts(min(class_sizes), len(class_sizes), imbalance_factor, profile)
    counts = [0] * len(class_sizes)
    for label, count in zip(head_to_tail(len(class_sizes), class_order), at_place, strict=True):
        counts[label] = count
    ranks = tuple(draw_ranks(class_sizes, counts, seed))
    return Split(dataset, source, profile, float(imbalance_factor), seed, class_order, ranks)


def manifest_path(dataset: str, imbalance_factor: float) -> Path:
    """Return the path of the shipped manifest of a standard split, which may not exist."""
    return SHIPPED / f"{dataset}-lt-{imbalance_factor:g}.json.gz"


def standard_split(dataset: str, imbalance_factor: float) -> Split | None:
    """Return the shipped manifest of `dataset` (`cifar10`) at a factor; None where there is none."""
    if imbalance_factor not in STANDARD.get(dataset, ()):
        return None
    return Split.load(manifest_path(dataset, imbalance_factor))
