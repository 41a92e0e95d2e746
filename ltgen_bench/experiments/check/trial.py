"""A tiny world in which a method is tried: data, network and batches, and a watch over what the method does with them."""

import inspect
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import get_state
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.diffusion import DEFAULT_PROCESS
from ltgen_bench.diffusion.draws import Draws, generator
from ltgen_bench.diffusion.network import ConditionalUNet, build_network
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.blame import checked, failure
from ltgen_bench.sampling.samplers import SAMPLERS, samplers_of
from ltgen_bench.training.loop import untrained_method

SHAPE = (1, 8, 8)
COUNTS = (20, 9, 4)
LABELS = (0, 1, 2, 0, 0, 1, 0, 0)
CPU = torch.device("cpu")


class Unmet(Exception):  # noqa: N818  (no error of the program: the finding of a check)
    """A requirement that a method does not meet, in one sentence for its author."""


def images_of(counts: tuple[int, ...], seed: int) -> ImageSet:
    """So many images of each class, in mixed order: noise under a bright bar at a place of the class's own."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    images = rng.integers(0, 60, (len(labels), *SHAPE), dtype=np.uint8)
    images[np.arange(len(labels)), :, labels % SHAPE[1]] += 180
    return ImageSet(images, labels)


def tiny_dataset(counts: tuple[int, ...] = COUNTS) -> LongTailDataset:
    """A data set of 8 x 8 images whose training set has these class counts; two of each class judge it."""
    judges = (2,) * len(counts)
    return LongTailDataset("tiny", images_of(counts, 0), images_of(judges, 1), images_of(judges, 2),
                           tuple(f"class {c}" for c in range(len(counts))), flip=False)


@dataclass(frozen=True)
class Call:
    """Arguments of one call of the network."""

    x_t: Tensor
    t: Tensor
    labels: Tensor
    augment: Tensor | None


@dataclass(frozen=True)
class Watched(Draws):
    """Draws that remember the names that they were asked for."""

    names: list[str] = field(default_factory=list)

    def _generator(self, name: str, device: torch.device | None = None) -> torch.Generator:
        self.names.append(name)
        return super()._generator(name, device)


COIN = (inspect.getfile(Draws), "coin")  # tossed on the CPU, whatever the device


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes, with its place, everything for which a program would wait for the device if there were one."""

    READING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal",
               "bincount")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.READING or (name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])):
            frames = traceback.extract_stack()
            if COIN not in [(frame.filename, frame.name) for frame in frames]:
                words = {"_local_scalar_dense": "a number read from a tensor", "index": "a selection by a mask"}
                self.found.append(f"{words.get(name, name)} ({place(frames)})")
        return func(*args, **(kwargs or {}))


