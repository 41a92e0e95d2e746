"""ADA as used with CBDM (after EDM): strong geometric augmentation, with its parameters as a condition of the network."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch
from ltgen_bench.training.augmentation.augmentation import Augmentation
from ltgen_bench.training.augmentation.warp import warp

PROBABILITY = 0.12  # with which each element but the mirror is switched on, independently; it is fixed, not adaptive
OCTAVES = 0.2  # standard deviation of the binary logarithm of a scale
SHIFT = 1 / 8  # standard deviation of a translation, in widths or heights of the image


@dataclass(frozen=True)
class Parameters:
    """Parameters of the augmentation of each image of a batch, float32 [B] each; zeros are the identity."""

    mirrored: Float[Tensor, " B"]  # a0: 1 to mirror left and right
    upturned: Float[Tensor, " B"]  # a1: 1 to mirror top and bottom
    enlarged: Float[Tensor, " B"]  # a2: scale by 2^(0.2 a2)
    turned: Float[Tensor, " B"]  # a3: rotation counter-clockwise, in radians
    axis: Float[Tensor, " B"]  # a4: axis of the stretch, clockwise from the horizontal, in radians
    stretched: Float[Tensor, " B"]  # a5: stretch by 2^(0.2 a5) along the axis and 2^(-0.2 a5) across
    right: Float[Tensor, " B"]  # a6: translation in eighths of the width
    down: Float[Tensor, " B"]  # a7: translation in eighths of the height

    @property
    def condition(self) -> Float[Tensor, "B 9"]:
        """Return the condition vectors of the network: zeros for the identity, and continuous in the angles."""
        a3, a4, a5 = self.turned, self.axis, self.stretched
        return torch.stack([self.mirrored, self.upturned, self.enlarged, a3.cos() - 1, a3.sin(), a5 * a4.cos(), a5 * a4.sin(),
                            self.right, self.down], dim=1)

    def sources(self, height: int, width: int) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
        """Return the point (x, y) of the image that each pixel of the result shows, in pixels, x to the right and y down.

        Of the image's content p, about the centre, the result is M p with

            M = mirror . scale(a2) . turn(a3) . stretch(a4, a5) . translate(a6, a7),

        so translation is applied first and mirroring last. This is the inverse, in closed form.
        """
        x = torch.arange(width, device=self.turned.device) - (width - 1) / 2
        y = (torch.arange(height, device=self.turned.device) - (height - 1) / 2)[:, None]
        smaller = torch.exp2(-OCTAVES * self.enlarged)
        x, y = _each(smaller * (1 - 2 * self.mirrored)) * x, _each(smaller * (1 - 2 * self.upturned)) * y
        x, y = _turned(x, y, _each(self.turned))
        x, y = _turned(x, y, _each(-self.axis))
        along = _each(torch.exp2(-OCTAVES * self.stretched))
        x, y = _turned(along * x, y / along, _each(self.axis))
        return (x - _each(SHIFT * width * self.right) + (width - 1) / 2,
                y - _each(SHIFT * height * self.down) + (height - 1) / 2)


def _each(numbers: Float[Tensor, " B"]) -> Float[Tensor, "B 1 1"]:
    return numbers.view(-1, 1, 1)


def _turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vectors (x, y) rotated by `angle` (radians), from x towards y."""
    return angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y


def draw(draws: Draws) -> Parameters:
    """Draw the parameters of a batch. Mirroring has probability 1/2; the two numbers of a transformation go together."""
    def switch(element: str) -> Tensor:
        return (draws.uniform(f"ada-{element}-on") < PROBABILITY).float()

    def angle(name: str) -> Tensor:
        return math.pi * (2 * draws.uniform(f"ada-{name}") - 1)

    stretched, shifted = switch("stretch"), switch("shift")
    return Parameters(
        mirrored=(draws.uniform("ada-mirror") < 0.5).float(),
        upturned=(draws.uniform("ada-upturn") < 0.5).float() * switch("upturn"),
        enlarged=draws.normal("ada-scale") * switch("scale"),
        turned=angle("turn") * switch("turn"),
        axis=angle("stretch-axis") * stretched, stretched=draws.normal("ada-stretch") * stretched,
        right=draws.normal("ada-shift-right") * shifted, down=draws.normal("ada-shift-down") * shifted)


def _augmented(batch: Batch, draws: Draws, flip: bool) -> Batch:
    """Return the augmented batch. Mirrors are drawn also where `flip` is False, since the network has them as a condition."""
    parameters = draw(draws)
    x, y = parameters.sources(*batch.x_0.shape[2:])
    return replace(batch, x_0=warp(batch.x_0, x, y), augment=parameters.condition)


# The name is that of StyleGAN2-ADA, but nothing adapts. EDM's own pipeline filters with wavelets, applies the elements in
# the opposite order, and stretches along the horizontal half of the time; this is the one that CBDM was trained with.
ADA = Augmentation(
    summary="mirrored, upturned, scaled, turned, stretched and shifted at random; the network is told by 9 numbers, samples "
            "show none",
    source="Karras et al., NeurIPS 2022, arXiv 2206.00364, appendix F.2, in the form of github.com/qym7/CBDM-pytorch",
    evidence="code", transform=_augmented, condition_dim=9, cites=("karras2022edm", "karras2020ada"))
