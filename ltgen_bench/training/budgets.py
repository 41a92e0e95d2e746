"""Conversion of budgets in FLOPs or seconds to training images, stored beside the runs.

The number decides the training and stands in its digest, so what was found stays: a repeated command continues the same run,
though another measurement of the pace, or another version of torch, would come to another number.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from ltgen_bench.config.schema import RunConfig, digest
from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.files import file_lock, read_checked_json, write_checked_json
from ltgen_bench.core.words import power
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.methods import METHODS
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.device import hardware
from ltgen_bench.training.cost import flops_per_image, pace, probing, timed_images


@dataclass(frozen=True)
class Found:
    """A budget in images, with the cost of one image that it was converted by, and when and where that was measured."""

    unit: str  # flops or seconds
    amount: float
    per_image: float
    images: int
    measured: str
    device: str
    threads: int
    torch: str

    @property
    def words(self) -> str:
        """`2e+12 FLOPs of training are 20,800 images at 9.17e+07 FLOPs`, for seconds with where they were measured."""
        if self.unit == "flops":
            return f"{power(self.amount)} FLOPs of training are {self.images:,} images at {power(self.per_image)} FLOPs"
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else ""
        return (f"{self.amount:g} s of training are {self.images:,} images at {1 / self.per_image:,.1f} a second, as measured on "
                f"{self.measured[:10]} on {self.device}{threads}")


UNITS: dict[str, Callable[[RunConfig, LongTailDataset, torch.device], float]] = {
    "flops": flops_per_image,
    "seconds": lambda config, dataset, device: pace(
        probing(config, dataset, device, timed_images(config, device))).seconds_per_image,
}


def in_images(config: RunConfig, dataset: LongTailDataset, runs: Path, context: RunContext) -> RunConfig:
    """Return `config` with its `budget` converted to `train.budget_images` (whole steps); unchanged without a budget.

    What was found before for this training is read from `runs`/<data set>/budgets; else the cost is measured on the device of
    `context` and written there. Both a budget in FLOPs and in seconds, or one that does not pay for a step: `UserError`.
    """
    given = {} if config.budget is None else config.budget.model_dump(exclude_none=True)
    if not given:
        return config
    if len(given) > 1:
        raise UserError("budget: it has both flops and seconds; give one of them.")
    ((unit, amount),) = given.items()
    train = config.train.model_copy(update={"budget_images": 1})  # what it says does not count
    code = METHODS[config.method.name].code_digest
    key = digest({unit: amount, "train": config.model_copy(update={"train": train}).train_digest(dataset.fingerprint, code)})
    path = runs / dataset.name / "budgets" / f"{config.method.name}-{unit}-{key}.json"
    if path.is_file():
        found = _read(path, unit, amount)
    else:
        with file_lock(path, context.progress.say):  # of commands that measure at the same time the first counts
            if not path.is_file():
                write_checked_json(path, asdict(_measured(config, dataset, context.device, unit, amount)))
            found = _read(path, unit, amount)
    context.progress.say(f"{found.words} ({path})")
    return config.model_copy(update={"train": config.train.model_copy(update={"budget_images": found.images})})


def _measured(config: RunConfig, dataset: LongTailDataset, device: torch.device, unit: str, amount: float) -> Found:
    each = UNITS[unit](config, dataset, device)
    batch = config.train.batch_size
    steps = int(amount / each / batch)
    if steps == 0:
        raise UserError(f"budget.{unit}: {amount:g} does not pay for one step of {batch} images, which takes {each * batch:.3g}; "
                        "give more, or a smaller train.batch_size.")
    place = hardware(device)
    return Found(unit, amount, each, steps * batch, datetime.now(UTC).isoformat(timespec="seconds"),
                 str(place["device_name"]) if device.type == "cuda" else "cpu", int(place["threads"]), torch.__version__)


def _read(path: Path, unit: str, amount: float) -> Found:
    try:
        found = Found(**read_checked_json(path))
        fault = "" if (found.unit, found.amount) == (unit, amount) and found.images > 0 else "it is of another budget"
    except (MachineError, TypeError) as error:
        fault = str(error.__cause__ or error)
    if fault:  # not measured again unasked: another number would be another training
        raise UserError(f"{path} is broken ({fault}); delete it, and the budget is measured again.")
    return found
