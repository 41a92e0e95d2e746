"""The training step: optimiser, precision, learning rate and EMA, the same for every method and auxiliary module."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ltgen_bench.config.schema import RunConfig, TrainConfig
from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.draws import Draws, derived_seed
from ltgen_bench.diffusion.network import ConditionalUNet, build_network
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.blame import checked
from ltgen_bench.runtime.compiling import asks_for_compiling, begin_step, compiled
from ltgen_bench.runtime.distributed import SINGLE_PROCESS, Ranks
from ltgen_bench.training.augmentation import AUGMENTATIONS
from ltgen_bench.training.augmentation.augmentation import transformed
from ltgen_bench.training.batches import DataOrder, TrainingImages
from ltgen_bench.training.checkpoint import load_checkpoint, named_parameters, save_checkpoint, state_tensors, with_prefix
from ltgen_bench.training.ema import EMA

N = TypeVar("N", bound=nn.Module)


def resolve_precision(setting: str, device: torch.device) -> str:
    """Return the precision of a setting: `auto` is bf16 on devices with native bf16 matrix products, else float32."""
    if setting != "auto":
        return setting
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    native = torch.cpu.get_capabilities()
    return "bf16" if native.get("avx512_bf16") or native.get("amx_bf16") else "float32"


class _LossOf(nn.Module):
    """A module whose forward pass is the loss of a stepper, so that DistributedDataParallel can wrap it."""

    def __init__(self, net: nn.Module, extra: nn.ModuleDict, loss: "Callable[[Batch, Draws], Loss]") -> None:
        super().__init__()
        self.net, self.extra, self.loss = net, extra, loss

    def forward(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Return (total, terms) of the loss."""
        found = self.loss(batch, draws)
        return found.total, found.terms


