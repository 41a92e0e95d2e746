"""What training and sampling are measured on: the recipes of CIFAR-10-LT, and images of its size, which need not be read."""

import numpy as np

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.experiments.recipes import resolve_recipe

RECIPES = "cifar10-lt"
COUNTS = (500, 300, 180, 108, 65, 39, 23, 14, 8, 5)  # images of each class; what they show changes no time
SHAPE = (3, 32, 32)


def loop_config(method: str, preset: str, batch: int, **overrides: object) -> RunConfig:
    """The recipe of `method` with this network and batch, in the device's precision, at its full rate from the first step.

    `overrides` are of the recipe, by dotted keys.
    """
    given = {"network.preset": preset, "train.batch_size": batch, "train.warmup_images": 0, "train.precision": "auto"}
    return resolve_recipe(recipe=None, method=method, dataset=RECIPES, overrides={**given, **overrides})


def random_images() -> LongTailDataset:
    """A long-tailed set of 1,242 images 32 x 32 of noise in 10 classes."""
    labels = np.repeat(np.arange(len(COUNTS), dtype=np.int64), COUNTS)
    noise = np.random.default_rng(0).integers(0, 256, (len(labels), *SHAPE), dtype=np.uint8)
    images = ImageSet(noise, labels)
    return LongTailDataset("noise", images, images, images, tuple(f"class {c}" for c in range(len(COUNTS))), flip=True)
