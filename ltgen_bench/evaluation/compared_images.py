"""The images of an evaluation by role (generated, reference, held out, training), and their features."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.features.extractor_batch import with_batch_size
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.metrics import FeatureSet, Metric
from ltgen_bench.evaluation.metrics.metric import SEED
from ltgen_bench.evaluation.subsets import at_most, canonical, of_each_class, positions
from ltgen_bench.runtime.context import RunContext


class ComparedImages(NamedTuple):
    """Generated images, the reference (`real`) and held-out real images, in canonical order."""

    generated: ImageSet
    real: ImageSet
    held_out: ImageSet


def real_images(dataset: LongTailDataset, config: EvaluateConfig) -> tuple[ImageSet, ImageSet]:
    """Return (the reference, held-out real images), at most `config.reference_per_class` of each class.

    There are no held-out images where the test set is the reference, or the data have no test part; then a reference of test
    images is empty, too. For the long-tailed training set as the reference the held-out images have the same class shares, so
    that the baseline score of held-out images does not measure a difference in shares.
    """
    train, test = dataset.reference, dataset.test
    if config.reference == "longtail":
        train, held = dataset.train, np.bincount(test.labels, minlength=dataset.num_classes)
        scale = (held / dataset.class_counts).min()
        quota = [max(1, int(count * scale)) for count in dataset.class_counts]
        test = at_most(canonical(test), quota, np.random.default_rng(SEED))
    if config.reference_per_class is not None:
        train, test = (of_each_class(part, config.reference_per_class, np.random.default_rng(SEED)) for part in (train, test))
    return (test, test.take(np.empty(0, np.int64))) if config.reference == "test" else (train, test)


def images_to_extract(images_of: ComparedImages, dataset: LongTailDataset, config: EvaluateConfig,
              metrics: list[Metric]) -> tuple[dict[str, ImageSet], Int64[np.ndarray, " N"] | None]:
    """Return (images by role, positions of the training images in the reference or None).

    With positions the training images need no features of their own. They have a role where one of `metrics` compares with them,
    unless only a part of the real images is used: a copied image might be in the other part.
    """
    sets, known = images_of._asdict(), None
    compared = any(metric.against_training is not None for metric in metrics)
    if compared and len(images_of.held_out) and config.reference_per_class is None:
        train = canonical(dataset.train)
        known = positions(train, images_of.real)
        if known is None:
            sets["train"] = train
    return sets, known


def computable_metrics(extractor: Extractor, metrics: list[Metric]) -> list[Metric]:
    """The metrics that can be computed from the features and logits of `extractor`."""
    return [metric for metric in metrics if extractor.class_logits or "class logits" not in metric.needs]


def extract_features(extractor: Extractor, sets: Mapping[str, ImageSet], batch_size: int | Literal["auto"] | None,
             context: RunContext) -> dict[str, FeatureSet]:
    """Features (and logits) of each of `sets` by role, in the order of its images; from the cache where they are there."""
    with context.progress.stage("features", sum(map(len, sets.values())), "images") as stage:
        stage.advance(0, extractor.name)
        sides: dict[str, FeatureSet] = {}
        for name, images in sets.items():
            if not len(images):
                sides[name] = sides["generated"].take(np.empty(0, np.int64))
                continue
            batched = with_batch_size(extractor, batch_size, images.images, context)
            found = cached_features(images.images, batched, context, stage)
            sides[name] = FeatureSet(found.features, images.labels, found.logits, str(context.device))
    return sides