class Stepper(ABC, Generic[N]):
    """State of a training, and its step, for any module.

    Each of several ranks takes its own part of the batch of a step, and the gradients are averaged: the step, its schedules and
    its result are those of one process, but for rounding and the masks of dropout.
    """

    def __init__(self, train: TrainConfig, seed: int, images: TrainingImages, net: N, extra: nn.ModuleDict,
                 device: torch.device, ranks: Ranks = SINGLE_PROCESS) -> None:
        self.train, self.seed, self.images, self.device, self.ranks = train, seed, images, device, ranks
        self.precision = resolve_precision(train.precision, device)
        layout = torch.channels_last if self.precision == "bf16" or device.type == "cuda" else torch.contiguous_format
        self.net = net.to(device).to(memory_format=layout)
        self.extra = extra.to(device)
        self.ema = EMA(self.net, train.ema_halflife_images, train.ema_rampup)
        self.sampled: dict[str, nn.Module] = {"ema": self.ema.net, "extra": self.extra}  # what images are drawn with
        self.modules: dict[str, nn.Module] = {"net": self.net, **self.sampled}
        self.parameters = [p for _, p in named_parameters(self.modules)]
        self.optimizer = torch.optim.Adam(self.parameters, lr=train.learning_rate, fused=True)
        self.graphs = train.compile == "graphs" and device.type == "cuda"
        self.compiled = compiled(self.net, graphs=self.graphs) if asks_for_compiling(train.compile, device) else self.net
        self.call: nn.Module = self.compiled
        loss_of = _LossOf(self.net, self.extra, self.loss)
        # Which parameters a step uses depends on coins and settings, so those that it leaves out are looked for.
        self.loss_of: nn.Module = loss_of if ranks.size == 1 else DistributedDataParallel(
            loss_of, find_unused_parameters=True, gradient_as_bucket_view=True)
        self.images_seen = 0
        self.restart_at = 0  # images seen at which weights, optimiser and warm-up start anew
        self.draws: Callable[..., Draws] = Draws  # a probe decides coins itself

    @abstractmethod
    def batch(self, draws: Draws) -> Batch:
        """Return the training images of a step."""

    @abstractmethod
    def loss(self, batch: Batch, draws: Draws) -> Loss:
        """Return the loss of a step."""

    def learning_rate(self, images_seen: int) -> float:
        """Return the learning rate of the step that ends at `images_seen`: linear from 0 over the warm-up, then constant."""
        warmup, since = self.train.warmup_images, images_seen - self.restart_at if images_seen > self.restart_at else images_seen
        return self.train.learning_rate * (min(1.0, since / warmup) if warmup else 1.0)

    def step(self) -> Loss:
        """Make one optimiser step; returns its detached loss. Does not wait for the device."""
        if self.images_seen == self.restart_at > 0:
            self._restart()
        images = min(self.train.batch_size, self.train.budget_images - self.images_seen)
        # a shorter last step is not worth the minute that compiling it takes
        self.call = self.compiled if images == self.train.batch_size else self.net
        self.optimizer.zero_grad(set_to_none=True)
        if self.graphs:
            begin_step()
        loss = self._differentiated(images)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.train.clip_norm)
        self.images_seen += images
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.images_seen)
        self.optimizer.step()
        self.ema.update(self.net, self.images_seen, images)
        return loss

    def _differentiated(self, images: int) -> Loss:
        """Compute the gradients of this step into the parameters; returns this rank's share of the loss, detached."""
        found: list[Loss] = []
        slices = self._slices(images)
        for number, pieces in enumerate(slices):
            own = pieces[self.ranks.rank]
            draws = self.draws(self.seed, self.images_seen, images, self.device, own.start, own.stop, self.ranks,
                               tuple(map(len, pieces)))
            batch = self.batch(draws)
            # dropout takes no generator; the loop as a whole keeps the global one for its caller
            torch.manual_seed(derived_seed(self.seed, self.images_seen, "dropout", *([own.start] if own.start else [])))
            last = number == len(slices) - 1
            with nullcontext() if last or self.ranks.size == 1 else self.loss_of.no_sync():  # type: ignore[operator]
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
                    total, terms = self.loss_of(batch, draws)
                share = len(own) / images
                (total * (share * self.ranks.size)).backward()  # the ranks' gradients are averaged
            found.append(Loss(total.detach() * share, {name: term * share for name, term in terms.items()}))
        return found[0] if len(found) == 1 else _summed(found)

    def _slices(self, images: int) -> list[tuple[range, ...]]:
        """Return the images of each micro-batch of a step: a range per rank."""
        parts = self.ranks.split(images)
        largest, smallest = max(map(len, parts)), min(map(len, parts))
        at_once = self.train.micro_batch or largest
        number = min(-(-largest // at_once), smallest)  # every rank has as many, and none that is empty
        cuts = [[part[len(part) * i // number:len(part) * (i + 1) // number] for i in range(number)] for part in parts]
        return list(zip(*cuts, strict=True))

    def _restart(self) -> None:
        """Copy the averaged weights into the weights, and reset the optimiser. Repeated, it changes nothing."""
        with torch.no_grad():
            torch._foreach_copy_(list(self.net.parameters()), list(self.ema.net.parameters()))
        self.optimizer.state.clear()

    def save(self, folder: Path, info: dict[str, Any]) -> None:
        """Write a checkpoint at the current position."""
        save_checkpoint(folder, state_tensors(self.modules, self.optimizer), {**info, "images_seen": self.images_seen})


def _summed(losses: Sequence[Loss]) -> Loss:
    """Return the sum of each term over `losses`; a loss may lack a term."""
    names = dict.fromkeys(name for loss in losses for name in loss.terms)
    terms = {name: torch.stack([loss.terms[name] for loss in losses if name in loss.terms]).sum() for name in names}
    return Loss(torch.stack([loss.total for loss in losses]).sum(), terms)


class Trainer(Stepper[ConditionalUNet]):
    """The stepper of a method's network: its initial weights, and for fine-tuning the switch from the base to the method."""

    def __init__(self, config: RunConfig, dataset: LongTailDataset, method: Method, device: torch.device,
                 ranks: Ranks = SINGLE_PROCESS) -> None:
        augmentation = AUGMENTATIONS[config.train.augment]
        net = build_network(config.network, dataset.image_shape, dataset.num_classes, seed=derived_seed(config.seed, "weights"),
                            augment_dim=augmentation.condition_dim + method.augment_dim)
        with torch.random.fork_rng(devices=[]):  # what a method adds draws its first weights as the network does: by the seed
            torch.default_generator.manual_seed(derived_seed(config.seed, "method-weights"))
            net, extra = method.adapt_network(net), method.extra_modules()
        start = method.initial_weights()
        seen = 0 if start is None else _start_from(net, start, config.train.budget_images)
        self.method = method
        self.base, self.base_share = method.base() or (method, 0.0)
        self.orders = [DataOrder(dataset.train.labels, config.seed, one.class_weights()) for one in (self.base, method)]
        images = TrainingImages(dataset.train, self.orders[0], flip=dataset.flip, device=device, augmentation=augmentation)
        super().__init__(config.train, config.seed, images, net, extra, device, ranks)
        steps = -(-(config.train.budget_images - seen) // config.train.batch_size)
        # whole steps, and at least one of each; of a method that fine-tunes nothing none
        base_steps = min(max(1, round(self.base_share * steps)), steps - 1) if self.base_share else 0
        self.restart_at = seen + base_steps * config.train.batch_size
        self.images_seen = seen
        self.before: Sequence[tuple[float, Stepper[Any]]] = ()  # in a probe what the method trains first, and its share of images

    def batch(self, draws: Draws) -> Batch:
        """Return augmented images in the order of the current method (base or method), after its `transform_batch`."""
        self.images.order = self.orders[self.images_seen >= self.restart_at]
        return transformed(self._in_turn, self.images.batch(draws), draws)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        """Return the loss of the method of the current part of the training."""
        return checked(self._in_turn.loss(self.call, batch, draws), self._in_turn)

    @property
    def _in_turn(self) -> Method:
        return self.method if self.images_seen >= self.restart_at else self.base


def _start_from(net: ConditionalUNet, path: Path, budget: int) -> int:
    """Load the averaged weights of the checkpoint `path` into `net`; returns their images seen, which count towards the budget.

    Raises `UserError` for a file that is missing, damaged, of another network, or has seen the whole budget.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path} to start from.")
    try:
        tensors, info = load_checkpoint(path, "take another copy of it")
    except DamagedError as error:
        why = str(error).removesuffix(".")
        raise UserError(f"{path}, to start from, is no whole checkpoint of a training ({why}).") from error
    seen, weights = info["images_seen"], with_prefix(tensors, "ema.")
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}, to start from, is of another network, or of data with other classes or image sizes "
                        f"({str(error).splitlines()[1].strip()}).") from error
    if seen >= budget:
        raise UserError(f"{path}, to start from, has seen {seen:,} images, which count, and the budget is {budget:,}; let "
                        "--budget-images be larger.")
    return seen
