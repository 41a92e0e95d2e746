"""What can be measured, in words, for listings. Imports no torch."""

from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS

ARROWS = {"lower": "↓", "higher": "↑"}


def describe_metrics() -> list[dict[str, str]]:
    """One mapping a metric: name, title, better (an arrow), scopes, needs, summary, source."""
    return [{"name": metric.name, "title": metric.title, "better": ARROWS[metric.direction],
             "scopes": ", ".join(metric.scopes), "needs": ", ".join(metric.needs),
             "summary": metric.summary + ("; on request (--metrics)" if metric.on_request else ""), "source": metric.source}
            for metric in (METRICS[name] for name in METRICS)]


def describe_extractors() -> list[dict[str, str]]:
    """One mapping an extractor: name, title, summary, source."""
    return [{"name": kind.name, "title": kind.title, "summary": kind.summary, "source": kind.source}
            for kind in (EXTRACTORS[name] for name in EXTRACTORS)]
