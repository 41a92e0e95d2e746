"""Scoring the samples of a finished run again, under other rules: nothing is trained, and nothing is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from ltgen_bench.config import EvaluateConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import SampleSet
from ltgen_bench.drawn import Drawn
from ltgen_bench.errors import UserError
from ltgen_bench.evaluation.evaluate import check_extractors, evaluate, fitted, weights_for
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.files import only_writer
from ltgen_bench.interrupt import Interruption
from ltgen_bench.machine import exact_float32, hardware, read_cost, stage_cost, versions
from ltgen_bench.pipeline import NO_WEIGHTS, keep, same_weights
from ltgen_bench.progress import SILENT, Progress
from ltgen_bench.records.schema import RECORD_FILE, RunRecord, Stage


@dataclass(frozen=True)
class Rescored:
    """Samples with their scores under one rule; `known` says that these were there before."""

    drawn: Drawn
    record: RunRecord
    scores: Scores
    known: bool


def rescore(drawn: Drawn, rules: Sequence[EvaluateConfig], dataset: LongTailDataset, *, device: torch.device,
            extractor_weights: Mapping[str, Path] = NO_WEIGHTS, progress: Progress = SILENT,
            command: str = "") -> list[Rescored]:
    """Score `drawn` under each of `rules` (`presets.rules_of`), into the run's folder of that score digest.

    A finished score is read. Raises `UserError` where `dataset` is not what the run was made with, and as `evaluate`
    does; every rule is checked before the first is measured.
    """
    if dataset.fingerprint != drawn.record.fingerprint:
        raise UserError(f"the images of {dataset.name} are not those that {drawn.folder.name} was made with: fingerprint "
                        f"{drawn.record.fingerprint} there, {dataset.fingerprint} now.")
    rules = list(dict.fromkeys(fitted(rule, dataset) for rule in rules))
    files = weights_for(rules, extractor_weights)
    known = [_finished(drawn, rule, own) for rule, own in zip(rules, files, strict=True)]
    for rule, own, there in zip(rules, files, known, strict=True):
        if not there:
            check_extractors(dataset, rule, extractor_weights=own, progress=progress)
    return [_read(drawn, rule) if there else _measured(drawn, rule, dataset, device, own, progress, command)
            for rule, own, there in zip(rules, files, known, strict=True)]


def _score_folder(drawn: Drawn, rule: EvaluateConfig) -> Path:
    config = drawn.config.model_copy(update={"evaluate": rule})
    return drawn.folder / "scores" / config.score_digest(drawn.record.sample_digest)


def _finished(drawn: Drawn, rule: EvaluateConfig, weights: Mapping[str, Path]) -> bool:
    folder = _score_folder(drawn, rule)
    return (folder / RECORD_FILE).is_file() and same_weights(folder, weights)


def _read(drawn: Drawn, rule: EvaluateConfig) -> Rescored:
    place = _score_folder(drawn, rule)
    return Rescored(drawn, RunRecord.load(place), Scores.load(place / "scores.csv"), known=True)


def _measured(drawn: Drawn, rule: EvaluateConfig, dataset: LongTailDataset, device: torch.device, weights: Mapping[str, Path],
              progress: Progress, command: str) -> Rescored:
    place, started = _score_folder(drawn, rule), datetime.now(UTC)
    exact_float32(device)
    config = drawn.config.model_copy(update={"evaluate": rule})
    with only_writer(drawn.folder), Interruption():
        with stage_cost(place / "cost.json", device):
            samples = SampleSet.load(drawn.sample_folder / "samples.npz")
            scores = evaluate(samples, dataset, rule, device=str(device), work=drawn.sample_folder / "downstream",
                              extractor_weights=weights, progress=progress, sampling=config.sample)
        earlier = [stage for stage in drawn.record.stages if stage.name != "evaluate"]
        record = drawn.record.model_copy(update={
            "score_digest": place.name, "preset": scores.preset, "departures": scores.departures,
            "protocols": scores.protocols, "extractor_weights": scores.extractor_weights, "versions": versions(),
            "stages": [*earlier, Stage(name="evaluate", **read_cost(place / "cost.json"))], "hardware": hardware(device),
            "started": started.isoformat(timespec="seconds"), "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config.model_dump(mode="json"), "command": command})
        keep(drawn.folder, record, scores)
    return Rescored(drawn, record, scores, known=False)
