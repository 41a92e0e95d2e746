"""Resampling: rare classes are drawn more often than they occur."""

from types import MappingProxyType

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ltgen_bench.methods import frequency
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.label_drop import LabelDropSettings


class ResampleSettings(LabelDropSettings):
    """The default draws every class equally often."""

    exponent: float = Field(0.0, ge=-10, le=10, description="a class of n images is drawn in proportion to n^exponent: 0 all "
                            "classes equally, 0.5 square root, 1 as they occur")
    brs: float = Field(1.0, gt=0, le=1, description="and to brs^(c / (K - 1)), c its rank from most to fewest images: CCUA's "
                       "batch resampling, 0.1 there; 1 is off")


class Resample(CFG):
    """The loss of `cfg` on batches in which class c has the relative frequency r_c, its images uniformly, with replacement:

        r_c = n_c^exponent brs^(rank_c / (K - 1))

    n_c is the number of training images and rank_c goes from 0 (most images) to K - 1. An exponent of 0 is class-balanced,
    which is the default; variant `square-root` is 0.5 (Mahajan et al., ECCV 2018, for classifiers); variant `brs` is the
    profile of CCUA (Chen et al., arXiv 2507.09052), which for class counts that fall exponentially with the factor IF equals
    the exponent ln brs / ln (1 / IF): at 100 the square root. An exponent of 1 draws no classes and is `cfg` itself.

    Between two classes of n and n' images an image of the first is seen (n / n')^(exponent - 1) times as often: at a factor of
    100 a tail image 10 times (square root) or 100 times (class-balanced) as often as a head image. Images without label are
    those of the same batches, so that "no label" means the resampled mixture of classes.

    Papers of this field name resampling as a baseline and give no complete recipe; so this one is ours.
    """

    name = "resample"
    summary = "cfg on batches in which rare classes are drawn more often: class-balanced, square root, or CCUA's profile"
    source = "ours; square root from Mahajan et al., ECCV 2018, batch resampling from Chen et al., arXiv 2507.09052"
    evidence = "ours"
    cites = ("ho2022cfg", "mahajan2018limits", "chen2025ccua")
    variants = MappingProxyType({"square-root": {"exponent": 0.5}, "brs": {"brs": 0.1}})
    Settings = ResampleSettings

    def class_weights(self) -> Float[Tensor, " K"] | None:
        """r_c; None where it would be n_c, so that every image comes once a round as in `cfg`."""
        if self.settings.exponent == 1 and self.settings.brs == 1:
            return None
        counts = self.problem.class_counts
        return frequency.power(counts, self.settings.exponent) * frequency.brs(counts, self.settings.brs)
