"""EXTRACTORS: networks that turn images into features. Imports no torch: an entry says where the function lies that builds it.

An installed package adds its own by an entry point of the group `ltgen_bench.extractors`."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from ltgen_bench.core.registry import Registry, an_instance
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.runtime.context import RunContext


class Features(NamedTuple):
    """Output of an extractor: `features` float32 [N, D], `logits` float32 [N, L] or None where it has no classifier."""

    features: Float32[np.ndarray, "N D"]
    logits: Float32[np.ndarray, "N L"] | None


@runtime_checkable
class Extractor(Protocol):
    """A network ready for use. A call takes one batch of images, uint8 [N, C, H, W] of any size."""

    name: str
    weights_id: str  # enters the protocol of metrics on features
    logits_id: str  # enters the protocol of metrics on logits
    sha256: str  # of the weights as they are; for the record
    resize: str  # what happens to an image on its way in, in words
    precision: str  # of its arithmetic: float32; enters the key of cached features
    feature_dim: int
    has_logits: bool
    class_logits: bool  # whether logit c belongs to class c of the data set
    batch_size: int  # enters the key of cached features

    def __call__(self, images: UInt8[np.ndarray, "N C H W"]) -> Features: ...


@runtime_checkable
class Build(Protocol):
    """What makes an extractor: from `context` it takes device, cache and weights files; `steps` are those of a trained one."""

    def __call__(self, dataset: LongTailDataset, context: RunContext, steps: int | None) -> Extractor: ...


@dataclass(frozen=True)
class ExtractorKind:
    """The facts about an extractor, and where its maker lies (`package.module:function`)."""

    name: str
    title: str
    summary: str  # one line for listings
    source: str
    maker: str
    fetched: bool = False  # whether its weights come from elsewhere, so that they may be missing
    trained: bool = False  # whether they are trained here; its ids then end in the SHA-256 of what came out
    flops: float = 0.0  # floating-point operations of one image, about; counted, and not stated here, where `trained`

    @property
    def build(self) -> Build:
        """The maker itself; asking for it imports torch."""
        module, _, attribute = self.maker.partition(":")
        found: Callable[..., Extractor] = getattr(importlib.import_module(module), attribute)
        return found


EXTRACTORS: Registry[ExtractorKind] = Registry("extractor", "metrics", "ltgen_bench.extractors", an_instance(ExtractorKind))
EXTRACTORS.add("classifier", ExtractorKind(
    "classifier", "domain classifier",
    "a small network trained on the balanced real training set; its scores compare only with each other",
    "trained here: ResNet-32 (He et al. 2016), or a small CNN up to 16 pixels",
    "ltgen_bench.evaluation.extractors.domain_classifier:domain_classifier", trained=True))
EXTRACTORS.add("inception", ExtractorKind(
    "inception", "Inception-v3",
    "the FID network of 2015-12-05, 2048 features; weights are fetched or given by --extractor-weights inception=FILE",
    "torch-fidelity, inception-v3-compat", "ltgen_bench.evaluation.extractors.inception:inception", fetched=True, flops=1.1e10))
for _name, _title, _flops, _summary, _source in (
    ("vgg16", "VGG16", 3.1e10,
     "4096 features of the second fully connected layer after its ReLU, as first used for precision and recall",
     "torch-fidelity, vgg16, fc2_relu (weights of torchvision)"),
    ("dinov2", "DINOv2 ViT-L/14", 1.6e11,
     "1024 features of the class token at 224 pixels, as in FD-DINOv2 (Stein et al. 2023)",
     "torch-fidelity, dinov2-vit-l-14 (Oquab et al. 2023, arXiv:2304.07193)"),
    ("clip", "CLIP ViT-L/14@336", 3.8e11,
     "768 features, the embedding at 336 pixels of CMMD; slow on a CPU",
     "torch-fidelity, clip-vit-l-14-336px (Radford et al. 2021, arXiv:2103.00020)"),
    ("clip-b32", "CLIP ViT-B/32", 8.8e9,
     "512 features, the embedding at 224 pixels of FD-CLIP (Kynkaanniemi et al. 2023)",
     "torch-fidelity, clip-vit-b-32 (Radford et al. 2021, arXiv:2103.00020)"),
):
    EXTRACTORS.add(_name, ExtractorKind(
        _name, _title, f"{_summary}; weights are fetched or given by --extractor-weights {_name}=FILE", _source,
        f"ltgen_bench.evaluation.extractors.pretrained:{_name.replace('-', '_')}", fetched=True, flops=_flops))
