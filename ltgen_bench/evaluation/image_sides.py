"""Which images meet in an evaluation, and which metrics can look at them."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.features.extractor_batch import sized
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.metrics import Metric, Side
from ltgen_bench.evaluation.metrics.metric import SEED
from ltgen_bench.evaluation.subsets import at_most, canonical, of_each_class, positions
from ltgen_bench.runtime.context import RunContext


class Sets(NamedTuple):
    """The images that meet, in canonical order: sorted and hashed once for all extractors."""

    generated: ImageSet
    real: ImageSet
    held_out: ImageSet


def real_sides(dataset: LongTailDataset, config: EvaluateConfig) -> tuple[ImageSet, ImageSet]:
    """(the reference, held-out real images), each cut to the wanted number a class.

    Where the test set is itself the reference, or the data have no test part, nothing is held out, and there is no baseline of
    held-out images. Without a test part a reference of test images is empty, too. For the long-tailed training set as
    reference the held-out images have its class shares, since others would change the score.
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


def looked_at(images_of: Sets, dataset: LongTailDataset, config: EvaluateConfig,
              unseen: bool) -> tuple[dict[str, ImageSet], Int64[np.ndarray, " N"] | None]:
    """(the images of each side, where the training images stand among the reference, whose features then serve again).

    Where only a part of the real images is looked at, the one that was copied may be among the others, so there is no training
    side.
    """
    sets, known = images_of._asdict(), None
    if unseen and len(images_of.held_out) and config.reference_per_class is None:
        train = canonical(dataset.train)
        known = positions(train, images_of.real)
        if known is None:
            sets["train"] = train
    return sets, known


def possible_on(extractor: Extractor, metrics: list[Metric]) -> list[Metric]:
    """The metrics that the features and logits of `extractor` allow."""
    return [metric for metric in metrics if extractor.class_logits or "class logits" not in metric.needs]


def asks_for_training_images(metrics: list[Metric]) -> bool:
    """Whether one of them compares with the images that a model trains on."""
    return any(metric.unseen is not None for metric in metrics)


def featured(extractor: Extractor, sets: Mapping[str, ImageSet], batch_size: int | Literal["auto"] | None,
             context: RunContext) -> dict[str, Side]:
    """Features (and logits) of each of `sets`, in the order of its images."""
    with context.progress.stage("features", sum(map(len, sets.values())), "images") as stage:
        stage.advance(0, extractor.name)
        sides: dict[str, Side] = {}
        for name, images in sets.items():
            if not len(images):
                sides[name] = sides["generated"].take(np.empty(0, np.int64))
                continue
            looking = sized(extractor, batch_size, images.images, context)
            found = cached_features(images.images, looking, context, stage)
            sides[name] = Side(found.features, images.labels, found.logits, str(context.device))
    return sides