def place(frames: "traceback.StackSummary") -> str:
    """`my_method.py, line 12`: the innermost frame in a method, or where there is none the innermost of all."""
    others = ("torch", "diffusers", "pydantic", "beartype", "jaxtyping",
              *(f"ltgen_bench/{package}" for package in ("experiments", "training", "diffusion")))
    own = [frame for frame in frames if not any(f"/{package}/" in frame.filename.replace("\\", "/") for package in others)
           and not frame.filename.startswith("<")]
    frame = (own or list(frames))[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"


@dataclass(frozen=True)
class Built:
    """A method at work on a tiny data set: with its network, whose calls are noted, and its extra modules."""

    method: Method
    net: ConditionalUNet
    extra: nn.ModuleDict
    calls: list[Call]

    def batch(self, labels: tuple[int, ...] = LABELS) -> Batch:
        """Images of noise with these labels."""
        return Batch(torch.rand(len(labels), *SHAPE, generator=generator(0)) * 2 - 1, torch.tensor(labels))

    def draws(self, size: int = len(LABELS), position: int = 0, part: range | None = None) -> Watched:
        """The draws of the step at `position`, or of a part of its images."""
        cut = range(size) if part is None else part
        return Watched(0, position * size, size, CPU, cut.start, cut.stop)

    def loss(self, labels: tuple[int, ...] = LABELS, position: int = 0, *, bf16: bool = False, part: range | None = None) -> Loss:
        """The loss of one step, or of a part of its images, after the method's own change of the batch.

        Raises `MethodError` for anything but a `Loss` of single numbers that can be differentiated.
        """
        draws, batch = self.draws(len(labels), position, part=part), self.batch(labels)
        if part is not None:
            batch = Batch(batch.x_0[part.start:part.stop], batch.labels[part.start:part.stop])
        batch = self.method.transform_batch(batch, draws)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return checked(self.method.loss(self.net, batch, draws), self.method)

    def parameters(self) -> dict[str, nn.Parameter]:
        """All trained parameters, by name."""
        modules = (("net", self.net), ("extra", self.extra))
        return {f"{prefix}.{name}": parameter for prefix, module in modules
                for name, parameter in module.named_parameters() if parameter.requires_grad}


@dataclass(frozen=True)
class Trial:
    """One registered method with settings other than its defaults, and a folder for what it writes."""

    name: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    process: str = ""

    @property
    def kind(self) -> type[Method]:
        """The method's class."""
        return METHODS[self.name]

    @property
    def under(self) -> str:
        """The noise process: `process`, or the one that the method needs, or the default."""
        needed = self.kind.needs_process
        return self.process or (DEFAULT_PROCESS if needed is None else needed[0])

    def config(self, **train: Any) -> RunConfig:
        """A run of a few steps of the smallest network on the CPU; `train` changes its part of that name."""
        sampler = next(name for name in samplers_of(self.under) if not SAMPLERS[name].stochastic)
        return RunConfig.from_values({
            "network": {"preset": "digits", "channels": [8, 16]}, "method": {"name": self.name, **self.settings},
            "process": {"name": self.under},
            "train": {"budget_images": 60, "batch_size": 8, "learning_rate": 2e-3, "warmup_images": 16,
                      "ema_halflife_images": 40, "precision": "float32", "compile": "no", **train},
            "sample": {"sampler": sampler, "steps": 4, "images_per_class": 3, "batch_size": 4}})

    def build(self, counts: tuple[int, ...] = COUNTS, augment_dim: int | None = None) -> Built:
        """The method for these class counts, with a network whose output is not zero.

        `augment_dim` is the length of the augmentation vector; the method's own when absent.
        """
        config, dataset = self.config(), tiny_dataset(counts)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # whether a method draws its weights from here is another requirement
            method, _ = untrained_method(config, dataset, CPU)
            net = method.adapt_network(build_network(
                config.network, SHAPE, len(counts), seed=0,
                augment_dim=method.augment_dim if augment_dim is None else augment_dim))
            extra = method.extra_modules()
        awake = generator(0)
        with torch.no_grad():
            net.unet.conv_out.weight.normal_(0, 0.1, generator=awake)
        calls: list[Call] = []
        inner = net.forward

        def noted(x_t: Tensor, t: Tensor, labels: Tensor, augment: Tensor | None = None, **more: bool) -> Any:
            calls.append(Call(x_t.detach(), t, labels, augment))
            return inner(x_t, t, labels, augment, **more)

        net.forward = noted  # type: ignore[method-assign]
        return Built(method, net, extra, calls)


def sentence(error: BaseException) -> str:
    """Return an exception of a method as a sentence: type, message, and where it was raised."""
    return f"{failure(error)} ({place(traceback.extract_tb(error.__traceback__))})"


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Raises `Unmet` when what happens inside draws from a global generator of torch or numpy.

    Python's own is not looked at, since type checkers draw from it; a loss that does differs from one time to the next.
    """
    def states() -> dict[str, Any]:
        numpy = get_state(legacy=False)["state"]  # noqa: NPY002  (it is looked at, to see that nobody drew from it)
        return {"torch": torch.get_rng_state().tolist(), "numpy": (numpy["key"].tobytes(), numpy["pos"])}

    before = states()
    yield
    drawn = [name for name, state in states().items() if state != before[name]]
    if drawn:
        raise Unmet(f"it draws from the global generator of {' and of '.join(drawn)}; take every random number from "
                    "`draws`, under a name of its own.")


