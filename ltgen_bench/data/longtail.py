"""Profile -> class counts -> indices: how a balanced training set is cut to a long tail."""

import numpy as np
from jaxtyping import Int64

from ltgen_bench.errors import UserError


def class_counts(n_max: int, num_classes: int, imbalance_factor: float, profile: str = "exp") -> list[int]:
    """Training images of each class, head first.

    `exp`: n_c = floor(n_max * (1 / imbalance_factor)^(c / (K - 1))); `step`: n_max for the first half of the classes
    and floor(n_max / imbalance_factor) for the others. The arithmetic is that of LDAM-DRW (Cao et al., NeurIPS 2019)
    and CBDM (Qin et al., CVPR 2023): CIFAR-10 at factor 100 gives 5000 ... 50, 12,406 in all.

    Raises `UserError` for a factor below 1, fewer than two classes, or a class left without an image.
    """
    if not imbalance_factor >= 1:
        raise UserError(f"imbalance factor {imbalance_factor:g}: it is largest / smallest class count, at least 1.")
    if num_classes < 2:
        raise UserError(f"a long tail needs at least 2 classes, and the data set has {num_classes}.")
    ratio = 1 / imbalance_factor
    if profile == "exp":
        counts = [int(n_max * ratio ** (c / (num_classes - 1.0))) for c in range(num_classes)]
    else:
        head = num_classes // 2
        counts = [n_max] * head + [int(n_max * ratio)] * (num_classes - head)
    if min(counts) < 1:
        # (below and not up to: 49 * (1 / 49) is less than 1)
        raise UserError(f"imbalance factor {imbalance_factor:g} leaves class {counts.index(min(counts))} without an "
                        f"image, since the largest class has {n_max}; choose a factor below {n_max}.")
    return counts


def select_indices(labels: Int64[np.ndarray, " N"], counts: list[int], seed: int = 0) -> Int64[np.ndarray, " M"]:
    """Indices of the long-tailed subset, class by class: each class is shuffled, and its first n_c images are kept.

    One numpy legacy generator serves all classes in order, as in LDAM-DRW and CBDM, whose draw (seed 0) this equals.
    Raises `UserError` for a class that has fewer images than `counts` asks.
    """
    rng = np.random.RandomState(seed)  # the published draw is of the legacy generator; it is local here
    chosen = []
    for label, count in enumerate(counts):
        indices = np.flatnonzero(labels == label)
        if len(indices) < count:
            raise UserError(f"class {label} has {len(indices)} images and the profile asks for {count}.")
        rng.shuffle(indices)
        chosen.append(indices[:count])
    return np.concatenate(chosen).astype(np.int64)
