"""Class counts of long-tailed profiles, and the draw of the images of each class."""

import math

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError, inverse_hint


def class_counts(n_max: int, num_classes: int, imbalance_factor: float, profile: str = "exp") -> list[int]:
    """Return the training images of the class of each rank, head to tail: n_r = floor(n_max * (1 / imbalance_factor)^e_r).

    `exp`: e_r = r / (K - 1), as in LDAM-DRW (Cao et al., NeurIPS 2019) and CBDM (Qin et al., CVPR 2023): CIFAR-10 at factor 100
    gives 5000 to 50, 12,406 in all. `step`: e = 0 for the first half of the classes and 1 for the others. `pareto:A`: a power law
    with the same ends, n_r = n_max * x_r^-A (the tail of a Pareto distribution of shape A) at K even steps of x from 1 to
    imbalance_factor^(1/A); the smaller A, the faster the head falls, and for large A it approaches `exp`.

    Raises `UserError` for a factor below 1, a shape of 0, fewer than two classes, or a class without images.
    """
    if not imbalance_factor >= 1:
        raise UserError(f"imbalance factor {imbalance_factor:g}: it is largest / smallest class count, at least 1."
                        f"{inverse_hint(imbalance_factor)}")
    if num_classes < 2:
        raise UserError(f"a long tail needs at least 2 classes, and the data set has {num_classes}.")
    ratio = 1 / imbalance_factor
    counts = [int(n_max * ratio ** e) for e in _exponents(profile, num_classes, imbalance_factor)]
    if min(counts) < 1:
        # (below and not up to: 49 * (1 / 49) is less than 1)
        raise UserError(f"imbalance factor {imbalance_factor:g} leaves class {counts.index(min(counts))} without an "
                        f"image, since the largest class has {n_max}; choose a factor below {n_max}.")
    return counts


def _exponents(profile: str, num_classes: int, imbalance_factor: float) -> list[float]:
    shares = [r / (num_classes - 1.0) for r in range(num_classes)]
    kind, _, shape = profile.partition(":")
    if kind == "exp":
        return shares
    if kind == "step":
        return [float(r >= num_classes // 2) for r in range(num_classes)]
    alpha = float(shape)
    if not alpha > 0:
        raise UserError(f"profile {profile}: the shape of a Pareto distribution is a number above 0, as in pareto:6.")
    end = math.log(imbalance_factor) / alpha  # logarithm of the last x
    if end == 0:
        return [0.0] * num_classes
    return [math.log1p(share * math.expm1(end)) / end for share in shares[:-1]] + [1.0]


def head_to_tail(num_classes: int, class_order: int | None = None) -> list[int]:
    """Return the classes from largest to smallest: by label, or permuted by NumPy's legacy generator with seed `class_order`."""
    if class_order is None:
        return list(range(num_classes))
    return [int(c) for c in np.random.RandomState(class_order).permutation(num_classes)]


def draw_ranks(class_sizes: list[int], counts: list[int], seed: int = 0) -> list[Int64[np.ndarray, " _"]]:
    """Return for each class, by label, the positions of the selected images among those of the class, in the order of the draw.

    Each class is shuffled and its first n_c images are selected. One NumPy legacy generator, whose stream NumPy has frozen,
    serves all classes in order of their labels: at seed 0 the draw of LDAM-DRW and CBDM. At one seed the images of a smaller
    count are a subset of those of a larger one. Raises `UserError` for a class that has fewer images than `counts` asks for.
    """
    rng = np.random.RandomState(seed)  # the published draw uses the legacy generator; here a local instance
    ranks = []
    for label, (size, count) in enumerate(zip(class_sizes, counts, strict=True)):
        if size < count:
            raise UserError(f"class {label} has {size} images and the profile asks for {count}.")
        order = np.arange(size, dtype=np.int64)
        rng.shuffle(order)
        ranks.append(order[:count])
    return ranks


def to_indices(labels: Int64[np.ndarray, " N"], ranks: list[Int64[np.ndarray, " _"]]) -> Int64[np.ndarray, " M"]:
    """Return ranks within each class -> indices into `labels`, class after class in the order of the ranks."""
    members = [np.flatnonzero(labels == label) for label in range(len(ranks))]
    return np.concatenate([own[rank] for own, rank in zip(members, ranks, strict=True)]).astype(np.int64)
