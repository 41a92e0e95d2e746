"""Drawing images: labels balanced or at random, one seed an image, fixed chunks that survive an interruption."""

import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.core.errors import DamagedError, MachineError, UserError
from ltgen_bench.core.files import read_checked_json, set_aside, write_checked_json
from ltgen_bench.core.progress import Progress
from ltgen_bench.data.images import SampleSet
from ltgen_bench.diffusion.draws import derived_seed, generator, image_seed
from ltgen_bench.diffusion.guidance import Denoiser, Guidance
from ltgen_bench.runtime.batch_size import AUTO, even_chunks, fastest_size
from ltgen_bench.runtime.compiling import asks_for_compiling
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.memory import machine_memory
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.samplers import SAMPLERS

WORTH_COMPILING = 2_000_000  # evaluations of the network; fewer may not make up for the minute that compiling takes


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


def check_sampling(config: SampleConfig, image_shape: tuple[int, int, int], num_classes: int) -> None:
    """A `UserError` for a number of steps that the sampler cannot take, and for more images than the memory holds."""
    SAMPLERS[config.sampler].make(config.steps)
    needed, there = config.images_per_class * num_classes * prod(image_shape), machine_memory()
    if needed > there:
        raise UserError(f"sample.images_per_class: {config.images_per_class:,} images of each class take {needed / 1e9:,.0f} GB, "
                        f"and this machine has {there / 1e9:,.0f} GB; take fewer.")


@dataclass(frozen=True)
class Sampling:
    """What is drawn: the settings, the shape [C, H, W] of an image, and the number of classes."""

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
        """Images of a chunk, which are known by now."""
        assert self.config.batch_size != AUTO, "`chunk_size` comes first"
        return self.config.batch_size

    @property
    def chunks(self) -> list[range]:
        """Image numbers of each chunk, aligned to the image index."""
        size = self.size
        return [range(start, min(start + size, len(self.labels))) for start in range(0, len(self.labels), size)]

    def draw(self, denoiser: Denoiser, numbers: range, device: torch.device) -> UInt8[np.ndarray, "B C H W"]:
        """The images with these numbers. A short last chunk is padded, so that kernels see one batch size."""
        size = self.size
        padded = [numbers[min(i, len(numbers) - 1)] for i in range(size)] if len(self.labels) >= size else list(numbers)
        seeds = [image_seed(self.config.seed, number) for number in padded]
        labels = torch.from_numpy(self.labels[padded]).to(device)
        with torch.inference_mode(), _autocast(self.config, device):
            x_0 = solve(denoiser, labels, seeds, self.image_shape, self.config, device)
        if not torch.isfinite(x_0).all():
            raise MachineError("the sampler produced values that are not finite; the training may have diverged. Look "
                               "at the loss curve, or lower omega.")
        return to_uint8(x_0[:len(numbers)]).cpu().numpy()


