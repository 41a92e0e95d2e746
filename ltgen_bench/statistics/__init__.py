"""Statistics of recorded scores: what the seeds of one task show, and what several tasks show. Imports no torch.

`fit` the scores of one measurement, then `compare` its entries.
"""

from ltgen_bench.statistics.scale import Scale, scale_of
from ltgen_bench.statistics.seed_model import SeedModel, fit
from ltgen_bench.statistics.verdicts import Comparison, Difference, Rank, compare

__all__ = ["Comparison", "Difference", "Rank", "Scale", "SeedModel", "compare", "fit", "scale_of"]
