"""Subsets of images: an order by content alone, and draws that keep the shares of the classes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.overlap import pixel_hashes


def canonical(images: ImageSet) -> ImageSet:
    """The images sorted by (label, content hash), so that no later draw depends on the order they came in."""
    keys = np.frombuffer(b"".join(pixel_hashes(images)), dtype=">u8").reshape(-1, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0], images.labels))
    return ImageSet(np.ascontiguousarray(images.images[order]), images.labels[order])


def positions(images: ImageSet, among: ImageSet) -> Int64[np.ndarray, " N"] | None:
    """Return the index in `among` of each of `images` (pixels and label); None where one is missing."""
    place = {(key, label): at for at, (key, label) in enumerate(zip(pixel_hashes(among), among.labels.tolist(), strict=True))}
    found = [place.get(key) for key in zip(pixel_hashes(images), images.labels.tolist(), strict=True)]
    return None if None in found else np.asarray(found, dtype=np.int64)


def stratified_take(labels: Int64[np.ndarray, " N"], count: int, rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """`count` indices without replacement, classes in the shares they have (largest remainders first), ascending."""
    assert 0 <= count <= len(labels), "more images wanted than there are"
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * count / max(len(labels), 1)
    quota = np.floor(shares).astype(np.int64)
    remainders = np.argsort(-(shares - quota), kind="stable")[: count - int(quota.sum())]
    quota[remainders] += 1
    chosen = [rng.choice(np.flatnonzero(labels == label), size=number, replace=False)
              for label, number in zip(classes, quota, strict=True)]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def of_each_class(images: ImageSet, count: int, rng: np.random.Generator) -> ImageSet:
    """Draw at most `count` images of every class without replacement, in canonical order; smaller classes are complete."""
    images = canonical(images)
    chosen = [rng.permutation(np.flatnonzero(images.labels == label))[:count] for label in np.unique(images.labels)]
    return images.take(np.sort(np.concatenate([np.empty(0, np.int64), *chosen])))


def shares(total: int, num_classes: int) -> list[int]:
    """`total` images in equal shares; what is left over goes to the first classes, one each."""
    each, over = divmod(total, num_classes)
    return [each + (label < over) for label in range(num_classes)]


def at_most(images: ImageSet, quota: Sequence[int], rng: np.random.Generator) -> ImageSet:
    """`quota[c]` images of each class c without replacement, in the order they came in; smaller classes whole."""
    chosen = [np.empty(0, np.int64)]
    for label, wanted in enumerate(quota):
        members = np.flatnonzero(images.labels == label)
        chosen.append(rng.choice(members, size=min(wanted, len(members)), replace=False))
    return images.take(np.sort(np.concatenate(chosen)))


def stratified_halves(labels: Int64[np.ndarray, " N"],
                      rng: np.random.Generator) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Two disjoint sets of indices with equally many images of every class; the odd one of a class stays out."""
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        half = len(members) // 2
        first.append(members[:half])
        second.append(members[half:2 * half])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))
