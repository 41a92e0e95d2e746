"""Images from a stored network, drawn as those of a run are: the same labels, seeds, chunks and bits."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltgen_bench.config.schema import SampleConfig, digest
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import only_writer, read_checked_json, write_atomically
from ltgen_bench.core.words import size_words
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import SampleSet
from ltgen_bench.diffusion.guidance import guided
from ltgen_bench.export.diffusers_folder import StoredNetwork
from ltgen_bench.report.sheets import draw_sample_sheet
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling.chunks import Sampling
from ltgen_bench.sampling.draw import sample
from ltgen_bench.sampling.samplers import SAMPLERS, check_sampler
from ltgen_bench.sampling.solve import guidance_of

SUFFIX = ".npz"


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn of a network: a checked combination of network, classes and sampling. `class_counts` order a sheet."""

    network: StoredNetwork
    config: SampleConfig
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides the images except the machine, as stored in the file of samples."""
        size = {} if self.network.size is not None else {"shape": list(self.image_shape)}  # which the data set then decides
        return {"network": self.network.digest, "classes": len(self.class_names), "sample": _stated(self.config), **size}

    @property
    def digest(self) -> str:
        return digest(self.facts)


def _stated(config: SampleConfig) -> dict[str, Any]:
    """Return the values that differ from the defaults, so that a new setting does not change earlier digests."""
    return config.model_dump(mode="json", exclude_defaults=True)


def make_drawing(network: StoredNetwork, config: SampleConfig, dataset: LongTailDataset | None) -> Drawing:
    """`network` with the classes and the image size of `dataset`, or with its own where it says them.

    Raises `UserError` where they do not go together, for guidance with a network that has no null label, for a sampler of
    another process, and for a number of steps that the sampler cannot take.
    """
    names, counts = _classes(network, dataset)
    check_sampler(config.sampler, network.process)
    SAMPLERS[config.sampler].make(config.steps)
    rows, folder = network.net.rows, network.folder
    if rows not in (len(names), len(names) + 1):
        raise UserError(f"{folder} knows {rows} labels, and there are {len(names)} classes: allowed are {len(names)}, or "
                        f"{len(names) + 1} with a last one for no label; name its data set with --dataset.")
    if config.omega > 0 and (rows == len(names) or (network.facts is not None and not network.facts.null_label)):
        raise UserError(f"sample.omega: {config.omega:g} needs a prediction without a label, and {folder} was trained without "
                        "one; draw with --omega 0.")
    return Drawing(network, config, _shape(network, dataset), names, counts)


def _classes(network: StoredNetwork, dataset: LongTailDataset | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """(names, training images) of the classes by label."""
    facts = network.facts
    if dataset is None:
        if facts is None:
            raise UserError(f"{network.folder} does not say which classes it knows; name its data set, as in "
                            "--dataset cifar10-lt")
        return facts.class_names, facts.class_counts
    if facts is not None and facts.class_names != dataset.class_names:
        raise UserError(f"{network.folder} was trained on other classes ({', '.join(facts.class_names[:3])}, ...) than those of "
                        f"{dataset.name}; leave out --dataset.")
    return dataset.class_names, tuple(dataset.class_counts)


def _shape(network: StoredNetwork, dataset: LongTailDataset | None) -> tuple[int, int, int]:
    if dataset is None:
        if network.size is None:
            raise UserError(f"{network.folder} does not say how large its images are; name its data set with --dataset.")
        return network.channels, *network.size
    size = dataset.image_shape[1:] if network.size is None else network.size
    if (network.channels, *size) != dataset.image_shape:
        own, theirs = size_words((network.channels, *size)), size_words(dataset.image_shape)
        raise UserError(f"{network.folder} makes images of {own}, and those of {dataset.name} are {theirs}.")
    return dataset.image_shape


def sheet_of(out: Path) -> Path:
    """Return the path of the sheet of the samples `out`."""
    return out.with_name(f"{out.stem}-sheet.png")


def is_drawn(drawing: Drawing, out: Path) -> bool:
    """Whether `out` holds this very drawing. A file with other content is a `UserError`."""
    if out.suffix != SUFFIX:
        raise UserError(f"--out {out}: samples are written as {SUFFIX}; name a file that ends so.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it.")
    if not out.exists():
        return False
    try:
        with out.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
        about["sample"] = _stated(SampleConfig.model_validate(about["sample"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"--out {out} is there, and is no file of samples that this command wrote; name another.") from None
    if about != drawing.facts:
        raise UserError(f"--out {out} is there, with samples of another network or other settings; name another.")
    return True


def draw(drawing: Drawing, out: Path, context: RunContext) -> None:
    """Draw into the npz `out` (`images`, `labels`, `seeds`, `about`, `sampling`), with a sheet of them beside it.

    Chunks are kept in a folder beside `out` until all are there, so that an interrupted call goes on. Raises `Interrupted`
    on Ctrl-C, `MachineError` where the machine fails. `sampling` says on what machine they were drawn, and with the batch size
    "auto" how many at once (`chunk_images`).
    """
    work = out.with_name(f"{out.stem}-{drawing.digest}.unfinished")
    net = drawing.network.net.to(context.device).to(memory_format=torch.channels_last)  # as the network of a run is sampled
    denoiser = guided(net, guidance_of(drawing.config, len(drawing.class_names), context.device), drawing.network.net.rows - 1)
    with only_writer(work), context.interruption:
        samples = sample(denoiser, Sampling(drawing.config, drawing.image_shape, len(drawing.class_names)), work, context)
        draw_sample_sheet(samples, drawing.class_names, drawing.class_counts, sheet_of(out), context.progress.say)
        _save(samples, drawing.facts, json.dumps(read_checked_json(work / "sampling.json"), indent=1), out)
    shutil.rmtree(work)


def _save(samples: SampleSet, facts: dict[str, Any], sampling: str, out: Path) -> None:
    images, about, machine = samples.images.transpose(0, 2, 3, 1), np.array(json.dumps(facts)), np.array(sampling)
    write_atomically(out, lambda part: np.savez(part, images=images, labels=samples.labels, seeds=samples.seeds, about=about,
                                           sampling=machine))
