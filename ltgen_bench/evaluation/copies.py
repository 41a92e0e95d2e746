"""Detection of generated images that are copies of held-out images, of training images, or of one another.

An image is a copy of another if it has its very pixels, or is nearer to it than images that are no copies: at most half as far as
that one's own nearest neighbour, and at most half as far as the nearest image that it could have been made from otherwise. Of
unseen real images 0.2 % do so on the digits and 0.5 % on CIFAR-10, where such pairs are in the data themselves; of copies that
are mirrored, shifted by a pixel, brighter, in JPEG or under noise of 10 grey levels 98 % and more.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.overlap import pixel_hashes
from ltgen_bench.evaluation.pixels import Pictures, Points, flat, looks

NEAR = 0.25  # of a squared distance: half as far
SAME = 1 / 16  # likewise for generated images among one another, which lie denser the more of them there are
LEAST_RADIUS = 1 / 16  # of the median squared distance between neighbours: where the data have copies themselves
TYPICAL = 2000  # real images that say how far neighbours are from each other

Mask = Bool[np.ndarray, " _"]
Images = UInt8[np.ndarray, "_ C H W"]


@dataclass(frozen=True)
class Copied:
    """Which generated images `equal` an original by their pixels, which are copies (`found`, those among them), and which
    originals have such an image (`of_equal`, `of_found`)."""

    equal: Mask
    found: Mask
    of_equal: Mask
    of_found: Mask


@dataclass(frozen=True)
class Copies:
    """What `find_copies` found. `other_label`: which are copies of training images of other classes alone; `again_equal` and
    `again`: which have the pixels of an earlier generated image, and which are copies of one."""

    held_out: Copied
    training: Copied
    other_label: Mask
    again_equal: Mask
    again: Mask


def find_copies(generated: ImageSet, train: ImageSet, reference: ImageSet, held_out: ImageSet, device: str = "cpu") -> Copies:
    """All copies among `generated`. `train` are the images that a model sees, `reference` the real ones that are not held out:
    an image that is in either is no copy of a held-out one, for the data themselves hold it twice."""
    of_test = copied(generated, held_out, _together(reference, train), device)
    of_train = copied(generated, train, held_out, device)
    return Copies(of_test, of_train, _under_other_labels(generated, train, of_train.found, device),
                  *repeated(generated, typical_radius(held_out if len(held_out) > 1 else train, device), device))


def _together(reference: ImageSet, train: ImageSet) -> Images:
    """The images of both; those of `train` that are in `reference` too, as they mostly are, once."""
    there = set(pixel_hashes(reference))
    return np.concatenate([reference.images, train.images[[key not in there for key in pixel_hashes(train)]]])


def copied(generated: ImageSet, originals: ImageSet, others: ImageSet | Images, device: str) -> Copied:
    """Return which of `generated` are copies of `originals` and not of `others`."""
    others = others.images if isinstance(others, ImageSet) else others
    keys, there, elsewhere = pixel_hashes(generated), pixel_hashes(originals), set(pixel_hashes(others))
    known = set(there) - elsewhere
    equal = np.array([key in known for key in keys], dtype=bool)
    touched = known.intersection(keys)
    of_equal = np.array([key in touched for key in there], dtype=bool)
    found, of_found = equal.copy(), of_equal.copy()
    if len(originals) > 1:
        rest = np.array([at for at, key in enumerate(keys) if key not in known and key not in elsewhere], dtype=np.int64)
        near, which = _near(generated.images[rest], originals.images, others, device)
        found[rest[near]] = True
        of_found[which] = True
    return Copied(equal, found, of_equal, of_found)


def _near(images: Images, originals: Images, others: Images, device: str) -> tuple[np.ndarray, np.ndarray]:
    """(numbers of the images that are copies by nearness, numbers of the originals that these are copies of)."""
    if not len(images):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pictures = Pictures(originals, device)
    distance, which = pictures.neighbours(images)
    closeness, at = (distance / _radius(pictures)[which]).min(dim=1)
    chosen = torch.nonzero((closeness <= NEAR) & ~flat(looks(images, device))).flatten()
    numbers = chosen.cpu().numpy()
    otherwise = Pictures(others, device).nearest(images[numbers])
    copies = distance[chosen].amin(dim=1) <= NEAR * otherwise
    return numbers[copies.cpu().numpy()], which[chosen, at[chosen]][copies].cpu().numpy()


def _radius(pictures: Pictures) -> Float[Tensor, " M"]:
    """Squared distance of each image to the nearest of the others, not less than a sixteenth of the median."""
    own = pictures.neighbours(pictures.images, themselves=True)[0].amin(dim=1)
    return own.clamp_min(float(own.median()) * LEAST_RADIUS).clamp_min(torch.finfo(own.dtype).tiny)


def typical_radius(images: ImageSet, device: str) -> float:
    """Median squared distance of real images to their nearest neighbour; 0 of fewer than two."""
    if len(images) < 2:
        return 0.0
    some = np.linspace(0, len(images) - 1, min(TYPICAL, len(images))).astype(np.int64)
    return float(_radius(Pictures(images.images[some], device)).median())


def _under_other_labels(generated: ImageSet, train: ImageSet, found: Mask, device: str) -> Mask:
    """Those of the copies of training images that are no copies of one of their own class."""
    other = np.zeros(len(generated), dtype=bool)
    if not found.any():
        return other
    distance = Pictures(train.images, device).nearest(generated.images[found])
    in_class = torch.empty_like(distance)
    labels = generated.labels[found]
    for label in np.unique(labels):
        mine = labels == label
        own = Pictures(train.images[train.labels == label], device)
        in_class[torch.from_numpy(mine).to(device)] = own.nearest(generated.images[found][mine])
    other[found] = (distance < NEAR * in_class).cpu().numpy()
    return other


def repeated(generated: ImageSet, radius: float, device: str) -> tuple[Mask, Mask]:
    """(which have the very pixels of an earlier image, under any label; which repeat one so or nearly so).

    Nearly: of the same class and at most a quarter as far from it as real images are from their nearest neighbour (`radius`,
    squared).
    """
    seen: set[bytes] = set()
    equal = np.zeros(len(generated), dtype=bool)
    for at, key in enumerate(pixel_hashes(generated)):
        equal[at] = key in seen
        seen.add(key)
    again = equal.copy()
    for label in np.unique(generated.labels):
        rows = np.flatnonzero((generated.labels == label) & ~again)
        points = looks(generated.images[rows], device)
        again[rows] |= _near_earlier(points, SAME * radius) & ~flat(points).cpu().numpy()
    return equal, again


def _near_earlier(points: Points, limit: float, block: int = 1024) -> Mask:
    """Which points lie within the squared distance `limit` of one before them."""
    sizes, near = points.square().sum(dim=1), []
    for start in range(0, len(points), block):
        rows, before = points[start:start + block], points[:start + block]
        distance = sizes[start:start + block, None] + sizes[:start + block] - 2 * rows @ before.T
        near.append((distance <= limit).tril(start - 1).any(dim=1))
    return torch.cat(near).cpu().numpy() if near else np.zeros(0, dtype=bool)
