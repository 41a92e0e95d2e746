"""Training settings of the benchmark's classifiers, as plain values; torch-free, since they enter protocols."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

SMALL_IMAGE = 16  # pixels; up to here the small CNN serves
LARGE_IMAGE = 64  # pixels; larger images are reduced to it before a classifier sees them
PASSES = 100  # over a small reference; more teach the extractor nothing
FEWEST_STEPS = 100
REDUCED = 2  # the revision of recipes for images that are reduced


@dataclass(frozen=True)
class ClassifierRecipe:
    """SGD with momentum, linear warm-up and cosine decay, cross-entropy, padded random crops, flips where allowed."""

    network: str  # resnet-32 or cnn-8x8
    steps: int  # optimiser steps
    flip: bool
    padding: int  # pixels around the image before the crop
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup: float = 0.05  # share of the steps
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0
    revision: int = 1

    @property
    def digest(self) -> str:
        """8 hex digits over every value."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def words(self) -> str:
        """The recipe in a few words, without the steps."""
        flips = "flips" if self.flip else "no flips"
        return (f"{self.network}, batches of {self.batch_size}, SGD {self.learning_rate:g}, "
                f"momentum {self.momentum:g}, weight decay {self.weight_decay:g}, cosine, crops {self.padding}, "
                f"{flips}, seed {self.seed}, revision {self.revision}"
                + (f", images reduced to {LARGE_IMAGE} pixels" if self.revision == REDUCED else ""))


def revision_for(image_shape: tuple[int, int, int]) -> int:
    """The revision of the recipes for images of (channels, height, width)."""
    return REDUCED if max(image_shape[1:]) > LARGE_IMAGE else 1


def fitted_to(recipe: ClassifierRecipe, images: int) -> ClassifierRecipe:
    """`recipe` with fewer steps where so few images are seen PASSES times in them; at least FEWEST_STEPS."""
    enough = max(FEWEST_STEPS, -(-PASSES * images // recipe.batch_size))
    return replace(recipe, steps=min(recipe.steps, enough))


def network_for(image_shape: tuple[int, int, int]) -> str:
    """The classifier for images of (channels, height, width)."""
    return "cnn-8x8" if max(image_shape[1:]) <= SMALL_IMAGE else "resnet-32"


def extractor_recipe(image_shape: tuple[int, int, int], flip: bool, steps: int | None = None) -> ClassifierRecipe:
    """The classifier that the extractor `classifier` is: trained once for a data set, on its balanced real reference.

    Where `steps` is None it is 600 for the small CNN and 2,000 for ResNet-32, 5 passes over CIFAR; `fitted_to` takes fewer for
    few images.
    """
    if network_for(image_shape) == "cnn-8x8":
        return ClassifierRecipe("cnn-8x8", steps=steps or 600, flip=flip, padding=1)
    return ClassifierRecipe("resnet-32", steps=steps or 2000, flip=flip, padding=4, revision=revision_for(image_shape))


def downstream_recipe(image_shape: tuple[int, int, int], flip: bool, longtail_images: int,
                      steps: int | None = None) -> ClassifierRecipe:
    """The classifiers trained on real and generated images: the same number of steps for all training sets.

    Where `steps` is None it is 200 passes over the long-tailed set, as in long-tailed recognition (LDAM, Cao et al.
    2019), within 200 to 20,000; the small CNN converges sooner and has at most 250.
    """
    network = network_for(image_shape)
    if steps is None:
        steps = min(max(200 * longtail_images // 128, 200), 250 if network == "cnn-8x8" else 20_000)
    return ClassifierRecipe(network, steps=steps, flip=flip, padding=1 if network == "cnn-8x8" else 4,
                            revision=revision_for(image_shape))
