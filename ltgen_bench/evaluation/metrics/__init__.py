"""METRICS: every metric by name. A new one is a file of this folder and a line here; the contract tests cover it."""

from ltgen_bench.evaluation.metrics.accuracy import DOWNSTREAM_ACCURACY, DOWNSTREAM_RECALL, LABEL_ACCURACY
from ltgen_bench.evaluation.metrics.base import Metric, Result, Settings, Side
from ltgen_bench.evaluation.metrics.fid import FID
from ltgen_bench.evaluation.metrics.inception_score import INCEPTION_SCORE
from ltgen_bench.evaluation.metrics.kid import KID
from ltgen_bench.evaluation.metrics.neighbours import COVERAGE, DENSITY, PRECISION, RECALL
from ltgen_bench.registry import Registry

METRICS: Registry[Metric] = Registry("metric", "metrics")
for _metric in (FID, INCEPTION_SCORE, KID, PRECISION, RECALL, DENSITY, COVERAGE, LABEL_ACCURACY, DOWNSTREAM_ACCURACY,
                DOWNSTREAM_RECALL):
    METRICS.add(_metric.name, _metric)

__all__ = ["METRICS", "Metric", "Result", "Settings", "Side"]
