"""What a training image costs in the steps of one loop, beside those of others in the same seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ltgen_bench.experiments.speed.plain import PlainLoop
from ltgen_bench.training.cost import Part, an_image, forked, in_turn
from ltgen_bench.training.trainer import Trainer


@dataclass(frozen=True)
class Rounds:
    """How often steps are timed, for each side of a coin that decides about the whole batch; as `in_turn` takes them."""

    warm_up: int = 1
    least: int = 3
    most: int = 40
    seconds: float = 30.0


@dataclass(frozen=True)
class Beside:
    """Images/s of the base, the cost of an image of the others in images of the base, and seconds that warming up took more."""

    base: float
    cost: float
    plain_costs: tuple[float, ...]
    warming: float

    @property
    def rate(self) -> float:
        """Images/s."""
        return self.base / self.cost


def beside(base: Trainer, trainer: Trainer, rounds: Rounds, plain: Sequence[PlainLoop] = ()) -> Beside:
    """Steps of all of them in turn, so that whatever else the machine does slows all: the medians of their ratios to `base`.

    A module that a method trains beforehand counts by its share. The plain loops are of a method without one.
    """
    base_seconds: list[float] = []
    warming: list[float] = []
    device = trainer.device

    def relative(part: Part) -> np.ndarray:
        """Of a step, in images of the base: the trainer's, then the plain loops'."""
        for loop in plain:
            loop.images_seen, loop.draws = part.start, part.stepper.draws
        steps = [base.step, part.stepper.step, *(loop.step for loop in plain)]
        found = in_turn(steps, device, warm_up=rounds.warm_up, least=rounds.least, most=rounds.most, seconds=rounds.seconds)
        an_image_of_base = found.rounds[:, :1] / base.train.batch_size
        base_seconds.extend(an_image_of_base[:, 0])
        warming.append(found.warming[:, 1].sum() - rounds.warm_up * float(np.median(found.rounds[:, 1])))
        costs: np.ndarray = np.median(found.rounds[:, 1:] / an_image_of_base, axis=0)
        return costs

    with forked(device):
        cost, *plain_costs = an_image(trainer, relative).tolist()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Beside(1 / float(np.median(base_seconds)), cost, tuple(plain_costs), max(0.0, sum(warming)))
