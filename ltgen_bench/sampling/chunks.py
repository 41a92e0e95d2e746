"""Sets of images in chunks of one fixed size, aligned to the image number, so that an interruption changes no bits."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.data.images import SampleSet
from ltgen_bench.diffusion.draws import derived_seed, generator, image_seed
from ltgen_bench.diffusion.guidance import Denoiser
from ltgen_bench.runtime.batch_size import AUTO, even_chunks, fastest_size
from ltgen_bench.runtime.compiling import asks_for_compiling
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.pixel_values import to_uint8
from ltgen_bench.sampling.solve import autocast, solve


@dataclass(frozen=True)
class Sampling:
    """What to sample: settings, shape [C, H, W] of an image, and number of classes."""

    config: SampleConfig
    image_shape: tuple[int, int, int]
    num_classes: int

    @cached_property
    def labels(self) -> Int64[np.ndarray, " M"]:
        """The label of every image."""
        return labels_of(self.config, self.num_classes)

    @cached_property
    def seeds(self) -> Int64[np.ndarray, " M"]:
        """The seed of every image."""
        return np.array([image_seed(self.config.seed, number) for number in range(len(self.labels))], dtype=np.int64)

    @property
    def size(self) -> int:
        """Images per chunk. `chunk_size` must have replaced "auto" before."""
        assert self.config.batch_size != AUTO, "`chunk_size` comes first"
        return self.config.batch_size

    @property
    def chunks(self) -> list[range]:
        """Image numbers of each chunk, aligned to the image index."""
        size = self.size
        return [range(start, min(start + size, len(self.labels))) for start in range(0, len(self.labels), size)]

    def draw(self, denoiser: Denoiser, numbers: range, device: torch.device) -> UInt8[np.ndarray, "B C H W"]:
        """Draw the images with these numbers. A short last chunk is padded, so that the batch size is constant."""
        size = self.size
        padded = [numbers[min(i, len(numbers) - 1)] for i in range(size)] if len(self.labels) >= size else list(numbers)
        labels = torch.from_numpy(self.labels[padded]).to(device)
        with torch.inference_mode(), autocast(self.config, device):
            x_0 = solve(denoiser, labels, self.seeds[padded].tolist(), self.image_shape, self.config, device)
        if not torch.isfinite(x_0).all():
            raise MachineError("the sampler produced values that are not finite; the training may have diverged. Look "
                               "at the loss curve, or lower omega.")
        return to_uint8(x_0[:len(numbers)]).cpu().numpy()


@exact_float32()
def chunk_size(denoiser: Denoiser, sampling: Sampling, device: torch.device, processes: int = 1) -> int:
    """Return the images per chunk for "auto": the batch size with the most images/s on this machine, measured in seconds.

    Several `processes` get equally many chunks where possible. A trial is one evaluation of the network. Repeated calls may
    differ; `sample` stores the first result.
    """
    config, labels = sampling.config, sampling.labels
    own = generator(derived_seed(config.seed, "batch-size"), device)
    # a compiled network would take a minute for each number
    uncompiled = partial(torch.compiler.set_stance, "force_eager") if asks_for_compiling(config.compile, device) else nullcontext

    def call(size: int) -> None:
        x_t = torch.randn(size, *sampling.image_shape, generator=own, device=device)
        times = torch.full((size,), 500, dtype=torch.int64, device=device)
        with torch.inference_mode(), autocast(config, device), uncompiled():
            denoiser(x_t, times, torch.from_numpy(np.resize(labels, size)).to(device))

    share = -(-len(labels) // processes)
    return even_chunks(share, fastest_size(call, device, largest=share))


def finished_chunk(file: Path, seeds: Int64[np.ndarray, " B"]) -> SampleSet | None:
    """Read a chunk of an earlier call; None where it is missing, damaged, or has other image numbers."""
    if not file.is_file():
        return None
    try:
        chunk = SampleSet.load(file)
    except UserError:
        return None
    return chunk if np.array_equal(chunk.seeds, seeds) else None


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