def _autocast(config: SampleConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")


def guidance_of(config: SampleConfig, num_classes: int, device: torch.device) -> Guidance:
    """What `config` asks of a denoiser: with `compile` "auto" a compiled network on CUDA, where a set is large enough."""
    passes = 2 if config.omega > 0 else 1
    worth_it = num_classes * config.images_per_class * config.steps * passes >= WORTH_COMPILING
    return Guidance(config.omega, compiled=asks_for_compiling(config.compile, device, worth_it=worth_it))


@exact_float32()
def chunk_size(denoiser: Denoiser, sampling: Sampling, device: torch.device, processes: int = 1) -> int:
    """Images of a chunk where the settings leave it open ("auto"): as many as this machine draws fastest, found in seconds.

    Each of several `processes` has as many chunks to draw, as far as that goes. What is tried is one evaluation of the network.
    The same call may find another number; `sample` keeps the first.
    """
    config, labels = sampling.config, sampling.labels
    own = generator(derived_seed(config.seed, "batch-size"), device)
    # a compiled network would take a minute for each number
    uncompiled = partial(torch.compiler.set_stance, "force_eager") if asks_for_compiling(config.compile, device) else nullcontext

    def call(size: int) -> None:
        x_t = torch.randn(size, *sampling.image_shape, generator=own, device=device)
        times = torch.full((size,), 500, dtype=torch.int64, device=device)
        with torch.inference_mode(), _autocast(config, device), uncompiled():
            denoiser(x_t, times, torch.from_numpy(np.resize(labels, size)).to(device))

    share = -(-len(labels) // processes)
    return even_chunks(share, fastest_size(call, device, largest=share))


def solve(denoiser: Denoiser, labels: Int64[Tensor, " B"], seeds: list[int], image_shape: tuple[int, int, int],
          config: SampleConfig, device: torch.device) -> Float[Tensor, "B C H W"]:
    """Run the sampler of `config` from noise to x_0 (about -1 ... 1, not clipped).

    Image i draws its initial noise, and at a stochastic sampler all later noise, from its own generator.
    """
    sampler = SAMPLERS[config.sampler]
    scheduler = sampler.make(config.steps)
    generators = [generator(seed, device) for seed in seeds]
    x_t = torch.stack([torch.randn(image_shape, generator=g, device=device) for g in generators])
    extra = {"generator": generators} if sampler.stochastic else {}
    for t in scheduler.timesteps:
        times = torch.full((len(seeds),), t.item(), dtype=t.dtype, device=device)
        predicted = denoiser(x_t, times, labels)
        x_t = scheduler.step(predicted, t, x_t, **extra).prev_sample
    return x_t


def to_uint8(x_0: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
    """-1 ... 1 to 0 ... 255, rounded, clipped at the ends."""
    return ((x_0.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """0 ... 255 to -1 ... 1 in float32."""
    return images.float() / 127.5 - 1


@exact_float32()
def sample(denoiser: Denoiser, sampling: Sampling, folder: Path, context: RunContext) -> SampleSet:
    """Draw `images_per_class` images of every class into `folder`/samples.npz, or read them where they are finished.

    With labels at random (`config.labels`) it is as many in all. Image i has the same seed and initial noise either way.
    Finished chunks are kept in `folder`/chunks until all are there, so an interrupted call continues and gives the same
    bits; a chunk whose file is damaged is drawn again. With `batch_size` "auto" the number that was found (`chunk_size`) stands
    as `chunk_images` in `folder`/sampling.json. Several processes draw the chunks in turn into the same folder; all return the
    whole set.
    """
    SAMPLERS[sampling.config.sampler].make(sampling.config.steps)  # refuses impossible steps before anything is written
    ranks, whole, parts = context.ranks, folder / "samples.npz", folder / "chunks"
    there = _finished_set(whole, context.progress) if ranks.is_main else None
    if ranks.broadcast(there is not None):
        if ranks.is_main:
            shutil.rmtree(parts, ignore_errors=True)  # there only if the command was killed in between
        return there or SampleSet.load(whole)
    size = ranks.from_main(lambda: _begun(denoiser, sampling, folder, context))
    sampling = replace(sampling, config=sampling.config.model_copy(update={"batch_size": size}))
    files = [parts / f"{chunk.start:08d}.npz" for chunk in sampling.chunks]

    def finished(index: int) -> SampleSet | None:
        numbers = sampling.chunks[index]
        return _finished(files[index], sampling.seeds[numbers.start:numbers.stop])

    def drawn(index: int) -> SampleSet:
        numbers = sampling.chunks[index]
        own = slice(numbers.start, numbers.stop)
        chunk = SampleSet(sampling.draw(denoiser, numbers, context.device), sampling.labels[own], sampling.seeds[own])
        chunk.save(files[index])
        return chunk

    # chunk i is for rank i mod their number; progress takes it that the others keep pace
    turns = {index: sum(map(len, sampling.chunks[index - ranks.rank:][:ranks.size]))
             for index in range(ranks.rank, len(files), ranks.size)}
    chunks = {index: finished(index) for index in turns}
    done = sum(images for index, images in turns.items() if chunks[index] is not None)
    config, total = sampling.config, len(sampling.labels)
    if done < total and guidance_of(config, sampling.num_classes, context.device).compiled:
        context.progress.say("the first images compile the network, which takes about a minute")
    with context.progress.stage("sample", total, "images", done) as stage:
        for index, images in turns.items():
            if chunks[index] is None:
                chunks[index] = drawn(index)
                stage.advance(images, f"{config.sampler} {config.steps}, omega {config.omega:g}")
    ranks.barrier()
    if ranks.is_main:
        whole_set = [chunks.get(index) or finished(index) or drawn(index) for index in range(len(files))]
        pixels = np.concatenate([chunk.images for chunk in whole_set])
        SampleSet(pixels, sampling.labels, sampling.seeds).save(whole)
        shutil.rmtree(parts)
    ranks.barrier()
    return SampleSet.load(whole)


def _begun(denoiser: Denoiser, sampling: Sampling, folder: Path, context: RunContext) -> int:
    """Images of a chunk, after saying in `folder` what is drawn there, and on what; chunks of something else are dropped."""
    config, progress = sampling.config, context.progress
    about, facts = folder / "sampling.json", {**config.model_dump(mode="json"), **_machine(context.device)}
    # a setting that was added since had its default then
    earlier = {**SampleConfig().model_dump(mode="json"), **_said(about, progress)} if about.is_file() else {}
    size = config.batch_size
    if size == AUTO:
        known = earlier.get("chunk_images") if {**earlier, **facts} == earlier else None
        size = facts["chunk_images"] = known or chunk_size(denoiser, sampling, context.device, context.ranks.size)
        if known is None:
            progress.say(f"{size:,} images are drawn at once, which is fastest here")
    if (folder / "chunks").is_dir() and earlier != facts:
        progress.say("the chunks drawn so far are of another machine or number of threads; drawing them again")
        shutil.rmtree(folder / "chunks")
    write_checked_json(about, facts)
    return size


def _said(about: Path, progress: Progress) -> dict[str, Any]:
    """What is known of the chunks drawn so far; nothing after setting aside a damaged file."""
    try:
        return read_checked_json(about, "it is set aside, and what was drawn so far is drawn again")
    except DamagedError as error:
        set_aside(about)
        progress.say(str(error))
        return {}


def _finished_set(whole: Path, progress: Progress) -> SampleSet | None:
    """The set that an earlier call finished; None where there is none, or a damaged one, which is set aside."""
    if not whole.is_file():
        return None
    try:
        return SampleSet.load(whole)
    except UserError as error:
        aside = set_aside(whole)
        progress.say(f"{error} It is set aside as {aside.name}; drawing the images again")
        return None


def _machine(device: torch.device) -> dict[str, str | int]:
    """What decides the bits of a chunk beside the configuration and the weights."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": kind, "threads": torch.get_num_threads(), "torch": torch.__version__}


def _finished(file: Path, seeds: Int64[np.ndarray, " B"]) -> SampleSet | None:
    """The chunk that an earlier call drew; None where there is none, it is damaged, or was cut at other places."""
    if not file.is_file():
        return None
    try:
        chunk = SampleSet.load(file)
    except UserError:
        return None
    return chunk if np.array_equal(chunk.seeds, seeds) else None
