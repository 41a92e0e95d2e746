"""Session: a training from its newest checkpoint on, with logging, checkpoints, snapshots and interruption."""

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ltgen_bench.config.schema import TrainConfig
from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.file_names import LOG
from ltgen_bench.core.files import append_text, write_text
from ltgen_bench.core.interruption import PATIENCE
from ltgen_bench.core.progress import Stage
from ltgen_bench.methods.base import Loss
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import Ranks
from ltgen_bench.training.checkpoint import load_newest, restore, state_fault, state_tensors, write_tensors
from ltgen_bench.training.trainer import Stepper

CHECKPOINT_SECONDS = 10.0  # at least; longer where writing one takes more than a twentieth of the time between two
TIMES_SLOWEST = 4  # as long as the slowest step so far may another one take before it counts as endless
LOG_POINTS = 400  # lines of the log over the whole budget
ADVICE = ("The last good checkpoint stays; try a lower train.learning_rate or train.clip_norm, or "
          'train.precision = "float32".')


class Session:
    """One session of a training: restores the newest checkpoint, makes steps, and writes the log, checkpoints and snapshots.

    Losses are read from the device every `sync_every` steps, so that the host rarely waits for it.
    """

    def __init__(self, trainer: Stepper[Any], folder: Path, context: RunContext, run: str, stage: str = "train",
                 before: float = 0.0) -> None:
        self.trainer, self.folder, self.stage, self.before = trainer, folder, stage, before
        self.progress, self.interruption, self.ranks = context.progress, context.interruption, context.ranks
        self.of = "" if stage == "train" else f" of the {stage}"  # whose images a message speaks of
        self.sync_every = 1 if trainer.device.type == "cpu" else 50
        self.log_every = max(trainer.train.batch_size, trainer.train.budget_images // LOG_POINTS)
        self.pending: list[Loss] = []
        self.window: list[dict[str, float]] = []
        self.read_until = self.shown = self.logged = trainer.images_seen
        self.seconds, self.next_log = 0.0, (trainer.images_seen // self.log_every + 1) * self.log_every
        self.resumed = self.saved = self.clock = time.monotonic()
        self.interval = CHECKPOINT_SECONDS
        self.slowest = 0.0  # seconds of a step
        self.info = {"run": run, **self._machine()}

    def _machine(self) -> dict[str, Any]:
        """Return the properties of the machine that decide the bits."""
        device = self.trainer.device
        kind = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        return {"device": kind, "threads": torch.get_num_threads(), "torch": torch.__version__,
                "precision": self.trainer.precision, "processes": self.ranks.size, "exact": device.type == "cpu"}

    def complete(self, until: int, snapshots: Mapping[int, Path] = MappingProxyType({})) -> None:
        """Train up to `until` images seen, and write the `snapshots` on the way. Raises as `train` does."""
        trainer, budget, interruption = self.trainer, self.trainer.train.budget_images, self.interruption
        if trainer.images_seen >= until:
            return
        refuse_too_many(self.ranks, trainer.train, trainer.images_seen)
        forked = [trainer.device] if trainer.device.type == "cuda" else []
        with (torch.random.fork_rng(devices=forked), interruption.deferred(),
              self.progress.stage(self.stage, until, "images", trainer.images_seen) as stage):
            while trainer.images_seen < until:
                begun = time.monotonic()
                self.record(trainer.step(), stage)
                self.write_snapshot(snapshots)
                self.slowest = max(self.slowest, time.monotonic() - begun, self.interval / 20)  # or to write a checkpoint
                steps = self.sync_every if self.ranks.size > 1 else 1  # several processes hear of a signal where losses are read
                interruption.patience = max(PATIENCE, TIMES_SLOWEST * steps * self.slowest)
                signal, due = self._agreed(interruption.requested)
                if signal is not None:
                    interruption.heard()
                    interruption.note(signal)
                    self.save()
                    interruption.stop(f"stopped at {trainer.images_seen:,} of {budget:,} images{self.of}; the position is saved")
                if due:
                    self.save()
            self.save()

    def _agreed(self, requested: int | None) -> tuple[int | None, bool]:
        """Return (signal to stop at, whether a checkpoint is due), the same on all ranks; reduced only where losses are read."""
        if self.ranks.size == 1:
            return requested, self.due()
        if self.pending:
            return None, False
        signal, save = self.ranks.all_reduce_max([requested or 0, int(self.ranks.is_main and self.due())])
        return signal or None, bool(save)

    def due(self) -> bool:
        """Return whether to write a checkpoint now: regularly, less often where writing is slow."""
        return time.monotonic() - self.saved >= self.interval

    def go_on(self) -> None:
        """Restore the newest checkpoint, and remove later lines from the log.

        Raises `UserError` for a checkpoint of another training, and where processes see different checkpoints.
        """
        look = partial(load_newest, self.folder, self.progress, self._fault, aside=self.ranks.is_main)
        found = look() if self.ranks.is_main else None
        self.ranks.all_gather("looked")  # the others read after the main process has set damaged files aside
        found = found if self.ranks.is_main else look()
        seen = 0 if found is None else int(found[1]["images_seen"])
        positions = self.ranks.all_gather(seen)
        if len(set(positions)) > 1:
            raise UserError(f"{self.folder} does not look the same to all processes (at {', '.join(map(str, positions))} "
                            "images); let --runs be on a disk that all machines share, or try once more.")
        if seen < self.trainer.train.budget_images:
            refuse_unlike(self.ranks, self.trainer.precision)
        if found is None:
            if self.ranks.is_main:
                (self.folder / LOG).unlink(missing_ok=True)
            return
        tensors, info = found
        changed = [f"{key} {self.info[key]} instead of {info[key]}"
                   for key in ("device", "threads", "torch", "precision", "processes") if info.get(key, 1) != self.info[key]]
        budget = self.trainer.train.budget_images
        if seen < budget:
            self.progress.say(f"continuing at {seen:,} of {budget:,} images{self.of}")
            if changed:
                self.progress.say(f"the machine is not what it was ({'; '.join(changed)}): the result is not bit for "
                                  "bit that of an undisturbed run")
            self.info["exact"] = info["exact"] and not changed
        else:
            self.info["exact"] = info["exact"]
        restore(tensors, self.trainer.modules, self.trainer.optimizer)
        self.trainer.images_seen = self.read_until = self.shown = self.logged = seen
        self.seconds = info["seconds"]
        self.next_log = (seen // self.log_every + 1) * self.log_every
        self._cut_log(seen)

    def _fault(self, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> str:
        """Return what a checkpoint lacks to continue from it. Raises `UserError` for one of another training."""
        if info.get("run", self.info["run"]) != self.info["run"]:
            raise UserError(f"{self.folder} holds the training {info['run']}, and this one is {self.info['run']}: data, network, "
                            "method, training or seed differ; choose another folder.")
        lacking = [key for key in ("seconds", "exact") if key not in info]
        if lacking:
            return f"it does not say {' and '.join(lacking)}"
        return state_fault(tensors, self.trainer.modules)

    def _cut_log(self, images_seen: int) -> None:
        log = self.folder / LOG
        if not self.ranks.is_main or not log.is_file():
            return
        lines = log.read_bytes().decode("utf-8", errors="replace").splitlines()
        positions = list(map(_logged, lines))
        broken = sum(position is None for position in positions[:-1])  # the last was half-written when the machine went down
        if broken:
            self.progress.say(f"{log} is damaged in {broken:,} of {len(lines):,} lines, which are left out of it from now on")
        kept = [line for line, position in zip(lines, positions, strict=True) if position is not None and position <= images_seen]
        write_text(log, "".join(line + "\n" for line in kept))

    def record(self, loss: Loss, stage: Stage) -> None:
        """Collect the loss of a step; every `sync_every` steps read the losses, check that they are finite, show and log them."""
        self.pending.append(loss)
        if len(self.pending) >= self.sync_every or self.trainer.images_seen >= self.trainer.train.budget_images:
            self.read_losses()
            note = f"loss {self.window[-1]['loss']:.4f}" if self.window else ""
            stage.advance(self.trainer.images_seen - self.shown, note)
            self.shown = self.trainer.images_seen
            self._log_if_due()

    def read_losses(self) -> None:
        """Copy the pending losses to the CPU. Raises `MachineError` for the first that is not finite."""
        batch, first = self.trainer.train.batch_size, self.read_until
        for number, values in enumerate(self._values()):
            if not all(map(_finite, values.values())):
                step = first // batch + number
                bad = ", ".join(f"{name} {value}" for name, value in values.items() if not _finite(value))
                raise MachineError(f"the loss is not finite at step {step} ({first + number * batch:,} images seen): "
                                   f"{bad}. {ADVICE}")
            self.window.append(values)
        self.pending.clear()
        self.read_until = self.trainer.images_seen

    def _values(self) -> list[dict[str, float]]:
        """Return the pending losses and their terms by name, summed over ranks; waits for the device and for all ranks."""
        named = [{"loss": loss.total, **loss.terms} for loss in self.pending]
        if not named:
            return []
        flat = self.ranks.all_reduce_sum(torch.stack([term.float() for terms in named for term in terms.values()]))
        numbers = iter(flat.tolist())
        return [{name: next(numbers) for name in terms} for terms in named]

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
        if self.ranks.is_main:
            append_text(self.folder / LOG, json.dumps(line) + "\n")
        self.window.clear()
        self.clock, self.logged, self.next_log = now, seen, (seen // self.log_every + 1) * self.log_every

    def elapsed(self) -> float:
        """Return the seconds of training so far, earlier sessions included."""
        return self.seconds + time.monotonic() - self.resumed

    def write_snapshot(self, snapshots: Mapping[int, Path]) -> None:
        """Write the weights that sampling needs to the file that `snapshots` has for this position, unless it is there."""
        path, trainer = snapshots.get(self.trainer.images_seen), self.trainer
        if self.ranks.is_main and path is not None and not path.is_file():
            write_tensors(path, state_tensors(trainer.sampled),
                          {**self.info, "images_seen": trainer.images_seen, "seconds": self.before + self.elapsed()})

    def save(self) -> None:
        """Write a checkpoint. Raises `MachineError` where a loss or a weight is not finite."""
        self.read_losses()
        if not all(torch.stack([p.isfinite().all() for p in self.trainer.parameters]).tolist()):
            raise MachineError(f"the weights are not finite after {self.trainer.images_seen:,} images seen, though the "
                               f"losses were: a gradient was not. {ADVICE}")
        self.seconds, self.resumed = self.elapsed(), time.monotonic()
        begin = time.monotonic()
        if self.ranks.is_main:
            self.trainer.save(self.folder, {**self.info, "seconds": self.seconds})
        self.ranks.barrier()  # when another process ends, torchrun ends the main process, which must not be writing then
        self.saved = time.monotonic()
        self.interval = max(CHECKPOINT_SECONDS, 20 * (self.saved - begin))


def refuse_too_many(ranks: Ranks, train: TrainConfig, images_seen: int = 0) -> None:
    """Raise `UserError` where a later step has fewer images than there are processes."""
    left = (train.budget_images - images_seen) % train.batch_size
    for images, which in ((train.batch_size, "train.batch_size"), (left, "what train.budget_images leaves to the last step")):
        if 0 < images < ranks.size:
            raise UserError(f"{which} is {images}, and each of {ranks.size} processes needs an image of every step; take fewer "
                            "processes, or other numbers.")


def refuse_unlike(ranks: Ranks, precision: str) -> None:
    """Raise `UserError` where the precision differs between processes."""
    found = sorted(set(ranks.all_gather(precision)))
    if len(found) > 1:
        raise UserError(f"train.precision: auto is {' and '.join(found)} on the devices of this run; say which, for example "
                        "--set train.precision=float32 (which is another run), or take devices that are alike.")


def _finite(value: float) -> bool:
    return value - value == 0


def _logged(line: str) -> int | None:
    """Return the position (images seen) of a line of the log; None where the line is damaged."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    position = values.get("images") if isinstance(values, dict) else None
    return position if isinstance(position, int) else None
