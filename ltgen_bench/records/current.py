"""Check whether scores are what would be measured now."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ltgen_bench.core.files import file_sha256
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.metrics import METRICS, default_metrics
from ltgen_bench.records.run_record import RunRecord


def outdated(record: RunRecord, weights: Mapping[str, Path] | None = None) -> bool:
    """Return whether the metrics or extractor weights of a record differ from those of today.

    Scores are outdated where a metric was registered since or has a higher revision (records without revisions are accepted),
    and where ids lack the digest of weights that were trained here. With `weights`, the user's files, also where the record's
    weights are neither in these files nor published; with None these are unknown.
    """
    names = record.config.get("evaluate", {}).get("metrics")
    if record.metrics and record.metrics != revisions(names):
        return True
    given = {name: path for name, path in (weights or {}).items() if name in record.extractor_weights}
    if any(record.extractor_weights[name] != file_sha256(path) for name, path in given.items()):
        return True
    return any(_of_other_weights(record, name, published=weights is not None)
               for name in record.extractor_weights if name not in given)


def _of_other_weights(record: RunRecord, extractor: str, published: bool) -> bool:
    """Return whether scores of an extractor without a file of the user's would now have another protocol id."""
    sha256 = record.extractor_weights[extractor]
    if extractor in PUBLISHED:
        return published and not sha256.startswith(PUBLISHED[extractor].sha256)
    if extractor in EXTRACTORS and EXTRACTORS[extractor].trained:
        return not all(str(described.get("weights")).endswith(sha256[:16]) for described in record.protocols.values()
                       if described.get("extractor") == extractor)
    return False


def revisions(metrics: Sequence[str] | None) -> dict[str, int]:
    """Return name -> revision of these metrics; None: of the metrics that are measured by default."""
    return {name: METRICS[name].revision for name in (default_metrics() if metrics is None else metrics) if name in METRICS}
