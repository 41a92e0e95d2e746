"""The part of the contract of methods that goes through the training loop and the sampler."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ltgen_bench.core.progress import SILENT
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.guidance import Denoiser, Guidance
from ltgen_bench.experiments.check.losses import its_loss_is_finite_in_float32, the_terms_add_up_to_the_loss
from ltgen_bench.experiments.check.trial import CPU, SHAPE, Trial, Unmet, tiny_dataset, untouched_generators
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling.chunks import Sampling
from ltgen_bench.sampling.draw import sample
from ltgen_bench.sampling.pixel_values import from_uint8
from ltgen_bench.training.checkpoint import load_newest
from ltgen_bench.training.loop import Snapshots, train, untrained_method
from ltgen_bench.training.trainer import Trainer

BUDGET, STOP = 44, 24  # images: six steps of eight, the last one short; half of it
TAUGHT = 0.9  # of the error of the untrained network


def its_weights_depend_on_the_seed_alone(trial: Trial) -> None:
    """Building a network and extra modules leaves the global generators alone and does not depend on them."""
    dataset, config = tiny_dataset(), trial.config()
    states: list[dict[str, Tensor]] = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            with untouched_generators():
                method, _ = untrained_method(config, dataset, CPU)
                trainer = Trainer(config, dataset, method, CPU)
        extra = {f"extra.{name}": value for name, value in trainer.extra.state_dict().items()}
        states.append({**trainer.net.state_dict(), **extra})
    differ = [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]
    if differ:
        raise Unmet(f"the initial weights {', '.join(differ[:3])} differ from one time to the next; draw them from a generator "
                    "with a seed of its own.")


def its_samples_have_the_right_shape(trial: Trial) -> None:
    """A prediction for every label, in float32; a sampler gets images from it, with guidance where that is offered."""
    built = trial.build()
    config = trial.config().sample
    labels = torch.arange(built.method.problem.num_classes)
    times = built.method.problem.process.times(built.draws(len(labels)))
    for omega in (0.0, 1.5) if trial.kind.guidable() else (0.0,):
        denoiser = built.method.denoiser(built.net, Guidance(omega))
        with untouched_generators():
            predicted = denoiser(torch.zeros(len(labels), *SHAPE), times, labels)
        if predicted.shape != (len(labels), *SHAPE) or predicted.dtype != torch.float32:
            raise Unmet(f"at omega {omega} the denoiser gives {tuple(predicted.shape)} of {predicted.dtype} for {len(labels)} "
                        f"images of {SHAPE}; it must give their shape in float32.")
        with _folder(trial) as folder:
            images = sample(denoiser, Sampling(config, SHAPE, len(labels)), folder, RunContext()).images
        if images.shape != (config.images_per_class * len(labels), *SHAPE):
            raise Unmet(f"at omega {omega} the samples have the shape {images.shape}.")


def training_teaches_it_the_target(trial: Trial) -> None:
    """After a few steps in the loop the denoiser predicts the target for training images better than before."""
    dataset, config = tiny_dataset(), trial.config(budget_images=192, batch_size=16, learning_rate=4e-3)
    images, labels = from_uint8(torch.from_numpy(dataset.train.images)), torch.from_numpy(dataset.train.labels)
    draws = Draws(1, 0, len(labels), CPU)
    x_t, t, target = PROCESSES[trial.under]().noised(images, draws)

    def error(denoiser: Denoiser) -> float:
        with torch.inference_mode():
            return float((denoiser(x_t, t, labels) - target).square().mean())

    method, _ = untrained_method(config, dataset, CPU)
    untrained = error(method.denoiser(Trainer(config, dataset, method, CPU).net, Guidance(0.0)))
    with _folder(trial) as folder:
        trained = train(config, dataset, folder, RunContext())
    found = error(trained.method.denoiser(trained.net, Guidance(0.0)))
    if not found < TAUGHT * untrained:
        raise Unmet(f"the squared error of the prediction is {found:.3g} after 12 steps, and was {untrained:.3g} before: "
                    "let the loss teach the network the target, which `self.noised` gives.")


def it_goes_on_bit_for_bit(trial: Trial) -> None:
    """A training that was stopped and went on ends with the weights of one that ran through. With dropout."""
    config = trial.config(budget_images=BUDGET)
    config = config.model_copy(update={"network": config.network.model_copy(update={"dropout": 0.1})})
    with _folder(trial) as whole, _folder(trial) as pieces:
        for folder, until in ((whole, None), (pieces, STOP), (pieces, None)):
            train(config, tiny_dataset(), folder, RunContext(), Snapshots(until=until))
        (first, _), (second, _) = filter(None, (load_newest(folder, SILENT) for folder in (whole, pieces)))
    differ = [name for name, value in first.items() if name not in second or not torch.equal(value, second[name])]
    if differ:
        raise Unmet(f"after going on from a checkpoint {len(differ)} of {len(first)} tensors differ "
                    f"({', '.join(differ[:2])}); what the method keeps from step to step must be in `extra_modules()`, as "
                    "parameters or buffers.")


@contextmanager
def _folder(trial: Trial) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=trial.folder) as name:
        yield Path(name)


def it_works_under_the_other_processes(trial: Trial) -> None:
    """Loss, terms, samples and learning under every process, or `needs_process` says which one alone and why."""
    if trial.kind.needs_process is not None:
        process, reason = trial.kind.needs_process
        if process not in PROCESSES or not reason.strip():
            raise Unmet(f"needs_process is {trial.kind.needs_process}; it is a process ({', '.join(PROCESSES)}) and the reason.")
        return
    for process in PROCESSES:
        for requirement in UNDER_EVERY_PROCESS if process != trial.under else ():
            try:
                requirement(replace(trial, process=process))
            except Unmet as unmet:
                raise Unmet(f"under process {process}: {unmet} Where the definition is of {trial.under} alone, state "
                            f"needs_process = (\"{trial.under}\", REASON).") from unmet


UNDER_EVERY_PROCESS = (its_loss_is_finite_in_float32, the_terms_add_up_to_the_loss, its_samples_have_the_right_shape,
                       training_teaches_it_the_target)
