"""train: the training of any method. Methods give the loss; optimiser, precision, schedules, EMA and checkpoints are shared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.methods import METHODS, method_settings
from ltgen_bench.methods.base import Method, Problem
from ltgen_bench.methods.blame import blamed
from ltgen_bench.runtime.compiling import forget_graphs
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.training.auxiliary import CheckpointedTrainer, UntrainedTrainer
from ltgen_bench.training.session import Session
from ltgen_bench.training.trainer import Trainer


@dataclass(frozen=True)
class Trained:
    """A trained method with its EMA network, ready for sampling."""

    method: Method
    net: ConditionalUNet
    images_seen: int
    seconds: float  # of all steps, those of auxiliary modules included
    exact: bool  # whether the same command on the same machine gives these bits again


def build_method(config: RunConfig, dataset: LongTailDataset, device: torch.device) -> Method:
    """Build the method of `config` for this data set, with validated settings."""
    problem = Problem(dataset.class_counts, dataset.groups, PROCESSES[config.process.name](device), dataset.image_shape)
    return METHODS[config.method.name](method_settings(config.method), problem)


@dataclass(frozen=True)
class Snapshots:
    """Averaged weights to keep on the way of a training: `files` maps images seen to the file for the weights at that position.

    `until`: the position at which the training ends (the budget, where it is None); `auxiliary`: the folder with checkpoints of
    auxiliary modules (that of the training, where it is None).
    """

    files: Mapping[int, Path] = field(default_factory=dict)
    until: int | None = None
    auxiliary: Path | None = None


NO_SNAPSHOTS = Snapshots()


@exact_float32()
def prepare_method(config: RunConfig, dataset: LongTailDataset, folder: Path,
                   context: RunContext) -> tuple[Method, CheckpointedTrainer]:
    """Build the method of `config` and train or read its auxiliary modules, whose checkpoints are in `folder`; returns both."""
    method = build_method(config, dataset, context.device)
    run = f"{config.train_digest(dataset.fingerprint, method.code_digest)}-s{config.seed}"
    auxiliary = CheckpointedTrainer(config, dataset, folder, run, context)
    method.prepare(auxiliary)
    return method, auxiliary


@blamed
def untrained_method(config: RunConfig, dataset: LongTailDataset, device: torch.device,
                     images: int | None = None) -> tuple[Method, UntrainedTrainer]:
    """Build the method of `config` with untrained auxiliary modules; returns it with the list of the trainings it asked for."""
    method = build_method(config, dataset, device)
    untrained = UntrainedTrainer(config, dataset, device, images)
    method.prepare(untrained)
    return method, untrained


@exact_float32()
@blamed
def train(config: RunConfig, dataset: LongTailDataset, folder: Path, context: RunContext,
          snapshots: Snapshots = NO_SNAPSHOTS) -> Trained:
    """Train the method of `config` on `dataset` up to its budget, or continue from the checkpoint in `folder`.

    The result depends on the configuration alone, bit for bit on one machine with one number of threads. Every process of the
    run calls this with the same arguments and a device of its own; all return the same. Raises `MachineError` when the loss is
    not finite (the last good checkpoint stays) or the disk is full, and `Interrupted` when `context.interruption` was asked to
    stop (the position is saved first).
    """
    method, auxiliary = prepare_method(config, dataset, snapshots.auxiliary or folder, context)
    if config.train.micro_batch is not None and method.whole_batch():
        context.progress.say(f"{method.name}'s loss is of the batch as a whole, so micro-batches of {config.train.micro_batch} "
                             "change it")
    trainer = Trainer(config, dataset, method, context.device, context.ranks)
    session = Session(trainer, folder, context, auxiliary.run, before=auxiliary.seconds)
    session.go_on()
    end = config.train.budget_images if snapshots.until is None else snapshots.until
    if trainer.images_seen < end and trainer.compiled is not trainer.net:
        context.progress.say("the first step compiles the network, which takes about a minute")
    session.complete(end, snapshots.files)
    if trainer.graphs:
        forget_graphs()
    net = trainer.ema.net.to(memory_format=torch.channels_last)  # forward passes alone: a quarter faster on a CPU too
    return Trained(method, net, trainer.images_seen, auxiliary.seconds + session.seconds,
                   auxiliary.exact and session.info["exact"])
