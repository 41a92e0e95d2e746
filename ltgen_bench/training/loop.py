"""The one training loop. Methods give the loss; optimiser, precision, schedules, EMA and checkpoints are here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.methods import METHODS, method_settings
from ltgen_bench.methods.base import Method, Problem
from ltgen_bench.methods.blame import blamed
from ltgen_bench.runtime.compiling import forget_graphs
from ltgen_bench.runtime.distributed import SINGLE_PROCESS, Ranks
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.training.auxiliary import CheckpointedTrainer, UntrainedTrainer
from ltgen_bench.training.session import NOTHING_KEPT, Session
from ltgen_bench.training.trainer import Trainer


@dataclass(frozen=True)
class Trained:
    """A finished training: the method with its EMA network, ready to be sampled."""

    method: Method
    net: ConditionalUNet
    images_seen: int
    seconds: float  # of all steps, those that prepared the method included
    exact: bool  # whether the same command on the same machine gives these bits again


def build_method(config: RunConfig, dataset: LongTailDataset, device: torch.device) -> Method:
    """The method of `config` for this data set, its settings validated."""
    problem = Problem(dataset.class_counts, dataset.groups, PROCESSES[config.process.name](device), dataset.image_shape)
    return METHODS[config.method.name](method_settings(config.method), problem)


@exact_float32()
def prepare_method(config: RunConfig, dataset: LongTailDataset, folder: Path, device: torch.device, progress: Progress,
             interruption: Interruption, ranks: Ranks = SINGLE_PROCESS) -> tuple[Method, CheckpointedTrainer]:
    """Build the method of `config` and train or read its auxiliary modules, whose checkpoints are in `folder`; returns both."""
    method = build_method(config, dataset, device)
    run = f"{config.train_digest(dataset.fingerprint, method.code_digest)}-s{config.seed}"
    auxiliary = CheckpointedTrainer(config, dataset, device, folder, run, progress, interruption, ranks)
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
def train(config: RunConfig, dataset: LongTailDataset, folder: Path, *, device: torch.device | str = "cpu",
          progress: Progress = SILENT, interruption: Interruption | None = None, kept: Mapping[int, Path] = NOTHING_KEPT,
          until: int | None = None, prepared_in: Path | None = None, ranks: Ranks = SINGLE_PROCESS) -> Trained:
    """Train the method of `config` on `dataset` up to its budget, or go on from the checkpoint in `folder`.

    The result depends on the configuration alone, bit for bit on one machine with one number of threads. Raises
    `MachineError` when the loss is no longer finite (the last good checkpoint stays) or the disk is full, `Interrupted`
    when `interruption` was asked to stop (the position is saved first). Where training comes by a position (images seen) of
    `kept`, what sampling needs is written to its file. It ends at the position `until` of the budget where that is given.
    What the method trains beforehand is kept in `folder`, or in `prepared_in`.

    Each of several `ranks` calls this with the same arguments and a device of its own, and all come back with the same.
    """
    device = torch.device(device)
    interruption = interruption or Interruption()
    method, auxiliary = prepare_method(config, dataset, prepared_in or folder, device, progress, interruption, ranks)
    if config.train.micro_batch is not None and method.whole_batch():
        progress.say(f"{method.name}'s loss is of the batch as a whole, so micro-batches of {config.train.micro_batch} change it")
    trainer = Trainer(config, dataset, method, device, ranks)
    session = Session(trainer, folder, progress, auxiliary.run, before=auxiliary.seconds)
    session.go_on()
    end = config.train.budget_images if until is None else until
    if trainer.images_seen < end and trainer.compiled is not trainer.net:
        progress.say("the first step compiles the network, which takes about a minute")
    session.complete(interruption, end, kept)
    if trainer.graphs:
        forget_graphs()
    net = trainer.ema.net.to(memory_format=torch.channels_last)  # forward passes alone: a quarter faster on a CPU too
    return Trained(method, net, trainer.images_seen, auxiliary.seconds + session.seconds,
                   auxiliary.exact and session.info["exact"])
