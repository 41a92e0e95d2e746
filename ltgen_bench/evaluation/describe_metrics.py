"""Descriptions of metrics and extractors for listings. Imports no torch."""

from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS

SMALL_SAMPLE_MARK = "°"  # at a value of too few images
ARROWS = {"lower": "↓", "higher": "↑", "": ""}


def arrow(direction: str, target: float | None = None) -> str:
    """Return the direction of a metric: an arrow, or the value that is best: `≈ 1`, `≈ real`."""
    if direction == "nearest":
        return "≈ real" if target is None else f"≈ {target:g}"
    return ARROWS[direction]


def describe_metrics() -> list[dict[str, str]]:
    """One mapping a metric: name, title, better (an arrow, or what it is best nearest to), scopes, needs, summary, enough (images
    below which a value is marked, and why), source."""
    return [{"name": metric.name, "title": metric.title, "better": arrow(metric.direction, metric.target),
             "scopes": ", ".join(metric.scopes), "needs": ", ".join(metric.needs),
             "summary": metric.summary + ("; on request (--metrics)" if metric.on_request else ""), "enough": metric.enough.why,
             "source": metric.source}
            for metric in (METRICS[name] for name in METRICS)]


def describe_extractors() -> list[dict[str, str]]:
    """One mapping an extractor: name, title, summary, source."""
    return [{"name": kind.name, "title": kind.title, "summary": kind.summary, "source": kind.source}
            for kind in (EXTRACTORS[name] for name in EXTRACTORS)]
