"""Label accuracy and confusion: as which class a classifier of the real data sees the generated images."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float64, Int64

from ltgen_bench.evaluation.metrics.metric import HELD_OUT, REPEATED, FeatureSet, Metric, Result, ScopeKind, Settings


def label_accuracy(logits: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, " N"]) -> float:
    """Share of images whose largest logit is their label's, in 0 ... 1. Needs one image."""
    assert len(labels) > 0, "a share of nothing"
    return float((logits.argmax(axis=1) == labels).mean())


def confusion(logits: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, "K K"]:
    """Row c: the shares of the images made for class c that are seen as each of the K classes; on the diagonal those seen right.

    Every row sums to 1, but for that of a class without images, which is NaN.
    """
    num_classes = logits.shape[1]
    pairs = labels * num_classes + logits.argmax(axis=1)
    counts = np.bincount(pairs, minlength=num_classes ** 2).reshape(num_classes, num_classes).astype(np.float64)
    made = counts.sum(axis=1, keepdims=True)
    return counts / np.where(made > 0, made, np.nan)


def _compute(generated: FeatureSet, real: FeatureSet, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    assert generated.logits is not None, "the caller gives no rows without logits to this metric"
    return {"label_accuracy": Result(label_accuracy(generated.logits, generated.labels), n_generated=len(generated))}


LABEL_ACCURACY = Metric(
    name="label_accuracy", title="label accuracy", direction="higher", bounds=(0.0, 1.0), min_images=1,
    summary="share of generated images that a classifier of the balanced real data assigns to their label",
    source="GAN-test: Shmelkov et al. 2018, arXiv:1807.09499",
    needs=("class logits",), scopes=("all", "group", "class"), baselines=("test",), depends_on_n=False,
    blind_to=(HELD_OUT, REPEATED), plots=("groups", "curve"), compute=_compute)
DOWNSTREAM_ACCURACY = Metric(
    name="downstream_accuracy", title="downstream accuracy", direction="higher", bounds=(0.0, 1.0), baselines=(),
    summary="accuracy on real test images of a classifier trained on real, generated or both kinds of images",
    source="CAS: Ravuri & Vinyals 2019, arXiv:1905.10887; equal optimiser steps are this benchmark's",
    needs=("downstream classifier",), scopes=("all", "group"), plots=("groups", "curve"))
DOWNSTREAM_RECALL = Metric(
    name="downstream_recall", title="downstream recall", direction="higher", bounds=(0.0, 1.0), baselines=(),
    summary="share of a class's real test images that the downstream classifier finds",
    source="CAS: Ravuri & Vinyals 2019, arXiv:1905.10887; equal optimiser steps are this benchmark's",
    needs=("downstream classifier",), scopes=("class",), plots=("classes",))
