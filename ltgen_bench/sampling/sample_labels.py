"""The labels of a set of generated images: balanced, or each drawn at random."""

import numpy as np
from jaxtyping import Int64

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.diffusion.draws import derived_seed


def balanced_labels(num_classes: int, images_per_class: int) -> Int64[np.ndarray, " M"]:
    """Label of image i is i mod K, so that every prefix of the set is as balanced as it can be."""
    return np.tile(np.arange(num_classes, dtype=np.int64), images_per_class)


def uniform_labels(num_classes: int, count: int, seed: int) -> Int64[np.ndarray, " M"]:
    """`count` labels, each drawn at random from all classes, as CBDM's code does. numpy has frozen this generator's stream.

    Class counts then scatter around M / K with a standard deviation of sqrt(M (K - 1)) / K, and a class may be empty.
    """
    rng = np.random.RandomState(derived_seed(seed, "labels") % 2**32)
    return rng.randint(num_classes, size=count, dtype=np.int64)


def labels_of(config: SampleConfig, num_classes: int) -> Int64[np.ndarray, " M"]:
    """The labels of all images of a set, by image number; as many in all by either policy."""
    if config.labels == "uniform":
        return uniform_labels(num_classes, num_classes * config.images_per_class, config.seed)
    return balanced_labels(num_classes, config.images_per_class)
