"""CBDM as fine-tuning: a network trained with label drop learns the penalties, with all classes equally often as y'."""

from typing import Literal

from pydantic import Field

from ltgen_bench.methods.base import Method
from ltgen_bench.methods.cbdm import CBDM, CBDMSettings
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.label_drop import LabelDropSettings


class CBDMFinetuneSettings(CBDMSettings):
    """Defaults are the public code's: y' uniform, and 200,000 of 250,000 steps before."""

    auxiliary_labels: Literal["train-frequency", "square-root", "uniform"] = Field(
        "uniform", description="law of the second label y'; the code fine-tunes with the last")
    base_share: float = Field(0.8, gt=0, lt=1, description="share of the images of the budget that trains the network before, "
                              "by the loss of cfg; the rest fine-tunes it")


class CBDMFinetune(CBDM):
    """The fine-tuning of CBDM (Qin et al., CVPR 2023). The loss is that of `cbdm`, with y' uniform over the classes:

        L = mean((h - eps)^2) + mean(w (h - sg[h'])^2) + gamma mean(w (sg[h] - h')^2),   w = tau t / T

    The network it starts from is part of the run. The first `base_share` of the budget is the training of `cfg`, with its label
    drop and its random numbers, so bit for bit what `cfg` has at that position. Then the weights become their moving average,
    optimiser and warm-up start anew, as in the public code, and the rest of the budget goes by the loss above. Images seen,
    operations and seconds are those of both parts, which keeps a comparison with other methods honest, and the digest of the
    run says all of what was trained.

    Paper and code. The public code goes on from the average of a DDPM of 200,000 steps, with a batch of 48 after one of 64 (one
    batch size for both here). Its command asks for a number of steps that is below those of the checkpoint, and so trains
    nothing; its evaluation expects 250,000 steps, from which `base_share` = 0.8 is taken.
    """

    name = "cbdm-finetune"
    summary = "cfg for most of the budget, then cbdm from its averaged weights, with a uniform second label"
    source = "Qin et al., CVPR 2023, arXiv 2305.00562; github.com/qym7/CBDM-pytorch, its fine-tuning mode"
    evidence = "code"
    cites = ("qin2023cbdm", "ho2022cfg")
    needs_process = ("ddpm", "it repeats the fine-tuning of a published DDPM; its share of the training is known for that alone")
    extra_forwards = "1 on 90 % of the steps after base_share"
    Settings = CBDMFinetuneSettings

    def base(self) -> tuple[Method, float]:
        """`cfg` with the same label drop."""
        drop = LabelDropSettings(label_drop=self.settings.label_drop, label_drop_unit=self.settings.label_drop_unit)
        return CFG(drop, self.problem), self.settings.base_share
