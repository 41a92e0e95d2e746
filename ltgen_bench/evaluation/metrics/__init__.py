"""METRICS: every metric by name. A new one is a file of this folder and a line here; the contract tests cover it."""

from ltgen_bench.core.registry import Registry
from ltgen_bench.evaluation.metrics.accuracy import DOWNSTREAM_ACCURACY, DOWNSTREAM_RECALL, LABEL_ACCURACY
from ltgen_bench.evaluation.metrics.cmmd import CMMD
from ltgen_bench.evaluation.metrics.diversity import DIVERSITY
from ltgen_bench.evaluation.metrics.fid import FID
from ltgen_bench.evaluation.metrics.fid_excess import FID_EXCESS
from ltgen_bench.evaluation.metrics.inception_score import INCEPTION_SCORE
from ltgen_bench.evaluation.metrics.kid import KID
from ltgen_bench.evaluation.metrics.memorisation import MEMORISED, NEAR_COPIES
from ltgen_bench.evaluation.metrics.metric import Metric, Result, Settings, Side
from ltgen_bench.evaluation.metrics.neighbours import COVERAGE, DENSITY, PRECISION, RECALL
from ltgen_bench.evaluation.metrics.prd import PRD_F1_8, PRD_F8
from ltgen_bench.evaluation.metrics.vendi import VENDI

METRICS: Registry[Metric] = Registry("metric", "metrics")
for _metric in (FID, FID_EXCESS, INCEPTION_SCORE, KID, CMMD, PRECISION, RECALL, DENSITY, COVERAGE, PRD_F8, PRD_F1_8, DIVERSITY,
                VENDI, MEMORISED, NEAR_COPIES, LABEL_ACCURACY, DOWNSTREAM_ACCURACY, DOWNSTREAM_RECALL):
    METRICS.add(_metric.name, _metric)

DEFAULT = tuple(name for name in METRICS if not METRICS[name].on_request)  # what is measured where no metric is named

__all__ = ["DEFAULT", "METRICS", "Metric", "Result", "Settings", "Side"]
