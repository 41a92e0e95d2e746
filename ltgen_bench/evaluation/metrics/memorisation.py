"""Memorisation: whether generated images lie nearer to the training images than unseen real ones allow.

After the test of data-copying of Meehan et al. 2020 (arXiv:2004.05675), which compares distances to the training set with those
of held-out images. Both scores look within the class of each image, since the training set is long-tailed and the held-out one
is not, and since small classes are what a model copies first.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from ltgen_bench.evaluation.metrics.metric import HELD_OUT, OTHER_CLASS, FeatureSet, Metric, Result

RATE = 0.05  # share of held-out images that count as near copies; expected of a generator that copies nothing
HELD_OUT_NEEDED = round(1 / RATE)  # in each class; fewer have no such quantile
BLOCK = 1024  # rows of a distance matrix held at a time
WIDE = 512  # features wider than this meet in float32, as they come


def memorisation(generated: FeatureSet, train: FeatureSet, held_out: FeatureSet) -> tuple[float, float]:
    """(`memorised` up to 1, of which 0 is expected without copying and less is chance, `near_copies` in 0 ... 1).

    Every class that occurs in `generated` needs a training image and `HELD_OUT_NEEDED` held-out ones.

    A generator that returns training images has (1, 1), one that returns unseen real images (0, `RATE`) in expectation.
    """
    to_train, to_held_out = (nearest_of_class(generated, others) for others in (train, held_out))
    nearer = excess_nearness(to_train, to_held_out, generated.labels, np.bincount(train.labels), np.bincount(held_out.labels))
    copies = near_copies(to_train, generated.labels, nearest_of_class(held_out, train), held_out.labels)
    return float(nearer.mean()), float(copies.mean())


def excess_nearness(to_train: Float[np.ndarray, " N"], to_held_out: Float[np.ndarray, " N"], labels: Int64[np.ndarray, " N"],
                    train_counts: Int64[np.ndarray, " K"], held_out_counts: Int64[np.ndarray, " K"]) -> Float64[np.ndarray, " N"]:
    """Return for each image (s - e) / (1 - e), s = 1 if its nearest real image is a training image, 0 if not, 0.5 for a tie.

    e = n / (n + m) with n training and m held-out images of its class: what s is in expectation if neither set was seen,
    since then all real images of a class are equally likely to be the nearest. That holds however good or bad the images
    are. The mean is 0 without copying and 1 if every nearest image is a training image.
    """
    chance = train_counts[labels] / (train_counts[labels] + held_out_counts[labels])
    hit = np.where(to_train == to_held_out, 0.5, to_train < to_held_out)
    return np.asarray((hit - chance) / (1 - chance))


def near_copies(distances: Float[np.ndarray, " N"], labels: Int64[np.ndarray, " N"], held_out_distances: Float[np.ndarray, " M"],
                held_out_labels: Int64[np.ndarray, " M"]) -> Bool[np.ndarray, " N"]:
    """Return which images are as near to a training image as the nearest RATE of their class's unseen real images.

    Both distances are those to the nearest training image of the class. The limit is the smallest distance that a share of
    at least RATE of the held-out images of the class does not exceed (edge included): of 100 the 5th, of 20 the 1st.
    """
    limits = np.full(int(labels.max(initial=0)) + 1, np.nan)
    for label in np.unique(labels):
        known = held_out_distances[held_out_labels == label]
        assert len(known) * RATE >= 1, "no held-out image is among the nearest: the class has too few"
        limits[label] = np.quantile(known, RATE, method="inverted_cdf")
    return np.asarray(distances <= limits[labels])


def nearest_of_class(points: FeatureSet, others: FeatureSet, block: int = BLOCK) -> Float64[np.ndarray, " N"]:
    """Squared distance of every point to the nearest of the `others` with its label; each label needs one.

    What rounding alone can leave between equal features counts as 0. Memory: `block` rows of a distance matrix.
    """
    nearest = np.empty(len(points))
    for label in np.unique(points.labels):
        chosen = np.flatnonzero(points.labels == label)
        targets = others.features[others.labels == label]
        assert len(targets) > 0, "a class without images has no nearest one"
        precise = np.float64 if targets.shape[1] <= WIDE else np.float32
        centre = targets.mean(axis=0, dtype=np.float64)  # keeps |a|^2 + |b|^2 - 2 ab from losing its digits
        targets = (targets - centre).astype(precise)
        for start in range(0, len(chosen), block):
            part = chosen[start:start + block]
            nearest[part] = _nearest((points.features[part] - centre).astype(precise), targets)
    return nearest


def _nearest(points: Float[np.ndarray, "M D"], targets: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " M"]:
    """Squared distance of every point to the nearest target."""
    sizes = np.square(points).sum(axis=1)[:, None] + np.square(targets).sum(axis=1)
    distance = sizes - 2 * (points @ targets.T)
    distance[distance < 8 * np.finfo(distance.dtype).eps * sizes] = 0
    return np.asarray(distance.min(axis=1))


def results(generated: FeatureSet, train: FeatureSet, held_out: FeatureSet) -> dict[str, Result]:
    """Both scores by metric name; `n_real` counts the training images that could be copied."""
    counts = {"n_real": len(train), "n_generated": len(generated)}
    scores = memorisation(generated, train, held_out)
    return {name: Result(score, **counts) for name, score in zip(("memorised", "near_copies"), scores, strict=True)}


MEMORISED = Metric(
    name="memorised", title="memorised", direction="nearest", target=0.0, bounds=(float("-inf"), 1.0), baselines=(),
    summary="how much oftener than chance the real image nearest to a generated one is a training image; 0: no copies, 1: all",
    source="after Meehan et al. 2020, arXiv:2004.05675; within classes, against the chance of unequal counts",
    needs=("features", "training images", "held-out images"), scopes=("all", "group", "class"), min_held_out=HELD_OUT_NEEDED,
    blind_to=(HELD_OUT, OTHER_CLASS), against_training=results)
NEAR_COPIES = replace(
    MEMORISED, name="near_copies", title="near copies", bounds=(0.0, 1.0), target=RATE,
    summary="share of generated images as near to a training image of their class as 5% of unseen real ones; 0.05: no copies")
