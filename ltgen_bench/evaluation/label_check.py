"""Detection of labels of generated images that contradict the overall scores.

Scores over all classes do not depend on labels. So two shares are compared, each relative to that of held-out real images:
precision (k = 5), and the share of images that are classified as their label. On the digits trained models have the second
above the first at every stage (0.02 and 0.11 after 512
training images, 0.22 and 0.36 after 3,000, 0.50 and 0.69 after 8,000, 0.79 and 0.94 after 20,800); shuffled labels have 0.79
and 0.10.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ltgen_bench.evaluation.metrics.accuracy import confusion
from ltgen_bench.evaluation.metrics.metric import SEED, FeatureSet
from ltgen_bench.evaluation.subsets import stratified_halves, stratified_take

BEGIN = "Overall scores do not see the label"
K, MOST, LEAST = 5, 2000, 20  # neighbours; images that are compared at most and at least
GOOD = 0.3  # of real images' precision: below, the overall scores say themselves that something is wrong
GAP, CLASS_GAP = 0.15, 0.3  # between shares, plus one and one and a half deviations of the number of images
RELIABLE = 0.5  # share of real images classified correctly, from which on the classifier is good enough to tell
NAMED = 5  # classes


def label_contradiction(generated: FeatureSet, real: FeatureSet, held_out: FeatureSet, names: Sequence[str],
                        class_logits: bool) -> str:
    """One sentence where labels contradict good overall scores, else nothing.

    Images are seen by the classifier, or without `class_logits` as the class of the nearest class mean of the real ones.
    """
    if len(held_out) < LEAST:  # one half of the real images stands for unseen ones
        first, second = stratified_halves(real.labels, np.random.default_rng(SEED))
        real, held_out = real.take(first), real.take(second)
    if min(len(generated), len(real), len(held_out)) < LEAST:
        return ""
    count = min(len(generated), len(real), len(held_out), MOST)
    among = _precision(generated, real, count) / max(_precision(held_out, real, count), 1e-9)
    of_real, of_generated = (_seen(side, real, len(names), class_logits) for side in (held_out, generated))
    able, share = (float((seen == side.labels).mean()) for seen, side in ((of_real, held_out), (of_generated, generated)))
    if among < GOOD or able < RELIABLE:
        return ""
    kind = "label accuracy" if class_logits else "nearest to the mean of their own class are"
    said = f"{BEGIN}: {kind} {share:.3f}, of real images {able:.3f}"
    if share / able < min(among, 1.0) - GAP - 1 / np.sqrt(len(generated)):
        return f"{said}."
    taken = _taken_for_others(_shares(of_generated, generated.labels, len(names)), _shares(of_real, held_out.labels, len(names)),
                              np.bincount(generated.labels, minlength=len(names)))
    words = [f"of class {names[label]} {part:.2f} are seen as {names[other]}" for label, other, part in taken[:NAMED]]
    more = f" and so in {len(taken) - NAMED} more classes" if len(taken) > NAMED else ""
    return f"{said}, but {', '.join(words)}{more}." if taken else ""


def _precision(side: FeatureSet, real: FeatureSet, count: int) -> float:
    from ltgen_bench.evaluation.metrics.balls import neighbour_scores  # torch, without which this module is imported

    rng = np.random.default_rng(SEED)
    first, second = (one.take(stratified_take(one.labels, count, rng)) for one in (side, real))
    return neighbour_scores(first.features, second.features, K).precision


def _seen(side: FeatureSet, real: FeatureSet, num_classes: int, class_logits: bool) -> Int64[np.ndarray, " _"]:
    """The class that each image is seen as."""
    if class_logits and side.logits is not None:
        return side.logits.argmax(axis=1)
    known = np.unique(real.labels)
    means = np.stack([real.features[real.labels == label].mean(axis=0, dtype=np.float64) for label in known])
    centre = means.mean(axis=0)
    distance = np.square(means - centre).sum(axis=1) - 2 * (side.features - centre) @ (means - centre).T
    return known[distance.argmin(axis=1)]


def _shares(seen: Int64[np.ndarray, " N"], labels: Int64[np.ndarray, " N"], num_classes: int) -> Float64[np.ndarray, "K K"]:
    return np.nan_to_num(confusion(np.eye(num_classes, dtype=np.float32)[seen], labels))


def _taken_for_others(made: Float64[np.ndarray, "K K"], real: Float64[np.ndarray, "K K"],
                      counts: Int64[np.ndarray, " K"]) -> list[tuple[int, int, float]]:
    """(class, the other one, share of its images seen as that): classes whose images are far oftener seen as one other class
    than as their own, where real images of the class are not."""
    others = made - np.diag(np.diag(made))
    which, most = others.argmax(axis=1), others.max(axis=1)
    limits = CLASS_GAP + 1.5 / np.sqrt(np.maximum(counts, 1))
    far: Bool[np.ndarray, " K"] = (most - np.diag(made) > limits) & (np.diag(real) >= RELIABLE)
    return [(int(label), int(which[label]), float(most[label])) for label in np.flatnonzero(far)]
