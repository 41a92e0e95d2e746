"""Taking the label away from a share of the training samples, so that the network also learns "no label"."""

from typing import Literal

import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Settings


class LabelDropSettings(Settings):
    """`batch` drops the labels of a whole batch by one coin, as the public code of CBDM, OC, CORAL and CCUA does.

    `sample` draws one coin a sample, as the paper on guidance words it. Both have the same expectation for a loss that
    is a mean over samples.
    """

    label_drop: float = Field(0.1, ge=0, le=1, description="probability of training without the label")
    label_drop_unit: Literal["batch", "sample"] = Field(
        "batch", description="one coin a batch (public code) or a sample")


def drop_labels(labels: Int64[Tensor, " B"], null_label: int, settings: LabelDropSettings,
                draws: Draws) -> tuple[Int64[Tensor, " B"], Bool[Tensor, " B"] | bool]:
    """(labels with some replaced by `null_label`, which were dropped).

    With the unit `batch` the second value is one Python bool, known without waiting for the device.
    """
    if settings.label_drop_unit == "batch":
        dropped = draws.coin("label-drop", settings.label_drop)
        return (torch.full_like(labels, null_label) if dropped else labels), dropped
    mask = draws.uniform("label-drop") < settings.label_drop
    return torch.where(mask, null_label, labels), mask
