"""Whether scores that are there are what would be measured now."""

from collections.abc import Mapping
from pathlib import Path

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.files import file_sha256
from ltgen_bench.evaluation.evaluator import wanted_metrics
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.records.run_record import RunRecord


def still_current(score_folder: Path, config: EvaluateConfig, given: Mapping[str, Path]) -> bool:
    """Whether finished scores are what would be measured now: with those weights files of `given` that it uses, and by
    these metrics.

    A metric that was registered since, or raised its revision, makes them old (records that do not tell are taken as they
    are). So do a weights file of the user's that is not given any more, and ids that do not say which weights were trained.
    """
    record = RunRecord.load(score_folder)
    if record.metrics and record.metrics != revisions(config):
        return False
    given = {name: path for name, path in given.items() if name in config.extractors}
    if not all(record.extractor_weights.get(name) == file_sha256(path) for name, path in given.items()):
        return False
    return not any(_of_other_weights(record, name) for name in record.extractor_weights if name not in given)


def _of_other_weights(record: RunRecord, extractor: str) -> bool:
    """Whether what an extractor measured without a file of the user's would now have another id."""
    sha256 = record.extractor_weights[extractor]
    if extractor in PUBLISHED:
        return not sha256.startswith(PUBLISHED[extractor].sha256)
    if extractor in EXTRACTORS and EXTRACTORS[extractor].trained:
        return not all(str(described.get("weights")).endswith(sha256[:16]) for described in record.protocols.values()
                       if described.get("extractor") == extractor)
    return False


def revisions(config: EvaluateConfig) -> dict[str, int]:
    """The metrics that `config` asks for, each with its revision."""
    return {name: METRICS[name].revision for name in wanted_metrics(config)}
