"""The jobs of training and sampling, ours and plain: for the peak of their memory, and for the agreement of their results.

Their times are taken elsewhere, in turn.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ltgen_bench.config.schema import Compile, RunConfig, SampleConfig
from ltgen_bench.diffusion.draws import generator, image_seed
from ltgen_bench.diffusion.guidance import guided
from ltgen_bench.diffusion.network import ConditionalUNet, build_network
from ltgen_bench.experiments.speed.plain import PlainLoop, plain_sampling
from ltgen_bench.experiments.speed.setting import COUNTS, SHAPE, loop_config, random_images, wake
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.draw import Sampling, balanced_labels, guidance_of, solve
from ltgen_bench.training.cost import probing
from ltgen_bench.training.trainer import Trainer

Call = Callable[[], Sequence[float]]
Loop = Callable[[RunConfig, torch.device], Trainer | PlainLoop]
MEMORY_STEPS = 2  # the second finds the optimiser's state there
AGREED_STEPS, AGREED_BATCH = 4, 4  # without dropout, whose masks are drawn otherwise in each loop
AGREED_IMAGES = 2
IMAGES = 50_000  # of the set whose sampling is timed by a chunk


def fast_loop(config: RunConfig, device: torch.device) -> Trainer:
    """Ours."""
    return probing(config, random_images(), device, config.train.batch_size)


def plain_loop(config: RunConfig, device: torch.device) -> PlainLoop:
    """The plain one, in float32."""
    return PlainLoop(config, random_images(), device)


def train_ours(method: str, preset: str, batch: int, device: str, compile: Compile = "auto") -> Call:
    """Our losses of a few steps without dropout, after two whole steps with it."""
    return _losses(fast_loop, method, preset, batch, device, compile)


def train_plain(method: str, preset: str, batch: int, device: str) -> Call:
    """The same of the plain loop, from the same weights on the same images and draws."""
    return _losses(plain_loop, method, preset, batch, device)


def _losses(make: Loop, method: str, preset: str, batch: int, device: str, how: Compile = "auto") -> Call:
    place = torch.device(device)

    @exact_float32()
    def call() -> list[float]:
        loop = make(loop_config(method, preset, batch, **{"train.compile": how}), place)
        for _ in range(MEMORY_STEPS):
            loop.step()
        del loop
        few = {"network.dropout": 0.0, "train.compile": how}
        config = loop_config(method, preset, min(batch, AGREED_BATCH), **few)
        loop = make(config, place)
        wake(loop.net)
        return [loss_of(loop) for _ in range(AGREED_STEPS)]

    return call


def loss_of(loop: Trainer | PlainLoop) -> float:
    """The loss of the next step of a loop."""
    found = loop.step()
    return float(found if isinstance(found, Tensor) else found.total)


def sampled_network(preset: str, device: torch.device) -> ConditionalUNet:
    """A network with random weights, also in its last layer, as it is sampled from."""
    net = build_network(loop_config("ddpm", preset, 1).network, SHAPE, len(COUNTS), seed=0)
    wake(net)
    return net.to(device).eval().requires_grad_(False)


def our_sampling(net: ConditionalUNet, sampling: Sampling) -> Callable[[], object]:
    """The call that draws the images of `sampling` as `run` does; it makes `net` channels-last."""
    guidance = guidance_of(sampling.config, len(COUNTS), sampling.device)
    denoiser = guided(net.to(memory_format=torch.channels_last), guidance, net.null_label)
    return lambda: sampling.draw(denoiser, range(len(sampling.labels)))


def sampling_of(omega: float, precision: str, batch: int, steps: int, device: torch.device) -> Sampling:
    """A chunk of `batch` images by DPM-Solver++, one of a set of IMAGES."""
    config = SampleConfig(sampler="dpm-solver++", steps=steps, omega=omega, images_per_class=IMAGES // len(COUNTS),
                          batch_size=batch, precision="bf16" if precision == "bf16" else "float32")
    return Sampling(config, SHAPE, balanced_labels(len(COUNTS), -(-batch // len(COUNTS)))[:batch], device)


def first_noise(sampling: Sampling) -> tuple[Float[Tensor, "B C H W"], Int64[Tensor, " B"]]:
    """(the noise that `solve` starts from, the labels), for the plain sampler."""
    seeds = [image_seed(sampling.config.seed, number) for number in range(len(sampling.labels))]
    x_t = torch.stack([torch.randn(SHAPE, generator=generator(seed, sampling.device), device=sampling.device) for seed in seeds])
    return x_t, torch.from_numpy(sampling.labels).to(sampling.device)


def draw_ours(omega: float, precision: str, preset: str, batch: int, steps: int, device: str) -> Call:
    """Ours: a chunk of images, and then two of them before they are rounded."""
    place = torch.device(device)

    @exact_float32()
    def call() -> list[float]:
        net = sampled_network(preset, place)
        our_sampling(net, sampling_of(omega, precision, batch, steps, place))()
        few = sampling_of(omega, precision, AGREED_IMAGES, steps, place)
        seeds = [image_seed(few.config.seed, number) for number in range(AGREED_IMAGES)]
        denoiser = guided(net, guidance_of(few.config, len(COUNTS), place), net.null_label)
        with torch.inference_mode(), torch.autocast(place.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            x_0 = solve(denoiser, torch.from_numpy(few.labels).to(place), seeds, SHAPE, few.config, place)
        return _numbers(x_0)

    return call


def draw_plain(omega: float, preset: str, batch: int, steps: int, device: str) -> Call:
    """The same by the plain sampler, in float32."""
    place = torch.device(device)

    @exact_float32()
    def call() -> list[float]:
        net = sampled_network(preset, place)
        for images in (batch, AGREED_IMAGES):
            x_t, labels = first_noise(sampling_of(omega, "float32", images, steps, place))
            x_0 = plain_sampling(net, x_t, labels, net.null_label, omega, steps)
        return _numbers(x_0)

    return call


def _numbers(x_0: Float[Tensor, "B C H W"]) -> list[float]:
    return np.asarray(x_0.float().cpu()).ravel().tolist()
