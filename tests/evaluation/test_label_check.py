"""Labels that contradict good overall scores are told, and honest images are not accused."""

import numpy as np
import pytest

from ltgen_bench.evaluation.label_check import BEGIN, label_contradiction
from ltgen_bench.evaluation.metrics.metric import FeatureSet

NAMES = [f"c{label}" for label in range(10)]
CENTRES = np.random.default_rng(9).standard_normal((10, 16)) * 3


def drawn(per_class, seed, wide=1.0, away=0.0):
    """Images of a cloud for each class; with `away` farther from all real ones."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10), per_class)
    features = (CENTRES[labels] + away + wide * rng.standard_normal((len(labels), 16))).astype(np.float32)
    logits = -np.square(features[:, None] - CENTRES).sum(axis=2).astype(np.float32)
    return FeatureSet(features, labels, logits)


REAL, HELD_OUT = drawn(100, 1), drawn(50, 2)


def told(side, labels=None, class_logits=True, held_out=HELD_OUT):
    side = side if labels is None else FeatureSet(side.features, labels, side.logits)
    return label_contradiction(side, REAL, held_out, NAMES, class_logits)


def swapped(labels, first, second):
    return np.where(labels == first, second, np.where(labels == second, first, labels))


@pytest.mark.parametrize("wide", [0.5, 1.0, 1.4, 3.0, 10.0])
@pytest.mark.parametrize("per_class", [3, 10, 100])
@pytest.mark.parametrize("class_logits", [True, False])
def test_honest_images_of_any_quality_and_number_are_not_accused(wide, per_class, class_logits):
    assert told(drawn(per_class, 3, wide), class_logits=class_logits) == ""


@pytest.mark.parametrize("class_logits", [True, False])
@pytest.mark.parametrize("held_out", [HELD_OUT, HELD_OUT.take(np.empty(0, np.int64))], ids=["held out", "none"])
def test_shuffled_labels_are_told_with_their_accuracy(class_logits, held_out):
    side = drawn(100, 3)
    labels = np.random.default_rng(0).permutation(side.labels)
    sentence = told(side, labels, class_logits, held_out)
    assert sentence.startswith(BEGIN)
    if class_logits:
        assert f"label accuracy {(side.logits.argmax(axis=1) == labels).mean():.3f}" in sentence


@pytest.mark.parametrize("pair", [(8, 9), (0, 5)])
def test_two_swapped_classes_are_named(pair):
    side = drawn(30, 3)
    sentence = told(side, swapped(side.labels, *pair))
    assert sentence.startswith(BEGIN)
    assert all(f"of class c{label} " in sentence for label in pair)


def test_images_that_look_like_none_are_not_told_of_their_labels():
    side = drawn(100, 3, away=40.0)
    assert told(side, np.random.default_rng(0).permutation(side.labels)) == ""
