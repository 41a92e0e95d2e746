"""Scoring samples that are there, of a finished run or of any other model: nothing is trained, and nothing is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ltgen_bench.config.schema import DataConfig, EvaluateConfig, RunConfig, SampleConfig, digest
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import only_writer
from ltgen_bench.core.words import file_name
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet, SampleSet
from ltgen_bench.evaluation.evaluator import Origin, check_extractors, check_samples, evaluate, fitted
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.records.current import revisions
from ltgen_bench.records.published import method_key
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.run_record import Entry, RunRecord, Stage
from ltgen_bench.records.run_samples import RunSamples
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.records.store import stored_in
from ltgen_bench.report.pictures import attempt
from ltgen_bench.report.sheets import sample_sheet
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.device import hardware, read_cost, stage_cost, versions


@dataclass(frozen=True)
class Handed:
    """Images that were not drawn here: `samples` of another model, or a `reference` row of real or trivial images.

    `seed` is what tells repetitions apart: of their training, or of the draw of a reference row. `labels` says how their
    labels were drawn, `data` which data set they are judged against.
    """

    name: str
    images: ImageSet
    data: DataConfig
    kind: Literal["samples", "reference"] = "samples"
    seed: int = 0
    labels: Literal["balanced", "uniform"] = "balanced"

    @cached_property
    def content(self) -> str:
        """8 hex digits over images and labels, whatever order they came in and wherever they lay."""
        return canonical(self.images).content_hash()[:8]

    @property
    def sample_digest(self) -> str:
        return digest({"content": self.content, "name": self.name, "seed": self.seed, "labels": self.labels})

    def folder(self, runs: Path, dataset: LongTailDataset) -> Path:
        """runs/<data set>/<name>-<content>, where records of runs lie too."""
        return runs / dataset.name / f"{file_name(self.name)}-{self.content}"

    def config(self, rule: EvaluateConfig) -> RunConfig:
        """A configuration that holds what is known: the data and the measurement."""
        return RunConfig(data=self.data, evaluate=rule)

    def place(self, folder: Path, rule: EvaluateConfig, dataset: LongTailDataset) -> Path:
        """Where scores of these images by `rule` lie in `folder`: by what images they are judged against, whatever its name is.

        Scores from before the data were in the digest are taken where their record is of the same data.
        """
        earlier = folder / "scores" / self.config(rule).score_digest(self.sample_digest)
        if any(one.files is not None and one.files.folder == earlier and one.record is not None
               and one.record.fingerprint == dataset.fingerprint for one in stored_in(RunFolder(folder))):
            return earlier
        judged = digest({"samples": self.sample_digest, "data": dataset.fingerprint})
        return folder / "scores" / self.config(rule).score_digest(judged)


@dataclass(frozen=True)
class Rescored:
    """Samples with their scores under one rule; `known` says that these were there before."""

    folder: RunFolder
    record: RunRecord
    scores: Scores
    known: bool


def rescore(drawn: RunSamples, rules: Sequence[EvaluateConfig], dataset: LongTailDataset, context: RunContext) -> list[Rescored]:
    """Score `drawn` under each of `rules` (`presets.rules_of`), into the run's folder of that score digest.

    A finished score is read. Raises `UserError` where `dataset` is not what the run was made with, and as `evaluate`
    does; every rule is checked before the first is measured.
    """
    if dataset.fingerprint != drawn.record.fingerprint:
        raise UserError(f"the images of {dataset.name} are not those that {drawn.folder.name} was made with: fingerprint "
                        f"{drawn.record.fingerprint} there, {dataset.fingerprint} now.")
    rules = list(dict.fromkeys(fitted(rule, dataset) for rule in rules))
    known = [_finished(_score_folder(drawn, rule), context) for rule in rules]
    for rule, there in zip(rules, known, strict=True):
        if not there:
            check_extractors(dataset, rule, context)
    return [_read(drawn, rule) if there else _measured(drawn, rule, dataset, context)
            for rule, there in zip(rules, known, strict=True)]


def _score_folder(drawn: RunSamples, rule: EvaluateConfig) -> Path:
    config = drawn.config.model_copy(update={"evaluate": rule})
    return drawn.folder.scores(config.score_digest(drawn.record.sample_digest)).folder


def _finished(folder: Path, context: RunContext) -> bool:
    return ScoreFiles(folder).are_current(context.extractor_weights, context.progress.say)


def _read(drawn: RunSamples, rule: EvaluateConfig) -> Rescored:
    place = _score_folder(drawn, rule)
    return Rescored(drawn.folder, *ScoreFiles(place).read(), known=True)


def _measured(drawn: RunSamples, rule: EvaluateConfig, dataset: LongTailDataset, context: RunContext) -> Rescored:
    place, started = _score_folder(drawn, rule), datetime.now(UTC)
    config = drawn.config.model_copy(update={"evaluate": rule})
    with drawn.folder.lock(), context.interruption:
        with stage_cost(place / "cost.json", context.device, context.progress.say):
            samples = SampleSet.load(drawn.files.images)
            scores = evaluate(samples, dataset, rule, context, Origin(config.sample, drawn.files.downstream))
        earlier = [stage for stage in drawn.record.stages if stage.name != "evaluate"]
        record = drawn.record.model_copy(update={
            "score_digest": place.name, "preset": scores.preset, "departures": scores.departures, "notes": scores.notes,
            "protocols": scores.protocols, "metrics": revisions(rule.metrics), "extractor_weights": scores.extractor_weights,
            "versions": versions(),
            "stages": [*earlier, Stage(name="evaluate", **read_cost(place / "cost.json"))], "hardware": hardware(context.device),
            "started": started.isoformat(timespec="seconds"), "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config.model_dump(mode="json"), "command": context.command})
        record = drawn.folder.keep(record, scores)
    return Rescored(drawn.folder, record, scores, known=False)


def score_handed(handed: Handed, rules: Sequence[EvaluateConfig], dataset: LongTailDataset, runs: Path,
                 context: RunContext) -> list[Rescored]:
    """Score images from elsewhere under each of `rules`, into a folder under `runs` where reports find them.

    Finished scores of the same images are read. Raises `UserError` as `evaluate` does, and where the same images are there
    under another seed: repetitions are to differ.
    """
    check_samples(handed.images, dataset, every_class=handed.labels == "balanced")
    rules = list(dict.fromkeys(fitted(rule, dataset) for rule in rules))
    folder = handed.folder(runs, dataset)
    if handed.kind == "samples" and folder.is_dir():
        seed = next((one.record.seed for one in stored_in(RunFolder(folder)) if one.record is not None), handed.seed)
        if seed != handed.seed:
            raise UserError(f"--seed {handed.seed}: these very images are there as seed {seed} ({folder}), and images of another "
                            f"seed are others; remove that first (ltgen-bench runs rm {folder.name}) where it was a mistake.")
    places = [handed.place(folder, rule, dataset) for rule in rules]
    known = [_finished(place, context) for place in places]
    for rule, there in zip(rules, known, strict=True):
        if not there:
            check_extractors(dataset, rule, context)
    return [Rescored(RunFolder(folder), *ScoreFiles(place).read(), known=True) if there else
            _score(handed, rule, dataset, place, context)
            for place, rule, there in zip(places, rules, known, strict=True)]


def _score(handed: Handed, rule: EvaluateConfig, dataset: LongTailDataset, place: Path, context: RunContext) -> Rescored:
    started, folder = datetime.now(UTC), place.parent.parent
    work = folder / "samples" / handed.sample_digest
    with only_writer(folder), context.interruption:
        with stage_cost(place / "cost.json", context.device, context.progress.say):
            scores = evaluate(handed.images, dataset, rule, context,
                              Origin(SampleConfig(labels=handed.labels), work / "downstream"))
        attempt("the sheet of samples", partial(sample_sheet, handed.images.images, handed.images.labels, dataset.class_names,
                                                dataset.class_counts, work / "samples.png"), context.progress.say)
        values = {**_facts(handed, dataset), "score_digest": place.name, "preset": scores.preset,
                  "departures": scores.departures, "notes": scores.notes, "protocols": scores.protocols,
                  "metrics": revisions(rule.metrics), "extractor_weights": scores.extractor_weights, "versions": versions(),
                  "hardware": hardware(context.device),
                  "stages": [Stage(name="evaluate", **read_cost(place / "cost.json"))], "command": context.command,
                  "started": started.isoformat(timespec="seconds"), "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                  "config": {"data": handed.data.model_dump(mode="json"), "evaluate": rule.model_dump(mode="json")}}
        record = RunRecord(**values)
        record = RunFolder(folder).keep(record, scores)
    return Rescored(RunFolder(folder), record, scores, known=False)


def _facts(handed: Handed, dataset: LongTailDataset) -> dict[str, Any]:
    """What a record says of the images and the data; of a training there is nothing to say."""
    counts = set(np.bincount(handed.images.labels, minlength=dataset.num_classes).tolist())
    entry = Entry(sampler=None, steps=None, omega=None, sample_seed=None, images_per_class=counts.pop() if len(counts) == 1 else
                  None, budget_images=None, batch_size=None, network=None, parameters=None, precision=None,
                  sample_precision=None, augment=None, labels=handed.labels)
    return {"kind": handed.kind, "dataset": dataset.name, "method": method_key(handed.name, 0.0), "settings": {},
            "label": handed.name, "seed": handed.seed, "train_digest": digest({"samples": handed.name}),
            "sample_digest": handed.sample_digest, "fingerprint": dataset.fingerprint,
            "split": "" if dataset.split is None else dataset.split.id, "imbalance_factor": dataset.imbalance_factor,
            "profile": dataset.profile, "class_names": list(dataset.class_names), "class_counts": dataset.class_counts,
            "groups": dataset.groups, "entry": entry, "deterministic": None}
