"""The one training loop. Methods give the loss; optimiser, precision, schedules, EMA and checkpoints are here."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn

from ltgen_bench.config import RunConfig, TrainConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.draws import Draws, derived_seed
from ltgen_bench.diffusion.network import ConditionalUNet, build_network
from ltgen_bench.diffusion.schedule import Schedule
from ltgen_bench.errors import MachineError, UserError
from ltgen_bench.files import append_text, write_text
from ltgen_bench.interrupt import Interruption
from ltgen_bench.methods import METHODS, method_settings
from ltgen_bench.methods.base import Loss, Method, Problem
from ltgen_bench.progress import SILENT, Progress, Stage
from ltgen_bench.training.batches import DataOrder, TrainingImages
from ltgen_bench.training.checkpoint import (
    load_checkpoint,
    load_newest,
    named_parameters,
    restore,
    save_checkpoint,
    state_tensors,
    with_prefix,
)
from ltgen_bench.training.ema import EMA

CHECKPOINT_SECONDS = 10.0  # at least; longer where writing one takes more than a twentieth of the time between two
LOG_POINTS = 400  # lines of the log over the whole budget
ADVICE = ("The last good checkpoint stays; try a lower train.learning_rate or train.clip_norm, or "
          'train.precision = "float32".')


@dataclass(frozen=True)
class Trained:
    """A finished training: the method with its EMA network, ready to be sampled."""

    method: Method
    net: ConditionalUNet
    images_seen: int
    seconds: float
    exact: bool  # whether the same command on the same machine gives these bits again


def build_method(config: RunConfig, dataset: LongTailDataset, device: torch.device) -> Method:
    """The method of `config` for this data set, its settings validated."""
    problem = Problem(dataset.class_counts, dataset.groups, Schedule(device), dataset.image_shape)
    return METHODS[config.method.name](method_settings(config.method), problem)


def resolve_precision(setting: str, device: torch.device) -> str:
    """`auto` is bf16 where the device multiplies matrices in it natively, and float32 elsewhere."""
    if setting != "auto":
        return setting
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    native = torch.cpu.get_capabilities()
    return "bf16" if native.get("avx512_bf16") or native.get("amx_bf16") else "float32"


class Trainer:
    """Everything that changes from step to step, and the step."""

    def __init__(self, config: RunConfig, dataset: LongTailDataset, method: Method, device: torch.device) -> None:
        self.train: TrainConfig = config.train
        self.seed = config.seed
        self.method = method
        self.device = device
        self.precision = resolve_precision(config.train.precision, device)
        layout = torch.channels_last if self.precision == "bf16" or device.type == "cuda" else torch.contiguous_format
        net = build_network(config.network, dataset.image_shape, dataset.num_classes,
                            seed=derived_seed(config.seed, "weights"), augment_dim=method.augment_dim)
        self.net = method.adapt_network(net).to(device).to(memory_format=layout)
        self.extra = method.extra_modules().to(device)
        start = method.initial_weights()
        if start is not None:
            self.net.load_state_dict(with_prefix(load_checkpoint(start)[0], "ema."))
        self.ema = EMA(self.net, config.train.ema_halflife_images, config.train.ema_rampup)
        self.parameters = [p for _, p in named_parameters(self.net, self.extra)]
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.train.learning_rate, fused=True)
        order = DataOrder(dataset.train.labels, config.seed, method.class_weights())
        self.images = TrainingImages(dataset.train, order, flip=dataset.flip, device=device)
        compiled = config.train.compile == "yes" or (config.train.compile == "auto" and device.type == "cuda")
        self.call: nn.Module = torch.compile(self.net) if compiled else self.net  # type: ignore[assignment]
        self.images_seen = 0

    def learning_rate(self, images_seen: int) -> float:
        """Linear from 0 over the warm-up, then constant; of the step that ends at `images_seen`."""
        warmup = self.train.warmup_images
        return self.train.learning_rate * (min(1.0, images_seen / warmup) if warmup else 1.0)

    def step(self) -> Loss:
        """One optimiser step; the loss comes back detached. It reads nothing back from the device."""
        images = min(self.train.batch_size, self.train.budget_images - self.images_seen)
        draws = Draws(self.seed, self.images_seen, images, self.device)
        batch = self.method.transform_batch(self.images.batch(draws), draws)
        # dropout takes no generator; the loop as a whole keeps the global one for its caller
        torch.manual_seed(derived_seed(self.seed, self.images_seen, "dropout"))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            loss = self.method.loss(self.call, batch, draws)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, self.train.clip_norm)
        self.images_seen += images
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.images_seen)
        self.optimizer.step()
        self.ema.update(self.net, self.images_seen, images)
        return Loss(loss.total.detach(), loss.terms)  # the graph is not kept until the loss is read

    def save(self, folder: Path, info: dict[str, Any]) -> None:
        """Write a checkpoint at the present position."""
        save_checkpoint(folder, state_tensors(self.net, self.ema, self.extra, self.optimizer),
                        {**info, "images_seen": self.images_seen})


def train(config: RunConfig, dataset: LongTailDataset, folder: Path, *, device: torch.device | str = "cpu",
          progress: Progress = SILENT, interruption: Interruption | None = None) -> Trained:
    """Train the method of `config` on `dataset` up to its budget, or go on from the checkpoint in `folder`.

    The result depends on the configuration alone, bit for bit on one machine with one number of threads. Raises
    `MachineError` when the loss is no longer finite (the last good checkpoint stays) or the disk is full, `Interrupted`
    when `interruption` was asked to stop (the position is saved first).
    """
    device = torch.device(device)
    interruption = interruption or Interruption()
    method = build_method(config, dataset, device)
    method.prepare(dataset)
    trainer = Trainer(config, dataset, method, device)
    run = f"{config.train_digest(dataset.fingerprint, method.code_digest)}-s{config.seed}"
    session = Session(trainer, folder, progress, run)
    session.go_on()
    budget = config.train.budget_images
    forked = [device] if device.type == "cuda" else []
    if trainer.images_seen < budget:
        with (torch.random.fork_rng(devices=forked), interruption.deferred(),
              progress.stage("train", budget, "images", trainer.images_seen) as stage):
            while trainer.images_seen < budget:
                session.record(trainer.step(), stage)
                if interruption.requested:
                    session.save()
                    interruption.stop(f"stopped at {trainer.images_seen:,} of {budget:,} images; the position is saved")
                session.save_if_due()
            session.save()
    net = trainer.ema.net.to(memory_format=torch.channels_last)  # forward passes alone: a quarter faster on a CPU too
    return Trained(method, net, trainer.images_seen, session.seconds, session.info["exact"])


class Session:
    """The bookkeeping around the steps: what is read from the device now and then, logged, and saved."""

    def __init__(self, trainer: Trainer, folder: Path, progress: Progress, run: str) -> None:
        self.trainer, self.folder, self.progress = trainer, folder, progress
        self.sync_every = 1 if trainer.device.type == "cpu" else 50
        self.log_every = max(trainer.train.batch_size, trainer.train.budget_images // LOG_POINTS)
        self.pending: list[Loss] = []
        self.window: list[dict[str, float]] = []
        self.seconds, self.read_until, self.shown, self.logged, self.next_log = 0.0, 0, 0, 0, self.log_every
        self.resumed = self.saved = self.clock = time.monotonic()
        self.interval = CHECKPOINT_SECONDS
        self.info = {"run": run, **self._machine()}

    def _machine(self) -> dict[str, Any]:
        """What decides the bits beside the configuration."""
        device = self.trainer.device
        kind = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        return {"device": kind, "threads": torch.get_num_threads(), "torch": torch.__version__,
                "precision": self.trainer.precision, "exact": device.type == "cpu"}

    def go_on(self) -> None:
        """Take up the newest checkpoint, say where that is, and cut the log back to it."""
        found = load_newest(self.folder, self.progress)
        if found is None:
            (self.folder / "log.jsonl").unlink(missing_ok=True)
            return
        tensors, info = found
        if info.get("run", self.info["run"]) != self.info["run"]:
            raise UserError(f"{self.folder} holds the training {info['run']}, and this one is {self.info['run']}: data, network, "
                            "method, training or seed differ; choose another folder.")
        changed = [f"{key} {self.info[key]} instead of {info[key]}"
                   for key in ("device", "threads", "torch", "precision") if info[key] != self.info[key]]
        budget, seen = self.trainer.train.budget_images, info["images_seen"]
        if seen < budget:
            self.progress.say(f"continuing at {seen:,} of {budget:,} images")
            if changed:
                self.progress.say(f"the machine is not what it was ({'; '.join(changed)}): the result is not bit for "
                                  "bit that of an undisturbed run")
            self.info["exact"] = info["exact"] and not changed
        else:
            self.info["exact"] = info["exact"]
        restore(tensors, self.trainer.net, self.trainer.ema, self.trainer.extra, self.trainer.optimizer)
        self.trainer.images_seen = self.read_until = self.shown = self.logged = seen
        self.seconds = info["seconds"]
        self.next_log = (seen // self.log_every + 1) * self.log_every
        self._cut_log(seen)

    def _cut_log(self, images_seen: int) -> None:
        log = self.folder / "log.jsonl"
        if log.is_file():
            # a line half-written when the machine went down ends the file
            lines = [line for line in log.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["images"] <= images_seen]
            write_text(log, "".join(line + "\n" for line in kept))

    def record(self, loss: Loss, stage: Stage) -> None:
        """Note a step; every `sync_every` steps read the losses, stop if one is not finite, and show and log them."""
        self.pending.append(loss)
        if len(self.pending) >= self.sync_every or self.trainer.images_seen >= self.trainer.train.budget_images:
            self.read_losses()
            note = f"loss {self.window[-1]['loss']:.4f}" if self.window else ""
            stage.advance(self.trainer.images_seen - self.shown, note)
            self.shown = self.trainer.images_seen
            self._log_if_due()

    def read_losses(self) -> None:
        """Bring the pending losses to the CPU. Raises `MachineError` at the first that is not finite."""
        batch, first = self.trainer.train.batch_size, self.read_until
        for number, loss in enumerate(self.pending):
            values = {"loss": float(loss.total), **{name: float(term) for name, term in loss.terms.items()}}
            if not all(map(_finite, values.values())):
                step = first // batch + number
                bad = ", ".join(f"{name} {value}" for name, value in values.items() if not _finite(value))
                raise MachineError(f"the loss is not finite at step {step} ({first + number * batch:,} images seen): "
                                   f"{bad}. {ADVICE}")
            self.window.append(values)
        self.pending.clear()
        self.read_until = self.trainer.images_seen

    def _log_if_due(self) -> None:
        seen = self.trainer.images_seen
        if not self.window or (seen < self.next_log and seen < self.trainer.train.budget_images):
            return
        now = time.monotonic()
        names = dict.fromkeys(name for values in self.window for name in values)
        # a term that some steps lack (no penalty where the label was dropped) is the mean of the steps that have it
        means = {name: mean(values[name] for values in self.window if name in values) for name in names}
        rate = (seen - self.logged) / max(now - self.clock, 1e-9)
        line = {"images": seen, **means, "learning_rate": self.trainer.learning_rate(seen),
                "images_per_second": round(rate, 2), "seconds": round(self.elapsed(), 2)}
        append_text(self.folder / "log.jsonl", json.dumps(line) + "\n")
        self.window.clear()
        self.clock, self.logged, self.next_log = now, seen, (seen // self.log_every + 1) * self.log_every

    def elapsed(self) -> float:
        """Seconds of training so far, earlier sessions included."""
        return self.seconds + time.monotonic() - self.resumed

    def save_if_due(self) -> None:
        """Write a checkpoint now and then, less often where writing is slow."""
        if time.monotonic() - self.saved >= self.interval:
            self.save()

    def save(self) -> None:
        """Write a checkpoint, after making sure that every loss up to here and the weights are finite."""
        self.read_losses()
        if not all(torch.stack([p.isfinite().all() for p in self.trainer.parameters]).tolist()):
            raise MachineError(f"the weights are not finite after {self.trainer.images_seen:,} images seen, though the "
                               f"losses were: a gradient was not. {ADVICE}")
        self.seconds, self.resumed = self.elapsed(), time.monotonic()
        begin = time.monotonic()
        self.trainer.save(self.folder, {**self.info, "seconds": self.seconds})
        self.saved = time.monotonic()
        self.interval = max(CHECKPOINT_SECONDS, 20 * (self.saved - begin))


def _finite(value: float) -> bool:
    return value - value == 0
