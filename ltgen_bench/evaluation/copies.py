"""Generated images that are copies of held-out images, of training images, or of one another: found, counted, and noted at every
score whose metric does not penalise them.

An image is a copy of another if it has its very pixels, or is nearer to it than images that are no copies: at most half as far as
that one's own nearest neighbour, and at most half as far as the nearest image that it could have been made from otherwise. Of
unseen real images 0.2 % do so on the digits and 0.5 % on CIFAR-10, where such pairs are in the data themselves; of copies that
are mirrored, shifted by a pixel, brighter, in JPEG or under noise of 10 grey levels 98 % and more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.overlap import pixel_hashes
from ltgen_bench.evaluation.measure import Scope
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.metrics.metric import HELD_OUT, OTHER_CLASS, REPEATED, Blind
from ltgen_bench.evaluation.pixels import Pictures, Points, flat, looks
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.runtime.context import RunContext

NEAR = 0.25  # of a squared distance: half as far
SAME = 1 / 16  # likewise for generated images among one another, which lie denser the more of them there are
LEAST_RADIUS = 1 / 16  # of the median squared distance between neighbours: where the data have copies themselves
TYPICAL = 2000  # real images that say how far neighbours are from each other
LEAST, SHARE = 3, 0.01  # images, and share of all, above which near copies are reported: of unseen real images half a percent are
NAMED = 5  # classes

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


@dataclass(frozen=True)
class CopyFindings:
    """What was found among the generated images.

    `sentences` for the record; `masks`: by kind of copy, which generated images are such; `held_out`: which held-out images (in
    canonical order) have a copy among the generated ones.
    """

    generated: ImageSet
    sentences: tuple[str, ...]
    masks: dict[Blind, Mask]
    held_out: Mask

    def with_notes(self, rows: Sequence[dict[str, Any]], scopes: Sequence[Scope]) -> list[dict[str, Any]]:
        """`rows` of scores, each with a note on the copies in its scope that its metric does not penalise."""
        inside = {(scope.name, scope.label): np.isin(self.generated.labels, scope.classes) for scope in scopes}
        return [self._with_note(row, inside[row["scope"], row["label"]]) for row in rows]

    def _with_note(self, row: dict[str, Any], inside: Mask) -> dict[str, Any]:
        """`row` with its note, in which brackets hold the numbers of its scope."""
        blind = [name for name in METRICS[row["metric"]].blind_to if name in self.masks and "value" in row]
        counts = [(name, int((self.masks[name] & inside).sum())) for name in blind]
        words = [f"does not count {name} ({count:,} of {inside.sum():,})" for name, count in counts if count]
        return {**row, "note": "; ".join([*words, *filter(None, [row.get("note", "")])])}


def find_caveats(generated: ImageSet, real_data: LongTailDataset, context: RunContext) -> CopyFindings:
    """Find copies of held-out images, of training images of other classes, and of one another among `generated`.

    Every exact copy counts; near copies count where they are more than `SHARE` of the images.
    """
    test = canonical(real_data.test)
    with context.progress.stage("copies", len(generated), "images") as stage:
        found = find_copies(generated, real_data.train, real_data.reference, test, str(context.device))
        stage.advance(len(generated))
    near = _many(found.held_out.found)
    of_test = found.held_out.found if near else found.held_out.equal
    repeats = found.again if _many(found.again) else found.again_equal
    other = found.other_label if _many(found.other_label) else found.other_label & found.training.equal
    masks: dict[Blind, Mask] = {HELD_OUT: of_test, REPEATED: repeats, OTHER_CLASS: other}
    names = real_data.class_names
    exact = f", {found.held_out.equal.sum():,} of them pixel for pixel" if found.held_out.equal.any() else ""
    sentences = [
        f"{_count(of_test, generated, names)} are copies of held-out images{exact}: their scores are those of real "
        "images, and tell nothing of a model.",
        f"{_count(repeats, generated, names)} repeat another one, {len(generated) - repeats.sum():,} are distinct: "
        f"{_listed(REPEATED)} do not count that.",
        f"{_count(other, generated, names)} are copies of training images of other classes: {_listed(OTHER_CLASS)} look within "
        "the class.",
    ]
    told = tuple(sentence for sentence, mask in zip(sentences, masks.values(), strict=True) if mask.any())
    return CopyFindings(generated, told, {name: mask for name, mask in masks.items() if mask.any()},
                        found.held_out.of_found if near else found.held_out.of_equal)


def _many(mask: Mask) -> bool:
    return bool(mask.sum() >= LEAST and mask.mean() > SHARE)


def _count(mask: Mask, generated: ImageSet, names: Sequence[str]) -> str:
    """`12 of 450 generated images (classes 8 and 9)`; the classes where they are few."""
    classes = [names[label] for label in np.unique(generated.labels[mask])]
    word = "class" if len(classes) == 1 else "classes"
    where = f" ({word} {', '.join(classes)})" if len(classes) <= NAMED and len(classes) < len(names) else ""
    return f"{mask.sum():,} of {len(mask):,} generated images{where}"


def _listed(what: Blind) -> str:
    titles = [METRICS[name].title for name in METRICS if what in METRICS[name].blind_to]
    return f"{', '.join(titles[:-1])} and {titles[-1]}"


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
