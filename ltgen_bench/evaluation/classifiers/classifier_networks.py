"""The classifiers of this benchmark: ResNet-32 in its CIFAR form, and a small CNN for images of at most 16 pixels.

Both end in 64 averaged features and a linear head, take float images [N, C, H, W] in -1 ... 1 of any size, and return
(features [N, 64], logits [N, K]). Weights are drawn from torch's global generator: wrap the making in `fork_rng`.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 64


class SmallCNN(nn.Module):
    """Three convolutions (32, 32, 64) with batch norm, halving the image once: 29 k weights for grey images."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, 32), *_convolution(32, 32), nn.MaxPool2d(2), *_convolution(32, FEATURES),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N K"]]:
        features = self.body(images)
        return features, self.head(features)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class ResNet32(nn.Module):
    """He et al. 2016 (arXiv:1512.03385), 4.2: n = 5, widths 16, 32, 64, shortcuts without weights (option A)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        widths = [(16, 16), (16, 32), (32, FEATURES)]
        self.blocks = nn.Sequential(*(ResidualBlock(inputs if first else outputs, outputs)
                                      for inputs, outputs in widths for first in (True, False, False, False, False)))
        self.head = nn.Linear(FEATURES, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N K"]]:
        features = self.blocks(functional.relu(self.stem(images))).mean(dim=(2, 3))
        return features, self.head(features)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut; a wider output halves the image and fills the new channels with zeros."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.added = outputs - inputs
        self.first = nn.Conv2d(inputs, outputs, 3, stride=self.stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        out = functional.relu(self.first_norm(self.first(images)))
        out = self.second_norm(self.second(out))
        shortcut = images[:, :, ::self.stride, ::self.stride]
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return functional.relu(out + shortcut)


NETWORKS: dict[str, type[SmallCNN] | type[ResNet32]] = {"cnn-8x8": SmallCNN, "resnet-32": ResNet32}
