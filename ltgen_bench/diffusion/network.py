"""The network f_theta(x_t, t, y): diffusers' U-Net under our own condition embedding."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor, nn

from ltgen_bench.config.schema import NetworkConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.runtime.memory import machine_memory


@dataclass(frozen=True)
class NetworkShape:
    """Every value that a preset and its overrides decide."""

    channels: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    dropout: float


PRESETS = {
    # DDPM's CIFAR-10 network: 35.7 M parameters at 32 x 32, attention at 16 x 16
    "ddpm": NetworkShape(channels=(128, 256, 256, 256), blocks=2, attention=(1,), dropout=0.1),
    # a tenth of the cost, for trying 32 x 32 images on a CPU
    "cpu": NetworkShape(channels=(32, 64, 64, 64), blocks=1, attention=(1,), dropout=0.0),
    # 8 x 8 images in a minute or two on two CPU cores
    "digits": NetworkShape(channels=(32, 64), blocks=1, attention=(), dropout=0.0),
}


def network_shape(config: NetworkConfig) -> NetworkShape:
    """The preset of `config` with its overrides laid over it."""
    preset = PRESETS[config.preset]
    return NetworkShape(
        channels=preset.channels if config.channels is None else config.channels,
        blocks=preset.blocks if config.blocks is None else config.blocks,
        attention=preset.attention if config.attention is None else config.attention,
        dropout=preset.dropout if config.dropout is None else config.dropout)


def _keep_output(module: nn.Module, args: tuple, output: Tensor) -> None:
    module.last_output = output


class ConditionalUNet(nn.Module):
    """The network of Ho et al. (2020) with a label, and perhaps an augmentation vector, added to the time embedding.

    Labels are 0 ... K - 1, and K is "no label": its embedding is fixed at zero, so that the label is simply not added.
    """

    def __init__(self, config: NetworkConfig, image_shape: tuple[int, int, int], num_classes: int,
                 augment_dim: int = 0) -> None:
        from diffusers import UNet2DModel  # takes seconds to import, and the methods' pages read this module

        super().__init__()
        shape = network_shape(config)
        check_network(shape, image_shape)
        channels, height, width = image_shape
        levels = range(len(shape.channels))
        self.null_label = num_classes
        self.unet = UNet2DModel(
            sample_size=(height, width), in_channels=channels, out_channels=channels,
            block_out_channels=shape.channels, layers_per_block=shape.blocks, dropout=shape.dropout,
            down_block_types=tuple("AttnDownBlock2D" if i in shape.attention else "DownBlock2D" for i in levels),
            up_block_types=tuple("AttnUpBlock2D" if i in shape.attention else "UpBlock2D" for i in reversed(levels)),
            attention_head_dim=None,  # one head over all channels
            norm_num_groups=8 if min(shape.channels) <= 32 else 32, norm_eps=1e-6,
            downsample_padding=1, flip_sin_to_cos=False, freq_shift=1, class_embed_type="identity")
        width_of_time = 4 * shape.channels[0]
        self.label_embedding = nn.Embedding(num_classes + 1, width_of_time, padding_idx=num_classes)
        self.augment_embedding = nn.Linear(augment_dim, width_of_time, bias=False) if augment_dim else None
        # near zero, so that the first prediction is zero
        nn.init.xavier_uniform_(self.unet.conv_out.weight, gain=1e-5)
        nn.init.zeros_(self.unet.conv_out.bias)
        self.unet.mid_block.register_forward_hook(_keep_output)

    def forward(self, x_t: Float[Tensor, "B C H W"], t: Num[Tensor, " B"], labels: Int64[Tensor, " B"],
                augment: Float[Tensor, "B A"] | None = None, *, middle: bool = False,
                ) -> Float[Tensor, "B C H W"] | tuple[Float[Tensor, "B C H W"], Float[Tensor, "B D h w"]]:
        """The prediction: noise or velocity, as the process says.

        `augment` is the condition vector of an augmentation, zero (or None) for none. With `middle`: (the prediction, the
        output of the middle block), for methods with a loss on features, which may be bfloat16 under autocast.
        """
        condition = self.label_embedding(labels)
        if self.augment_embedding is not None and augment is not None:
            condition = condition + self.augment_embedding(augment)
        # float32 again after autocast, before anybody takes a difference
        predicted = self.unet(x_t, t, class_labels=condition, return_dict=False)[0].float()
        features = self.unet.mid_block.last_output
        self.unet.mid_block.last_output = None  # let go of the activations unless the caller keeps them
        return (predicted, features) if middle else predicted

    @property
    def middle_channels(self) -> int:
        """Channels D of the middle block."""
        return int(self.unet.config.block_out_channels[-1])

    @property
    def parameter_count(self) -> int:
        """Numbers in the network."""
        return sum(p.numel() for p in self.parameters())


def check_network(shape: NetworkShape, image_shape: tuple[int, int, int]) -> None:
    """A `UserError` where images and network do not go together."""
    _, height, width = image_shape
    factor = 2 ** (len(shape.channels) - 1)
    if height % factor or width % factor:
        raise UserError(f"network: {len(shape.channels)} levels halve the image {len(shape.channels) - 1} times, so "
                        f"its sides must be multiples of {factor}, and the images are {width} x {height}; use fewer "
                        "levels (--set network.channels=[...]) or resize the images.")
    bad = [level for level in shape.attention if not 0 <= level < len(shape.channels)]
    if bad:
        raise UserError(f"network.attention: there is no level {bad[0]}; levels are 0 to {len(shape.channels) - 1}.")
    groups = 8 if min(shape.channels) <= 32 else 32
    odd = [c for c in shape.channels if c <= 0 or c % groups]
    if odd:
        raise UserError(f"network.channels: {odd[0]} is not a multiple of {groups} (the groups of the group norm).")
    least, there = least_memory(shape), machine_memory()
    if least > there:  # which the system would answer by ending the program, without a word
        raise UserError(f"network.channels: a network of {', '.join(map(str, shape.channels))} channels takes more than "
                        f"{least / 1e9:,.0f} GB in training, and this machine has {there / 1e9:,.0f} GB; take fewer channels.")


def least_memory(shape: NetworkShape) -> int:
    """Bytes that training takes at least: the 3 x 3 convolutions that keep a level's width, their average and gradient, and
    two moments."""
    numbers = sum(9 * width * width for width in shape.channels) * (2 * shape.blocks + 1)
    return 4 * 5 * numbers


def build_network(config: NetworkConfig, image_shape: tuple[int, int, int], num_classes: int, *, seed: int,
                  augment_dim: int = 0) -> ConditionalUNet:
    """A network on the CPU whose initial weights depend on `seed` alone; the global generators stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed every GPU
        return ConditionalUNet(config, image_shape, num_classes, augment_dim)


def flops_per_image(net: ConditionalUNet, image_shape: tuple[int, int, int]) -> float:
    """Floating-point operations of one forward pass of one image, counted by torch."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    device = next(net.parameters()).device
    # attention as plain products: torch counts none of its fused kernel on the CPU
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, *image_shape, device=device), torch.zeros(1, dtype=torch.int64, device=device),
            torch.full((1,), net.null_label, device=device))
    return float(counter.get_total_flops())
