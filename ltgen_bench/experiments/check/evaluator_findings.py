"""The evaluator on the digits: nothing that must not matter matters, and real images score as real images do."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn brings it along

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.evaluator import evaluate
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.extractors.domain_classifier import SHIPPED, domain_classifier, stored_facts
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.features.reference_features import TOLERANCE, read_reference, reference_images
from ltgen_bench.evaluation.metrics import Side
from ltgen_bench.evaluation.metrics.expected_coverage import expected_coverage
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.experiments.check.closed_forms import K, score
from ltgen_bench.experiments.check.finding import Finding, Machine, at_most, near

NUMBERS = ["value", "uncertainty", "floor_half", "floor_test"]
FEW = 200  # images
EXACT, ROUNDED = 1e-9, 1e-5  # what may differ where all is float64, and where an extractor's float32 comes in


def classifier(machine: Machine) -> Extractor:
    """The digits' classifier, which ships with the package."""
    return domain_classifier(machine.dataset, replace(machine.context, extractor_weights={}), None)


def seen(extractor: Extractor, images: ImageSet) -> Side:
    """What the extractor sees in a set."""
    found = extractor(images.images)
    return Side(found.features, images.labels, found.logits)


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


def real_images(machine: Machine) -> Iterator[Finding]:
    """The digits against themselves, and one half of them against the other."""
    digits = seen(classifier(machine), canonical(machine.dataset.reference))
    yield at_most("FID of the digits against themselves", score("fid", digits, digits).value, 1e-6)
    yield at_most("KID of the digits against themselves", score("kid", digits, digits, "class").value, 0.0)
    for metric, expected in (("precision", 1.0), ("recall", 1.0), ("density", (K + 1) / K), ("coverage", 1.0)):
        yield near(f"{metric} of the digits against themselves", score(metric, digits, digits, k=K).value, expected, EXACT)
    # At random, and not by class: with equal shares of the classes KID would be below 0 and not around it.
    order, count = np.random.default_rng(0).permutation(len(digits)), len(digits) // 2
    first, second = digits.take(order[:count]), digits.take(order[count:2 * count])
    kid = score("kid", first, second, "class")
    yield at_most("KID of half against half, in its errors", abs(kid.value) / kid.uncertainty, 4.0)
    yield at_most("FID of half against half", score("fid", first, second).value, 1.0)
    yield near("coverage of half by half", score("coverage", first, second, k=K).value, expected_coverage(count, count, K), 0.03)


def order_of_images(machine: Machine) -> Iterator[Finding]:
    """Every default metric of the digits' test images, and of the same images shuffled."""
    dataset = machine.dataset
    shuffled = dataset.test.take(np.random.default_rng(0).permutation(len(dataset.test)))
    config = EvaluateConfig(downstream=False)
    with tempfile.TemporaryDirectory() as folder:
        tables = [evaluate(images, dataset, config, replace(machine.context, cache=Path(folder))).table[NUMBERS].to_numpy(float)
                  for images in (dataset.test, shuffled)]
    yield at_most("the order of the images", _difference(*tables), EXACT)


def size_of_batches(machine: Machine) -> Iterator[Finding]:
    """What the classifier sees in one batch and in batches of 7."""
    extractor, images = classifier(machine), machine.dataset.test.images[:FEW]
    whole = extractor(images).features
    parts = np.concatenate([extractor(images[start:start + 7]).features for start in range(0, len(images), 7)])
    yield at_most("the batch size of the extractor", _difference(whole, parts), ROUNDED)


def number_of_threads(machine: Machine) -> Iterator[Finding]:
    """Metrics of given features by one thread and by all."""
    extractor = classifier(machine)
    sides = seen(extractor, machine.dataset.test), seen(extractor, machine.dataset.reference)
    found = []
    for threads in (1, None):
        with threadpool_limits(threads, user_api="blas"):
            found.append(np.array([score(metric, *sides).value for metric in ("fid", "kid", "density")]))
    yield at_most("the number of threads", _difference(*found), EXACT)


def kept_features(machine: Machine) -> Iterator[Finding]:
    """Features as they are made, as they come back when they are kept, and as they come back later."""
    extractor, images = classifier(machine), machine.dataset.test.images[:FEW]
    with tempfile.TemporaryDirectory() as folder, SILENT.stage("features", 2 * FEW, "images") as stage:
        context = replace(machine.context, cache=Path(folder))
        made, kept = (cached_features(images, extractor, context, stage).features for _ in range(2))
        plain = extractor(images).features
        yield at_most("features from the cache", max(_difference(plain, made), _difference(made, kept)), 0.0)


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest relative difference, or absolute difference of numbers below 1; missing in one alone is infinite."""
    if first.shape != second.shape or not np.array_equal(np.isnan(first), np.isnan(second)):
        return float("inf")
    return float(np.nanmax(np.abs(first - second) / np.maximum(np.abs(first), 1), initial=0.0))
