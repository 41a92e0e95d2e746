"""Plain references: a training loop, a sampler, and k-NN metrics that the package is compared with, in results and in time.

The loops are written from the definitions as a first version is: float32, eager, contiguous, a pass for every prediction, torch's
Adam and clipping with their defaults, an average of the weights tensor by tensor. Their random numbers come from the
draws of the fast loop, so that both see the same images, time steps, noise and labels; only the masks of dropout are others.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.draws import Draws, derived_seed, generator, image_seed
from ltgen_bench.diffusion.network import ConditionalUNet, build_network
from ltgen_bench.methods.base import Batch
from ltgen_bench.sampling.chunks import Sampling
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.training.batches import DataOrder, TrainingImages
from ltgen_bench.training.trainer import Trainer

T = 1000
TAU, GAMMA, LABEL_DROP = 1.0, 0.25, 0.1  # of CBDM
EMA_DECAY, CLIP_NORM = 0.9999, 1.0

# (network, batch, draws, training images of each class) -> loss
PlainLoss = Callable[[nn.Module, Batch, Draws, Float[Tensor, " K"]], Float[Tensor, ""]]


def noised(x_0: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"], noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """x_t = sqrt(alphas_bar_t) x_0 + sqrt(1 - alphas_bar_t) noise (Ho et al. 2020, equation 4)."""
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    alphas_bar = torch.cumprod(1 - betas, dim=0).to(x_0.device)[t]
    return alphas_bar.sqrt().float().view(-1, 1, 1, 1) * x_0 + (1 - alphas_bar).sqrt().float().view(-1, 1, 1, 1) * noise


def plain_ddpm(net: nn.Module, batch: Batch, draws: Draws, class_counts: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """mean((eps_theta(x_t, t, y) - noise)^2) (Ho et al. 2020, equation 14)."""
    t, noise = draws.integers("t", T), draws.normal("noise", *batch.x_0.shape[1:])
    x_t = noised(batch.x_0, t, noise)
    return ((net(x_t, t, batch.labels) - noise) ** 2).mean()


def plain_cbdm(net: nn.Module, batch: Batch, draws: Draws, class_counts: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """DDPM's loss and both penalties of Qin et al. (CVPR 2023), each prediction by a pass of its own.

    One coin drops the labels of the whole batch; then the penalties are absent.
    """
    t, noise = draws.integers("t", T), draws.normal("noise", *batch.x_0.shape[1:])
    x_t = noised(batch.x_0, t, noise)
    if draws.coin("label-drop", LABEL_DROP):
        return ((net(x_t, t, torch.full_like(batch.labels, len(class_counts))) - noise) ** 2).mean()
    others = draws.categorical("auxiliary-labels", class_counts)
    h = net(x_t, t, batch.labels)
    h_other = net(x_t, t, others)
    weight = (TAU * t / T).view(-1, 1, 1, 1)
    loss = ((h - noise) ** 2).mean()
    loss = loss + (weight * (h - h_other.detach()) ** 2).mean()
    return loss + GAMMA * (weight * (h.detach() - h_other) ** 2).mean()


LOSSES: dict[str, PlainLoss] = {"ddpm": plain_ddpm, "cbdm": plain_cbdm}


class PlainLoop:
    """Training steps of a method of LOSSES, from the weights and on the batches that the fast loop of `config` has.

    `tf32`: convolutions may round to TF32 on CUDA, which torch allows by default.
    """

    def __init__(self, config: RunConfig, dataset: LongTailDataset, device: torch.device, *, tf32: bool = False) -> None:
        self.loss = LOSSES[config.method.name]
        self.seed, self.batch_size, self.device, self.tf32 = config.seed, config.train.batch_size, device, tf32
        order = DataOrder(dataset.train.labels, config.seed)
        self.images = TrainingImages(dataset.train, order, flip=dataset.flip, device=device)
        self.class_counts = torch.tensor(dataset.class_counts, dtype=torch.float32, device=device)
        self.net: ConditionalUNet = build_network(config.network, dataset.image_shape, dataset.num_classes,
                                                  seed=derived_seed(config.seed, "weights")).to(device)
        self.average = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.train.learning_rate)
        self.images_seen = 0
        self.draws: Callable[..., Draws] = Draws

    def step(self) -> Float[Tensor, ""]:
        """One optimiser step; its loss."""
        draws = self.draws(self.seed, self.images_seen, self.batch_size, self.device)
        with convolutions(self.tf32):
            loss = self.loss(self.net, self.images.batch(draws), draws, self.class_counts)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        self.optimizer.step()
        for name, value in self.net.state_dict().items():
            self.average[name] = EMA_DECAY * self.average[name] + (1 - EMA_DECAY) * value
        self.images_seen += self.batch_size
        return loss.detach()


@torch.no_grad()
def plain_sampling(net: nn.Module, x_t: Float[Tensor, "B C H W"], labels: Int64[Tensor, " B"], null_label: int, omega: float,
                   steps: int) -> Float[Tensor, "B C H W"]:
    """DPM-Solver++ from the noise `x_t` to x_0: where omega > 0, a pass for the labels and then one without them."""
    scheduler = SAMPLERS["dpm-solver++"].make(steps)
    for t in scheduler.timesteps:
        times = torch.full_like(labels, int(t))
        eps = net(x_t, times, labels)
        if omega > 0:
            null = net(x_t, times, torch.full_like(labels, null_label))
            eps = eps + omega * (eps - null)
        x_t = scheduler.step(eps, t, x_t).prev_sample
    return x_t


@contextmanager
def convolutions(tf32: bool) -> Iterator[None]:
    """Convolutions inside are of TF32 on CUDA, or of float32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def wake(net: ConditionalUNet) -> None:
    """Give the last layer, which starts at zero, weights of an ordinary size: else all networks predict the same, nothing."""
    weight = net.unet.conv_out.weight
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) / weight[0].numel() ** 0.5
    with torch.no_grad():
        weight.copy_(drawn)


