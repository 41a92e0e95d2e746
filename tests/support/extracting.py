"""Features of images through the cache."""

from dataclasses import dataclass

from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.runtime.context import RunContext


@dataclass(frozen=True)
class FeaturesContext(RunContext):
    """A context whose cache folder holds features and classifiers alone, at its top."""

    @property
    def features(self):
        return self.cache


def context_of(folder, name="", weights=None, progress=SILENT):
    """A context with features in `folder`, and a weights file of the extractor `name` where `weights` is one."""
    return FeaturesContext(progress=progress, cache=folder, extractor_weights={} if weights is None else {name: weights})


def extract(images, extractor, folder, progress):
    with progress.stage("features", len(images), "images") as stage:
        return cached_features(images, extractor, context_of(folder, progress=progress), stage)
