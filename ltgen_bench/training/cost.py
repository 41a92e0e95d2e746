"""Cost of one training image: floating-point operations, and seconds on this machine.

A step that a coin of the whole batch makes cheaper (a dropped label) counts by the coin's probability: both sides are
measured, none is drawn.
"""

import operator
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial, reduce
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float64
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.blame import blamed
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.training.loop import untrained_method
from ltgen_bench.training.trainer import Stepper, Trainer

COUNTED_IMAGES = 16  # of the step whose operations are counted; a network's grow in proportion to its images
TIMED_IMAGES = 16  # on a CPU, whose time grows in proportion too; on CUDA the whole batch
PROBE_SECONDS = 8.0  # a probe ends after its first step beyond this
UNDECIDED: Mapping[str, bool] = MappingProxyType({})
F = TypeVar("F", float, np.ndarray)  # one figure, or several that are measured together


class UndecidedError(Exception):
    """A random coin (e.g. label drop) was drawn whose outcome is not fixed."""

    def __init__(self, name: str, probability: float) -> None:
        super().__init__(name)
        self.name, self.probability = name, probability


@dataclass(frozen=True)
class DecidedDraws(Draws):
    """Draws with the outcomes of coins fixed by `decided`. Raises `UndecidedError` for any other coin."""

    decided: Mapping[str, bool] = field(default_factory=dict)

    def coin(self, name: str, probability: float) -> bool:
        """Return the fixed outcome; coins of probability 0 or 1 need none."""
        if 0 < probability < 1 and name not in self.decided:
            raise UndecidedError(name, probability)
        return self.decided[name] if 0 < probability < 1 else probability >= 1


def expectation(measure: Callable[[Mapping[str, bool]], F], decided: Mapping[str, bool] = UNDECIDED) -> F:
    """Return the expectation of `measure(outcomes)` over all outcomes of the coins, weighted by their probabilities."""
    try:
        return measure(decided)
    except UndecidedError as asked:
        coin = asked
    sides = ((True, coin.probability), (False, 1 - coin.probability))
    return reduce(operator.add, [share * expectation(measure, {**decided, coin.name: side}) for side, share in sides])


@dataclass(frozen=True)
class Part:
    """A part of a training: for each image of the budget it sees `share` images, the first of them at position `start`."""

    stepper: Stepper[Any]
    share: float
    start: int

    def enter(self, decided: Mapping[str, bool]) -> None:
        """Go to the first step of this part, with these outcomes of coins."""
        self.stepper.images_seen, self.stepper.draws = self.start, partial(DecidedDraws, decided=decided)


def parts(trainer: Trainer) -> list[Part]:
    """Return the parts of a training: the base of a fine-tuning method, the method, and its auxiliary modules."""
    own = [Part(trainer, trainer.base_share, 0), Part(trainer, 1 - trainer.base_share, trainer.restart_at)]
    return [*(part for part in own if part.share), *(Part(stepper, share, 0) for share, stepper in trainer.before)]


def an_image(trainer: Trainer, measure: Callable[[Part], F]) -> F:
    """Return the cost of one image of the budget, where a step of a part costs `measure(part)`."""

    def of_part(part: Part) -> F:
        def with_coins(decided: Mapping[str, bool]) -> F:
            part.enter(decided)
            return measure(part)

        return part.share * expectation(with_coins) / part.stepper.train.batch_size

    return reduce(operator.add, map(of_part, parts(trainer)))


@blamed
def probing(config: RunConfig, dataset: LongTailDataset, device: torch.device, images: int) -> Trainer:
    """Return a trainer of `config` with at most `images` per step and without an end, for measurements."""
    batch = min(images, config.train.batch_size)
    train = config.train.model_copy(update={"batch_size": batch, "budget_images": 10**12})
    config = config.model_copy(update={"train": train})
    method, untrained = untrained_method(config, dataset, device, batch)
    trainer = Trainer(config, dataset, method, device)
    trainer.before = untrained.requests
    return trainer


@exact_float32()
@blamed
def flops_per_image(config: RunConfig, dataset: LongTailDataset, device: torch.device) -> float:
    """Return the floating-point operations of one training image: a step of the method, forward and backward.

    Matrix products and convolutions, a multiplication and an addition as two, divided by the images of a step of at most
    COUNTED_IMAGES. They follow from the shapes, so every device has the same. Modules that a method trains beforehand are in it
    by their share of the budget; what else it does before training, and sampling, are not.
    """
    plain = config.train.model_copy(update={"precision": "float32", "compile": "no"})
    trainer = probing(config.model_copy(update={"train": plain}), dataset, device, COUNTED_IMAGES)

    def operations(part: Part) -> float:
        # attention as plain products: torch counts none of its fused kernel on the CPU
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            part.stepper.step()
        return float(counter.get_total_flops())

    with forked(device):
        return float(round(an_image(trainer, operations)))  # a share of a whole number is one but for rounding


@dataclass(frozen=True)
class Pace:
    """Measured seconds of one training image, and the number of measured steps."""

    seconds_per_image: float
    steps: int


@exact_float32()
def pace(trainer: Trainer) -> Pace:
    """Time a few steps of `trainer` (of `probing`) on its device."""
    steps = 0

    def seconds(part: Part) -> float:
        nonlocal steps
        each, count = seconds_each(part.stepper.step, trainer.device)
        steps += count
        return each

    with forked(trainer.device):
        return Pace(an_image(trainer, seconds), steps)


def forked(device: torch.device) -> AbstractContextManager[None]:
    """Restore the global random generators after the block."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def timed_images(config: RunConfig, device: torch.device) -> int:
    """Return the largest number of images of a timed step."""
    return TIMED_IMAGES if device.type == "cpu" else config.train.batch_size


@dataclass(frozen=True)
class Turns:
    """Seconds of N calls made in turn: of W warm-up rounds and of R later rounds."""

    warming: Float64[np.ndarray, "W N"]
    rounds: Float64[np.ndarray, "R N"]


def in_turn(calls: Sequence[Callable[[], object]], device: torch.device, *, warm_up: int = 1, least: int = 3, most: int = 10,
            seconds: float = PROBE_SECONDS / 2) -> Turns:
    """Time the calls in turn, round after round, so that other load of the machine slows all of them alike.

    After `warm_up` rounds come `least` rounds, and up to `most` of them within so many seconds; one is the last, however few
    they are, that ends beyond twice that. Warming up counts as if it took what later rounds take, since it may compile.
    """
    def one_round() -> list[float]:
        times = []
        for call in calls:
            start = time.perf_counter()
            call()
            _wait(device)
            times.append(time.perf_counter() - start)
        return times

    warming, rounds = [one_round() for _ in range(warm_up)], [one_round()]
    spent = (1 + warm_up) * sum(rounds[0])
    while spent <= 2 * seconds and (len(rounds) < least or (len(rounds) < most and spent < seconds)):
        rounds.append(one_round())
        spent += sum(rounds[-1])
    return Turns(np.array(warming), np.array(rounds))


def seconds_each(call: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Return (median seconds of a call after one warm-up call, number of calls)."""
    rounds = in_turn([call], device).rounds
    return float(np.median(rounds)), len(rounds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
