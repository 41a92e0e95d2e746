"""METRICS: every metric by name. A new one is a file of this folder and a line here, or an entry point of the group
`ltgen_bench.metrics` in an installed package; the contract tests cover those of this folder."""

from typing import Any

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.registry import Registry, an_instance
from ltgen_bench.evaluation.metrics.metric import FeatureSet, Metric, Result, Settings


def _checked(entry: Any, name: str, where: str) -> Metric:
    """A metric of an installed package. Raises `UserError` for what is none, or has a setting that protocols know otherwise."""
    from ltgen_bench.evaluation.protocol import Protocol  # which imports this module

    metric = an_instance(Metric)(entry, name, where)
    taken = metric.settings.described().keys() & Protocol.model_fields.keys()
    if taken:
        raise UserError(f"{where}: its setting '{min(taken)}' has the name of another field of protocols; call it otherwise.")
    return metric


METRICS: Registry[Metric] = Registry("metric", "metrics", "ltgen_bench.metrics", _checked)
for _name, _place in (
        ("fid", "fid:FID"), ("fid_excess", "fid_excess:FID_EXCESS"), ("is", "inception_score:INCEPTION_SCORE"),
        ("kid", "kid:KID"), ("cmmd", "cmmd:CMMD"), ("precision", "neighbours:PRECISION"), ("recall", "neighbours:RECALL"),
        ("density", "neighbours:DENSITY"), ("coverage", "neighbours:COVERAGE"), ("prd_f8", "prd:PRD_F8"),
        ("prd_f1_8", "prd:PRD_F1_8"), ("diversity", "diversity:DIVERSITY"), ("vendi", "vendi:VENDI"),
        ("memorised", "memorisation:MEMORISED"), ("near_copies", "memorisation:NEAR_COPIES"),
        ("label_accuracy", "accuracy:LABEL_ACCURACY"), ("downstream_accuracy", "accuracy:DOWNSTREAM_ACCURACY"),
        ("downstream_recall", "accuracy:DOWNSTREAM_RECALL")):
    METRICS.add(_name, f"{__name__}.{_place}")


def default_metrics() -> tuple[str, ...]:
    """The metrics that are measured where none is named: all but those on request."""
    return tuple(name for name in METRICS if not METRICS[name].on_request)


__all__ = ["METRICS", "FeatureSet", "Metric", "Result", "Settings", "default_metrics"]
