"""The extractors `vgg16`, `dinov2`, `clip` and `clip-b32`: torch-fidelity's, with weights that are checked.

As in torch-fidelity an image is enlarged by TensorFlow 1's bilinear rule and normalised, and features are float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torchvision import models

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import file_sha256
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.extractors import Features
from ltgen_bench.evaluation.extractors.dinov2 import DinoV2
from ltgen_bench.evaluation.extractors.fidelity import clip_network, enlarged
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED, WeightsFile
from ltgen_bench.evaluation.extractors.weights_reader import check_finite, fetched, misfit, read_tensors, tensors_sha256
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.precision import deterministic_float32

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of the channels, 0 ... 1
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Tower:
    """A network that ends in features: what it is made of, and what it wants to see."""

    name: str
    size: int  # pixels a side
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]  # means, deviations
    feature_dim: int
    batch_size: int
    network: Callable[[], nn.Module]  # with any weights
    uses: Callable[[str], bool] = lambda name: True  # which tensors of the file belong to it
    cut: Callable[[nn.Module], nn.Module] = lambda net: net  # what is left of it when it ends in the features

    @property
    def resize(self) -> str:
        """Preprocessing of an image, in words."""
        whose = "ImageNet" if self.colours is IMAGENET else "CLIP"
        return (f"TensorFlow 1 bilinear to {self.size} x {self.size}, minus {whose}'s mean, by its deviation, "
                "grey to RGB by copies")


def _cut_vgg16(net: nn.Module) -> nn.Module:
    """The features are those of the second fully connected layer after its ReLU, as for precision and recall."""
    net.classifier = nn.Sequential(*list(net.get_submodule("classifier").children())[:4], nn.ReLU())
    return net


def _clip(name: str, size: int, dim: int, batch_size: int, *, depth: int, width: int, patch: int) -> Tower:
    return Tower(name, size, CLIP, dim, batch_size,
                 partial(clip_network, dim=dim, size=size, depth=depth, width=width, patch=patch),
                 uses=lambda name: name.startswith("visual."), cut=lambda net: net.get_submodule("visual"))


VGG16 = Tower("vgg16", 224, IMAGENET, 4096, 64, partial(models.vgg16, init_weights=False), cut=_cut_vgg16)
DINOV2 = Tower("dinov2", 224, IMAGENET, 1024, 32, partial(DinoV2, width=1024, depth=24), uses=lambda name: name != "mask_token")
CLIP_L14_336 = _clip("clip", 336, 768, 16, depth=24, width=1024, patch=14)
CLIP_B32 = _clip("clip-b32", 224, 512, 64, depth=12, width=768, patch=32)


class Pretrained:
    """An `Extractor` around a tower. It has no logits."""

    precision = "float32"
    has_logits = class_logits = False

    def __init__(self, tower: Tower, net: nn.Module, sha256: str, device: str) -> None:
        self.name, self.resize, self.feature_dim, self.batch_size = tower.name, tower.resize, tower.feature_dim, tower.batch_size
        self.weights_id = self.logits_id = tensors_sha256(net.state_dict())[:16]
        self.sha256 = sha256
        self._size = tower.size
        self._device = torch.device(device)
        self._mean, self._deviation = (255 * torch.tensor(values, device=self._device).view(1, 3, 1, 1)
                                       for values in tower.colours)
        self._net = net.to(self._device).to(memory_format=torch.channels_last)

    def __call__(self, images: UInt8[np.ndarray, "N C H W"]) -> Features:
        with torch.inference_mode(), deterministic_float32():
            seen = enlarged(as_rgb(images, self._device), self._size)
            features: Tensor = self._net((seen - self._mean) / self._deviation)
            return Features(features.float().cpu().numpy(), None)


def as_rgb(images: UInt8[np.ndarray, "N C H W"], device: torch.device) -> UInt8[Tensor, "N 3 H W"]:
    """A batch on `device`, the channels last in memory; grey images become RGB by copies."""
    if images.shape[1] == 1:
        images = np.repeat(images, 3, axis=1)
    return torch.from_numpy(np.ascontiguousarray(images)).to(device, memory_format=torch.channels_last)


def check_channels(name: str, dataset: LongTailDataset) -> None:
    """Refuse images that are neither grey nor RGB (`UserError`)."""
    if dataset.image_shape[0] not in (1, 3):
        raise UserError(f"the extractor '{name}' takes grey or RGB images, and {dataset.name} has {dataset.image_shape[0]} "
                        "channels; use the extractor 'classifier'.")


def read_tower(tower: Tower, path: Path, file: WeightsFile) -> nn.Module:
    """The tower with the weights at `path`, in float32 and evaluation mode. Raises `UserError` for what does not fit."""
    state = {name: tensor for name, tensor in read_tensors(path, file).items() if tower.uses(name)}
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        net = tower.network()
    try:
        net.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise misfit(error, path, file) from error
    net = tower.cut(net).float().eval().requires_grad_(False)
    check_finite(net.state_dict(), path, file)
    return net


def build(tower: Tower, dataset: LongTailDataset, context: RunContext, steps: int | None) -> Pretrained:
    """`tower` with weights from the user's file, from an earlier download, or fetched now into the cache. It is never trained."""
    check_channels(tower.name, dataset)
    file = PUBLISHED[tower.name]
    path = context.extractor_weights.get(tower.name) or fetched(file, context.features, context.progress)
    return Pretrained(tower, read_tower(tower, path, file), file_sha256(path), str(context.device))


# Called as `extractors.Build` is.
vgg16 = partial(build, VGG16)
dinov2 = partial(build, DINOV2)
clip = partial(build, CLIP_L14_336)
clip_b32 = partial(build, CLIP_B32)
