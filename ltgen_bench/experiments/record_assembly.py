"""The one place where a record is assembled: from the facts of the samples and from their measurement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.current import revisions
from ltgen_bench.records.run_record import RunRecord, Stage
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.device import hardware, read_cost, versions


@dataclass(frozen=True)
class Measurement:
    """Scores under `settings`, begun at `started`. `files` are those of the scores; the cost of the evaluation is there."""

    scores: Scores
    settings: EvaluateConfig
    files: ScoreFiles
    started: datetime


def assemble_record(facts: Mapping[str, Any], measured: Measurement, context: RunContext) -> RunRecord:
    """Assemble the record of scores.

    `facts` has the fields of the record that are known before the measurement: kind, data set, method, label, seed, digests of
    training and samples, entry, stages before the evaluation, and the configuration of these.
    """
    scores, settings = measured.scores, measured.settings
    processes = {"processes": context.ranks.size} if context.ranks.size > 1 else {}
    return RunRecord(**{
        **facts, "score_digest": measured.files.folder.name, "preset": scores.preset, "departures": scores.departures,
        "notes": scores.notes, "protocols": scores.protocols, "metrics": revisions(settings.metrics),
        "extractor_weights": scores.extractor_weights,
        "stages": [*facts["stages"], Stage(name="evaluate", **read_cost(measured.files.cost))],
        "versions": versions(), "hardware": {**hardware(context.device), **processes},
        "started": measured.started.isoformat(timespec="seconds"), "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {**facts["config"], "evaluate": settings.model_dump(mode="json")}, "command": context.command, "vouched": None})


def data_facts(dataset: LongTailDataset) -> dict[str, Any]:
    """The fields of a record that say what data the samples are compared with."""
    return {"dataset": dataset.name, "fingerprint": dataset.fingerprint,
            "split": "" if dataset.split is None else dataset.split.id, "imbalance_factor": dataset.imbalance_factor,
            "profile": dataset.profile, "class_names": list(dataset.class_names), "class_counts": dataset.class_counts,
            "groups": dataset.groups}
