"""The evaluator on this machine: closed forms by its linear algebra, the shipped classifier, and the number of threads."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.linalg import block_diag, hadamard
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn brings it along

from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.extractors.domain_classifier import SHIPPED, domain_classifier, stored_facts
from ltgen_bench.evaluation.features.reference_features import TOLERANCE, read_reference, reference_images
from ltgen_bench.evaluation.metrics import METRICS, FeatureSet, Result
from ltgen_bench.experiments.check.finding import Finding, Machine, at_most, near

TIGHT = 1e-9  # for what is computed in float64
IMAGES = 512
K = 5


def score(metric: str, generated: FeatureSet, real: FeatureSet, **settings: Any) -> Result:
    """The registered metric of two sides, with some of its settings changed."""
    compute, own = METRICS[metric].compute, METRICS[metric].settings
    assert compute is not None, "a metric that trains nothing"
    return compute(generated, real, own(**settings), "all")[metric]


def side(features: np.ndarray) -> FeatureSet:
    """One side of one class, in float32 as extractors give it."""
    return FeatureSet(np.ascontiguousarray(features, np.float32), np.zeros(len(features), np.int64), None)


def frechet_of_known_moments(machine: Machine) -> Iterator[Finding]:
    """Sets with means and covariances that are known to the last bit, for more images than features and for fewer.

    The columns of a Hadamard matrix sum to zero and are orthogonal, so that its product with an integer matrix A has the
    covariance A^T A n / (n - 1), and float32 holds it exactly. In blocks of two, tr (S T)^1/2 is
    (tr S T + 2 (det S det T)^1/2)^1/2.
    """
    rng = np.random.default_rng(0)
    # In the second case every feature is there twice: the images span all of its 62 directions, and 124 features.
    for name, images, blocks, copies in (("more", IMAGES, 32, 1), ("fewer", 64, 31, 2)):
        first, second = (rng.integers(-2, 3, (blocks, 2, 2)) + 4 * np.eye(2, dtype=int) for _ in range(2))
        shift = rng.integers(-2, 3, 2 * blocks * copies)
        points = hadamard(images)[:, 1:2 * blocks + 1]
        generated, real = (np.tile(points @ block_diag(*matrices), copies) for matrices in (first, second))
        distance = sum(_block_distance(a.T @ a, b.T @ b) for a, b in zip(first, second, strict=True))
        expected = float(shift @ shift) + copies * images / (images - 1) * distance
        found = score("fid", side(generated), side(real + shift)).value
        yield at_most(f"FID of known moments, {name} images than features", abs(found - expected) / expected, TIGHT)


def _block_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The distance between covariances of 2 x 2."""
    cross = np.trace(first @ second) + 2 * np.sqrt(max(np.linalg.det(first) * np.linalg.det(second), 0.0))
    return float(np.trace(first) + np.trace(second) - 2 * np.sqrt(max(cross, 0.0)))


def neighbours_of_known_sets(machine: Machine) -> Iterator[Finding]:
    """Precision, recall, density and coverage of a set against itself, which are known; wide enough for products in float32."""
    points = side(np.random.default_rng(2).standard_normal((IMAGES, 1024)))
    for metric, expected in (("precision", 1.0), ("recall", 1.0), ("density", (K + 1) / K), ("coverage", 1.0)):
        yield near(f"{metric} of identical sets", score(metric, points, points, k=K).value, expected, TIGHT)


def classifier(machine: Machine) -> Extractor:
    """The digits' classifier, which ships with the package."""
    return domain_classifier(machine.dataset, replace(machine.context, extractor_weights={}), None)


def seen(extractor: Extractor, images: ImageSet) -> FeatureSet:
    """Return the features of a set of images."""
    found = extractor(images.images)
    return FeatureSet(found.features, images.labels, found.logits)


def shipped_features(machine: Machine) -> Iterator[Finding]:
    """The shipped classifier sees in shipped images what it saw when the features were stored, and knows as many digits."""
    reference, images, extractor = read_reference(), reference_images(machine.dataset), classifier(machine)
    if images.content_hash() != reference.content:
        yield Finding("digits of scikit-learn", "FAILED", "other pixels", "those of the stored features")
    elif extractor.weights_id != reference.weights["classifier"]:
        yield Finding("weights of the digits classifier", "FAILED", extractor.weights_id, reference.weights["classifier"])
    else:
        found = extractor(images.images)
        assert found.logits is not None, "a classifier has logits"
        yield at_most("digits classifier, stored features", reference.difference("classifier", found.features), TOLERANCE)
        yield at_most("digits classifier, stored logits", reference.difference("logits", found.logits), TOLERANCE)
    test = seen(extractor, machine.dataset.test)
    yield near("digits classifier, accuracy", score("label_accuracy", test, test).value,
               float(stored_facts(SHIPPED)["accuracy_test"]), 1.5 / len(test))


def number_of_threads(machine: Machine) -> Iterator[Finding]:
    """Metrics of given features by one thread and by all."""
    extractor = classifier(machine)
    sides = seen(extractor, machine.dataset.test), seen(extractor, machine.dataset.reference)
    found = []
    for threads in (1, None):
        with threadpool_limits(threads, user_api="blas"):
            found.append(np.array([score(metric, *sides).value for metric in ("fid", "kid", "density")]))
    difference = np.abs(found[0] - found[1]) / np.maximum(np.abs(found[0]), 1)
    yield at_most("the number of threads", float(difference.max()), TIGHT)
