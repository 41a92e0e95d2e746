"""Floating-point operations of training, sampling and evaluation of a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from ltgen_bench.config.schema import EvaluateConfig, NetworkConfig, RunConfig, SampleConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.network import build_network, flops_per_image
from ltgen_bench.evaluation.classifiers.classifier_networks import NETWORKS
from ltgen_bench.evaluation.classifiers.classifier_recipe import (
    LARGE_IMAGE,
    ClassifierRecipe,
    downstream_recipe,
    extractor_recipe,
    fitted_to,
)
from ltgen_bench.evaluation.evaluator import wanted_metrics
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.presets import PRESETS
from ltgen_bench.methods import METHODS
from ltgen_bench.sampling.samplers import SAMPLERS, fast_sampling

BACKWARD = 3.0  # a pass forward and backward, in passes forward
USUAL_PASSES = 50  # of an image that is drawn: 25 guided steps
LEAST_A_CLASS = 10  # generated images, however short the training
WORTH_SAYING = 2e12  # operations; below it is about a minute on two CPU cores


@dataclass(frozen=True)
class Part:
    """A part of the evaluation: its operations, its description, and the option that reduces it."""

    flops: float
    words: str
    shorter: str


@dataclass(frozen=True)
class Workload:
    """Operations of the stages. Training counts one pass of the network an image: methods that make more train longer."""

    train: float
    sample: float
    parts: tuple[Part, ...]

    @property
    def evaluate(self) -> float:
        """Operations of all parts of the evaluation."""
        return sum(part.flops for part in self.parts)


def worth_training(config: RunConfig, classes: int) -> RunConfig:
    """`config` with its `sample.share` as a number of images of each class: two digits of it, LEAST_A_CLASS or more.

    Every method, omega and number of steps has the same, so that scores of one budget compare.
    """
    sample = config.sample
    if sample.share is None:
        return config
    found = sample.share * BACKWARD * config.train.budget_images / (USUAL_PASSES * classes)
    rounded = int(float(f"{found:.2g}"))
    images = min(sample.images_per_class, max(LEAST_A_CLASS, rounded))
    return config.model_copy(update={"sample": sample.model_copy(update={"share": None, "images_per_class": images})})


def expected_sample(config: RunConfig, dataset_name: str, class_counts: Sequence[int]) -> SampleConfig:
    """How the preset of `config` expects images of this method to be drawn; `dataset_name` is that of tables."""
    method, preset = config.method.name, PRESETS[config.evaluate.preset or ""]
    wanted = preset.expected(config.sample, method, dataset_name, list(class_counts))
    guidable = method not in METHODS or METHODS[method].guidable()  # else the paper's omega is of methods that can be guided
    return wanted.model_copy(update={"as_preset": False, "share": None, **({} if guidable else {"omega": 0.0})})


def as_preset(config: RunConfig, dataset: LongTailDataset) -> RunConfig:
    """Return `config` with the sampling settings that the preset expects, where `sample.as_preset` asks for them."""
    if not config.sample.as_preset:
        return config
    return config.model_copy(update={"sample": expected_sample(config, dataset.name, dataset.class_counts)})


def workload(config: RunConfig, dataset: LongTailDataset) -> Workload:
    """The operations of every stage of `config` on `dataset`. Nothing is trained or fetched."""
    unit = _network_flops(config.network, dataset.image_shape)
    images, sample = config.sample.images_per_class * dataset.num_classes, config.sample
    passes = len(SAMPLERS[sample.sampler].make(sample.steps).timesteps) * (2 if sample.omega > 0 else 1)  # of an image
    return Workload(unit * BACKWARD * config.train.budget_images, unit * passes * images,
                    tuple(_evaluation_parts(config.evaluate, dataset, images)))


@cache
def _network_flops(network: NetworkConfig, image_shape: tuple[int, int, int]) -> float:
    """Operations of one forward pass of one image, counted once for all runs of a command."""
    with torch.device("meta"):
        return flops_per_image(build_network(network, image_shape, 2, seed=0), image_shape)


def _evaluation_parts(config: EvaluateConfig, dataset: LongTailDataset, images: int) -> list[Part]:
    """Return the parts of the evaluation of so many images, without cached results."""
    shape, through = dataset.image_shape, images + len(dataset.reference) + len(dataset.test)
    found = []
    for name in config.extractors:
        kind = EXTRACTORS[name]
        recipe = extractor_recipe(shape, dataset.flip, config.classifier_steps)
        recipe = recipe if config.classifier_steps is not None else fitted_to(recipe, len(dataset.reference))
        each = _classifier_flops(recipe, dataset) if kind.trained else kind.flops
        found.append(Part(each * through, f"{through:,} images through {name}", "--images-per-class, or --extractor classifier"))
        if kind.trained:
            found.append(Part(_training(recipe, each), f"{recipe.steps:,} steps of the {kind.title}",
                              "--set evaluate.classifier_steps=N"))
    if config.downstream and any(METRICS[name].is_downstream for name in wanted_metrics(config)):
        recipe = downstream_recipe(shape, dataset.flip, len(dataset.train), config.downstream_steps)
        found.append(Part(3 * _training(recipe, _classifier_flops(recipe, dataset)),
                          f"{3 * recipe.steps:,} steps of downstream classifiers", "--set evaluate.downstream_steps=N"))
    return found


def _training(recipe: ClassifierRecipe, each: float) -> float:
    return BACKWARD * each * recipe.steps * recipe.batch_size


def _classifier_flops(recipe: ClassifierRecipe, dataset: LongTailDataset) -> float:
    """Operations of one image in a classifier of this recipe."""
    from torch.utils.flop_counter import FlopCounterMode

    channels, *sides = dataset.image_shape
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = NETWORKS[recipe.network](channels, dataset.num_classes).eval()
        net(torch.zeros(1, channels, *(min(side, LARGE_IMAGE) for side in sides)))
    return float(counter.get_total_flops())


def long_stages(config: RunConfig, dataset: LongTailDataset) -> list[str]:
    """Return a message on each stage that takes longer than the training, with the option that shortens it."""
    load, found, sample = workload(config, dataset), [], config.sample
    if load.sample > max(load.train, WORTH_SAYING):
        fewer = worth_training(config.model_copy(update={"sample": sample.model_copy(update={"share": 1.0})}),
                               dataset.num_classes).sample.images_per_class
        cures = [f"--images-per-class {fewer}"] if fewer < sample.images_per_class else []
        sampler, steps = fast_sampling(config.process.name)
        cures += [f"--sampler {sampler} --steps {steps}"] if sample.steps > 2 * steps else []
        shorter = ", or ".join(cures) or "--steps, or --images-per-class"
        images = sample.images_per_class * dataset.num_classes
        found.append(f"note: sampling takes about {_times(load.sample / load.train)} as long as the training: {images:,} images "
                     f"in {sample.steps:,} steps each. Shorter: {shorter}.")
    if load.evaluate > max(load.train, WORTH_SAYING):
        most = max(load.parts, key=lambda part: part.flops)
        found.append(f"note: evaluation takes about {_times(load.evaluate / load.train)} as long as the training, most of it "
                     f"{most.words}, unless they are cached. Shorter: {most.shorter}.")
    return found


def _times(ratio: float) -> str:
    return f"{float(f'{ratio:.2g}'):,g} times"
