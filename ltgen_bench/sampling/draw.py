"""sample: a whole set of images, drawn in fixed chunks into a folder; an interrupted call continues at the next chunk."""

import shutil
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.file_names import SAMPLES
from ltgen_bench.core.files import read_checked_json, set_aside, write_checked_json
from ltgen_bench.core.progress import Progress
from ltgen_bench.data.images import SampleSet
from ltgen_bench.diffusion.guidance import Denoiser
from ltgen_bench.runtime.batch_size import AUTO
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.memory import machine_memory
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.chunks import Sampling, chunk_size, finished_chunk
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.sampling.solve import guidance_of


def check_sampling(config: SampleConfig, image_shape: tuple[int, int, int], num_classes: int) -> None:
    """Raise `UserError` for a number of steps that the sampler cannot take, and for more images than the memory holds."""
    SAMPLERS[config.sampler].make(config.steps)
    needed, there = config.images_per_class * num_classes * prod(image_shape), machine_memory()
    if needed > there:
        raise UserError(f"sample.images_per_class: {config.images_per_class:,} images of each class take {needed / 1e9:,.0f} GB, "
                        f"and this machine has {there / 1e9:,.0f} GB; take fewer.")


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
    ranks, whole, parts = context.ranks, folder / SAMPLES, folder / "chunks"
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
        return finished_chunk(files[index], sampling.seeds[numbers.start:numbers.stop])

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
    """Write settings and machine to `folder`/sampling.json, delete chunks of other ones; returns the images per chunk."""
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
    """Return the description of the chunks drawn so far; empty after setting aside a damaged file."""
    try:
        return read_checked_json(about, "it is set aside, and what was drawn so far is drawn again")
    except DamagedError as error:
        set_aside(about)
        progress.say(str(error))
        return {}


def _finished_set(whole: Path, progress: Progress) -> SampleSet | None:
    """Read the set that an earlier call finished; None without one. A damaged file is set aside."""
    if not whole.is_file():
        return None
    try:
        return SampleSet.load(whole)
    except UserError as error:
        aside = set_aside(whole)
        progress.say(f"{error} It is set aside as {aside.name}; drawing the images again")
        return None


def _machine(device: torch.device) -> dict[str, str | int]:
    """Return the properties of the machine that decide the bits of a chunk."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": kind, "threads": torch.get_num_threads(), "torch": torch.__version__}
