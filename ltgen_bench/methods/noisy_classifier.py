"""A classifier of noisy images: f(x_t, t), logits that know how noisy their image is, and the gradient of what they say."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

SMALLEST = 4  # pixels: images are halved down to here, as long as their sides are even
GROUPS = 8  # of the group norms


class NoisyClassifier(nn.Module):
    """The first half of the diffusion U-Net with its middle block and attention, then the mean over pixels and a linear layer.

    It has `width` channels at full resolution, twice as many below, and `blocks` residual blocks a level. Group norm, so it
    has no running statistics and an image's logits do not depend on its batch.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: int, blocks: int) -> None:
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps  # seconds, which the method's page does not need
        from diffusers.models.unets.unet_2d_blocks import DownBlock2D, UNetMidBlock2D

        super().__init__()
        channels, height, width_of_image = image_shape
        time, levels = 4 * width, _levels(height, width_of_image)
        self.time = nn.Sequential(Timesteps(width, flip_sin_to_cos=False, downscale_freq_shift=1), TimestepEmbedding(width, time))
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        widths = [width if level == 0 else 2 * width for level in range(levels)]
        self.down = nn.ModuleList(
            DownBlock2D(inputs, outputs, time, num_layers=blocks, resnet_groups=GROUPS, add_downsample=level < levels - 1)
            for level, (inputs, outputs) in enumerate(zip([width, *widths], widths, strict=False)))
        self.middle = UNetMidBlock2D(widths[-1], time, resnet_groups=GROUPS, attention_head_dim=widths[-1])
        self.norm = nn.GroupNorm(GROUPS, widths[-1])
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x_t: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"]) -> Float[Tensor, "B K"]:
        time, hidden = self.time(t), self.conv_in(x_t)
        for block in self.down:
            hidden, _ = block(hidden, time)
        hidden = functional.silu(self.norm(self.middle(hidden, time)))
        return self.head(hidden.mean((2, 3)))


def _levels(height: int, width: int) -> int:
    """1, and one more for each time that both sides can be halved without going below `SMALLEST`."""
    if min(height, width) < 2 * SMALLEST or height % 2 or width % 2:
        return 1
    return 1 + _levels(height // 2, width // 2)


def log_probability_gradient(classifier: nn.Module, x_t: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"],
                             labels: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
    """d log p(y_i | x_t,i) / d x_t,i for each image, p the softmax of the classifier's logits; always in float32.

    Samplers run in inference mode, whose tensors know no gradient: they are copied into ordinary ones.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(x_t.device.type, enabled=False):
        x = x_t.float().clone().requires_grad_()
        # one sum over the batch: no image's logits depend on another image
        chosen = classifier(x, t.clone()).log_softmax(1).gather(1, labels.clone().unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(chosen, x)
    return gradient
