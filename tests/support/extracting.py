"""Features of images through the cache."""

from ltgen_bench.evaluation.features.feature_cache import cached_features


def extract(images, extractor, folder, progress):
    with progress.stage("features", len(images), "images") as stage:
        return cached_features(images, extractor, folder, progress, stage)
