"""Networks from torch-fidelity; the only module of the package that imports it.

Its own readers of weights unpickle whatever they are given, DINOv2's fetches and runs a repository's code, and its feature
cache goes by names: none of them is used.
"""

import tempfile
from pathlib import Path

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch_fidelity.feature_extractor_clip import CLIPVisual
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x


def inception_network(state: dict[str, Tensor], layers: list[str]) -> torch.nn.Module:
    """Inception-v3 with `state`, by way of a file that holds these tensors and nothing else.

    Takes uint8 [N, 3, H, W], gives a tuple of what `layers` names. Raises torch's `RuntimeError` for what does not fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "clean.pth"
        torch.save({name: tensor.detach().clone() for name, tensor in state.items()}, copy)
        net: torch.nn.Module = FeatureExtractorInceptionV3(
            "inception-v3-compat", layers, feature_extractor_weights_path=str(copy))
    return net


def clip_network(*, dim: int, size: int, depth: int, width: int, patch: int) -> torch.nn.Module:
    """CLIP without its half for texts; its `visual` turns float32 [N, 3, size, size] into [N, dim]."""
    net: torch.nn.Module = CLIPVisual(dim, size, depth, width, patch)
    return net


def enlarged(images: UInt8[Tensor, "N C H W"], size: int) -> Float32[Tensor, "N C S S"]:
    """Images of size x size pixels by TensorFlow 1's bilinear rule, still 0 ... 255."""
    found: Tensor = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(size, size), align_corners=False)
    return found
