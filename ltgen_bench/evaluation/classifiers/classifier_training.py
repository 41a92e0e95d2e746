"""Training one classifier, and asking it: the only training loop of the evaluation, seeded and deterministic."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.progress import Stage
from ltgen_bench.evaluation.classifiers.classifier_networks import NETWORKS, SmallCNN
from ltgen_bench.evaluation.classifiers.classifier_recipe import LARGE_IMAGE, ClassifierRecipe
from ltgen_bench.runtime.precision import deterministic_float32
from ltgen_bench.sampling.pixel_values import from_uint8

PREDICT_BATCH = 512
REDUCED_AT_ONCE = 64  # images
LEAST_SIDE = 2  # pixels: the small CNN halves an image once


def new_classifier(recipe: ClassifierRecipe, channels: int, num_classes: int) -> nn.Module:
    """The recipe's network with its first weights, on the CPU. torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        net = NETWORKS[recipe.network](channels, num_classes)
    return net.to(memory_format=torch.channels_last)  # a quarter faster on CPUs


def train_classifier(images: UInt8[np.ndarray, "N C H W"], labels: Int64[np.ndarray, " N"], num_classes: int,
                     recipe: ClassifierRecipe, *, device: str, stage: Stage) -> nn.Module:
    """A trained classifier in evaluation mode on `device`; `stage` advances by one a step. It sees images of any size `reduced`.

    Order, crops and flips come from generators of the recipe's seed, so the weights are a function of the arguments
    (same machine, same threads; on CUDA with cuDNN's deterministic kernels). Raises `MachineError` when the loss is not
    finite.
    """
    net = new_classifier(recipe, images.shape[1], num_classes).to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum,
                                weight_decay=recipe.weight_decay, nesterov=True)
    pixels, targets = torch.from_numpy(reduced(images)).to(device), torch.from_numpy(labels).to(device)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = batch_stream(len(labels), recipe.batch_size, generator)
    with _steady(net):
        for step in range(recipe.steps):
            chosen = next(batches).to(device)
            batch = from_uint8(augment(pixels[chosen], recipe, generator))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, recipe)
            loss = functional.cross_entropy(net(batch)[1], targets[chosen])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            if step % 50 == 0 or step == recipe.steps - 1:  # asking for the value waits for the device
                _check_finite(loss.item(), step, recipe)
            stage.advance(1)
    return net.eval()


def _check_finite(loss: float, step: int, recipe: ClassifierRecipe) -> None:
    if not math.isfinite(loss):
        raise MachineError(f"the loss of the classifier {recipe.network} is {loss} at step {step}; its images may be "
                           "broken (all equal?).")


def learning_rate(step: int, recipe: ClassifierRecipe) -> float:
    """Linear from 0 over the warm-up, then half a cosine down to 0 at `steps`."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))


def batch_stream(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Int64[Tensor, " B"]]:
    """Batches of exactly `batch_size` indices, cut from one permutation of the images after another."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def augment(images: UInt8[Tensor, "B C H W"], recipe: ClassifierRecipe,
            generator: torch.Generator) -> UInt8[Tensor, "B C H W"]:
    """A random crop of every image padded with black and, where the recipe allows, a flip for half of them."""
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * recipe.padding + 1, (2, count, 1), generator=generator)
    rows, columns = offsets[0] + torch.arange(height), offsets[1] + torch.arange(width)
    if recipe.flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = functional.pad(images, (recipe.padding,) * 4).permute(0, 2, 3, 1)
    index = torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]
    return padded[tuple(part.to(images.device) for part in index)].permute(0, 3, 1, 2)


def predict(net: nn.Module, images: UInt8[np.ndarray, "N C H W"], *, device: str, batch_size: int = PREDICT_BATCH,
            ) -> tuple[Float32[np.ndarray, "N D"], Float32[np.ndarray, "N K"]]:
    """(features [N, 64], logits [N, K]) of a classifier in evaluation mode, which sees `batch_size` images at once."""
    features, logits = [], []
    with torch.inference_mode(), _steady(net):
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(reduced(images[start:start + batch_size]))).to(device)
            part_features, part_logits = net(from_uint8(batch))
            features.append(part_features.cpu().numpy())
            logits.append(part_logits.cpu().numpy())
    return np.concatenate(features), np.concatenate(logits)


@contextmanager
def _steady(net: nn.Module) -> Iterator[None]:
    """Exact float32 by deterministic kernels; for the small CNN one thread, which costs little and gives the same bits at any
    number of threads (and on a busy machine, threads that wait for each other cost ten times more than they give)."""
    threads = torch.get_num_threads()
    if isinstance(net, SmallCNN):
        torch.set_num_threads(1)
    try:
        with deterministic_float32():
            yield
    finally:
        torch.set_num_threads(threads)


def seen_size(height: int, width: int) -> tuple[int, int]:
    """Height and width that a classifier sees: at most LARGE_IMAGE, the shorter side in proportion, and at least LEAST_SIDE."""
    longest = max(height, width)
    if longest > LARGE_IMAGE:
        height, width = (max(1, round(side * LARGE_IMAGE / longest)) for side in (height, width))
    return max(height, LEAST_SIDE), max(width, LEAST_SIDE)


def reduced(images: UInt8[np.ndarray, "N C H W"]) -> UInt8[np.ndarray, "N C h w"]:
    """The images in `seen_size`: means over areas, rounded; a side of one pixel is repeated. Others are left as they are."""
    size = seen_size(*images.shape[2:])
    if size == images.shape[2:]:
        return images
    made = np.empty((*images.shape[:2], *size), np.uint8)
    for start in range(0, len(images), REDUCED_AT_ONCE):
        part = torch.from_numpy(np.ascontiguousarray(images[start:start + REDUCED_AT_ONCE])).float()
        made[start:start + REDUCED_AT_ONCE] = functional.interpolate(part, size, mode="area").round().to(torch.uint8).numpy()
    return made