def loss_of(loop: Trainer | PlainLoop) -> float:
    """The loss of the next step of a loop."""
    found = loop.step()
    return float(found if isinstance(found, Tensor) else found.total)


def first_noise(sampling: Sampling, device: torch.device) -> tuple[Float[Tensor, "B C H W"], Int64[Tensor, " B"]]:
    """(the noise that the sampler of the package starts from, the labels), for `plain_sampling`."""
    seeds = [image_seed(sampling.config.seed, number) for number in range(sampling.size)]
    x_t = torch.stack([torch.randn(sampling.image_shape, generator=generator(seed, device), device=device) for seed in seeds])
    return x_t, torch.from_numpy(sampling.labels[:sampling.size]).to(device)


def plain_prdc(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"],
               k: int) -> tuple[float, float, float, float]:
    """(precision, recall, density, coverage) by three whole matrices of distances in float64; the edge is outside a ball.

    As the authors' package defines them (prdc: Naeem et al. 2020).
    """
    around_real, around_generated = _kth_nearest(real, k), _kth_nearest(generated, k)
    distance = _distances(real, generated)  # [N, M]
    in_real = distance < around_real[:, None]
    return (float(in_real.any(axis=0).mean()), float((distance < around_generated).any(axis=1).mean()),
            float(in_real.sum(axis=0).mean() / k), float((distance.min(axis=1) < around_real).mean()))


def _kth_nearest(points: Float[np.ndarray, "N D"], k: int) -> Float[np.ndarray, " N"]:
    """The distance from every point to its k-th nearest neighbour; the nearest of all is the point itself."""
    return np.partition(_distances(points, points), k, axis=1)[:, k]


def _distances(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "M N"]:
    first, second = first.astype(np.float64), second.astype(np.float64)
    squares = np.square(first).sum(axis=1)[:, None] - 2 * first @ second.T + np.square(second).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0))
