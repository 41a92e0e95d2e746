"""The extractor `inception`: the Inception-v3 of the FID papers, as torch-fidelity carries it.

Weights are read with `weights_only=True`, held against the names and shapes of the network, and handed to torch-fidelity from
a clean copy.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from ltgen_bench.core.files import file_sha256
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.extractors import Features
from ltgen_bench.evaluation.extractors.fidelity import inception_network
from ltgen_bench.evaluation.extractors.pretrained import as_rgb, check_channels
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.extractors.weights_reader import check_finite, fetched, misfit, read_tensors, tensors_sha256
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.precision import deterministic_float32

FILE = PUBLISHED["inception"]
HEAD = ("fc.weight", "fc.bias")


class Inception:
    """An `Extractor`: 2048 features, 1008 logits without bias (as in the published IS) where the file has them."""

    name = "inception"
    resize = "TensorFlow 1 bilinear to 299 x 299, (x - 128) / 128, grey to RGB by copies"
    precision = "float32"
    feature_dim = 2048
    class_logits = False
    batch_size = 64

    def __init__(self, state: dict[str, Tensor], sha256: str, device: str) -> None:
        self.has_logits = all(bool(state[name].isfinite().all()) for name in HEAD)
        # By content of the tensors: the same network in another file, or without its head, gives the same features.
        self.weights_id = tensors_sha256({name: tensor for name, tensor in state.items() if name not in HEAD})[:16]
        self.logits_id = tensors_sha256(state)[:16]
        self.sha256 = sha256
        self._device = torch.device(device)
        layers = ["2048", "logits_unbiased"] if self.has_logits else ["2048"]
        # On a CPU half as fast again, and no value changes by more than rounding.
        net = with_folded_batch_norms(inception_network(state, layers))
        self._net = net.to(self._device).to(memory_format=torch.channels_last)

    def __call__(self, images: UInt8[np.ndarray, "N C H W"]) -> Features:
        with torch.inference_mode(), deterministic_float32():
            outputs = [part.float().cpu().numpy() for part in self._net(as_rgb(images, self._device))]
        return Features(outputs[0], outputs[1] if self.has_logits else None)


def with_folded_batch_norms(net: nn.Module) -> nn.Module:
    """`net` with every batch norm (`bn`) multiplied into the convolution before it (`conv`): the same function."""
    for part in list(net.modules()):
        norm, convolution = getattr(part, "bn", None), getattr(part, "conv", None)
        if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
            part.conv, part.bn = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return net


def inception(dataset: LongTailDataset, context: RunContext, steps: int | None) -> Inception:
    """Inception-v3 with weights from the user's file, from an earlier download, or fetched now into the cache. Never trained."""
    check_channels("inception", dataset)
    path = context.extractor_weights.get("inception") or fetched(FILE, context.features, context.progress)
    extractor = Inception(read_weights(path), file_sha256(path), str(context.device))
    if not extractor.has_logits:
        context.progress.say(f"{path} has features but no logits: scores that need logits are not available")
    return extractor


def read_weights(path: Path) -> dict[str, Tensor]:
    """Names and float32 (or int64) tensors of a weights file, read without unpickling anything else.

    Raises `UserError` for a file that is missing, is not a file of tensors, or does not fit the network. The head may be NaN.
    """
    state = read_tensors(path, FILE)
    try:
        inception_network(state, ["2048"])
    except RuntimeError as error:
        raise misfit(error, path, FILE) from error
    check_finite({name: tensor for name, tensor in state.items() if name not in HEAD}, path, FILE)
    return state
