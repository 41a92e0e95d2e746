"""Scoring samples that exist: those of a finished run, or external samples. Nothing is trained or drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ltgen_bench.config.schema import DataConfig, EvaluateConfig, RunConfig, SampleConfig, digest
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet, SampleSet
from ltgen_bench.evaluation.evaluator import Origin, check_extractors, check_samples, evaluate, with_available_reference
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.experiments.record_assembly import assemble_record, data_facts
from ltgen_bench.records.published import method_key
from ltgen_bench.records.run_folder import RunFolder, SampleFiles
from ltgen_bench.records.run_record import Entry, RunRecord
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.records.store import RunSamples, stored_in
from ltgen_bench.report.sheets import draw_sample_sheet
from ltgen_bench.runtime.context import RunContext


@dataclass(frozen=True)
class ExternalSamples:
    """Images that this package did not draw: `samples` of another model, or a `reference` row of real or trivial images.

    `seed` distinguishes repetitions: of the training of that model, or of the draw of a reference row. `labels` says how the
    labels were drawn, `data` with which data set the images are compared.
    """

    name: str
    images: ImageSet
    data: DataConfig
    kind: Literal["samples", "reference"] = "samples"
    seed: int = 0
    labels: Literal["balanced", "uniform"] = "balanced"

    @cached_property
    def content(self) -> str:
        """8 hex digits over images and labels, independent of their order and of where they lie."""
        return canonical(self.images).content_hash()[:8]

    @property
    def sample_digest(self) -> str:
        return digest({"content": self.content, "name": self.name, "seed": self.seed, "labels": self.labels})

    def scores(self, folder: RunFolder, dataset: LongTailDataset, settings: EvaluateConfig) -> ScoreFiles:
        """The files of the scores under `settings`, by the content of `dataset`, whatever its name is.

        An earlier version had the name of the data set in the digest: its scores are taken where their record has these data.
        """
        config = RunConfig(data=self.data, evaluate=settings)
        earlier = folder.scores(config.score_digest(self.sample_digest))
        record = earlier.readable_record()
        if record is not None and record.fingerprint == dataset.fingerprint:
            return earlier
        return folder.scores(config.score_digest(digest({"samples": self.sample_digest, "data": dataset.fingerprint})))

    def facts(self, dataset: LongTailDataset) -> dict[str, Any]:
        """The fields of a record that are known before a measurement; nothing is known of a training."""
        counts = set(np.bincount(self.images.labels, minlength=dataset.num_classes).tolist())
        entry = Entry(sampler=None, steps=None, omega=None, sample_seed=None, budget_images=None, batch_size=None, network=None,
                      parameters=None, precision=None, sample_precision=None, augment=None, labels=self.labels,
                      images_per_class=counts.pop() if len(counts) == 1 else None)
        return {"kind": self.kind, "method": method_key(self.name, 0.0), "settings": {}, "label": self.name, "seed": self.seed,
                "train_digest": digest({"samples": self.name}), "sample_digest": self.sample_digest, "entry": entry,
                "deterministic": None, "stages": [], "config": {"data": self.data.model_dump(mode="json")},
                **data_facts(dataset)}


@dataclass(frozen=True)
class Rescored:
    """Samples with their scores under one set of settings; `known` says that these were there before."""

    folder: RunFolder
    record: RunRecord
    scores: Scores
    known: bool


@dataclass(frozen=True)
class _Stored:
    """Samples that exist, wherever they are from."""

    folder: RunFolder
    files: SampleFiles
    load: Callable[[], ImageSet]
    sampling: SampleConfig
    facts: dict[str, Any]  # fields of their records
    scores: Callable[[EvaluateConfig], ScoreFiles]


def rescore(samples: RunSamples, settings: Sequence[EvaluateConfig], dataset: LongTailDataset,
            context: RunContext) -> list[Rescored]:
    """Score the samples of a run under each of `settings`, into the folders of the score digests in the run's folder.

    Finished scores are read. Raises `UserError` where `dataset` is not the one of the run, and as `evaluate` does; all settings
    are checked before the first measurement.
    """
    record, config = samples.record, samples.config
    if dataset.fingerprint != record.fingerprint:
        raise UserError(f"the images of {dataset.name} are not those that {samples.folder.name} was made with: fingerprint "
                        f"{record.fingerprint} there, {dataset.fingerprint} now.")
    facts = {**dict(record), "stages": [stage for stage in record.stages if stage.name != "evaluate"],
             "config": config.model_dump(mode="json")}

    def scores(one: EvaluateConfig) -> ScoreFiles:
        return samples.folder.scores(config.model_copy(update={"evaluate": one}).score_digest(record.sample_digest))

    return _score(_Stored(samples.folder, samples.files, partial(SampleSet.load, samples.files.images), config.sample, facts,
                          scores), settings, dataset, context)


def score_external(samples: ExternalSamples, settings: Sequence[EvaluateConfig], dataset: LongTailDataset, runs: Path,
                   context: RunContext) -> list[Rescored]:
    """Score external samples under each of `settings`, into a folder under `runs` where reports find them.

    Finished scores of the same images are read. Raises `UserError` as `evaluate` does, and where the same images were scored
    under another seed: repetitions have different images.
    """
    check_samples(samples.images, dataset, every_class=samples.labels == "balanced")
    folder = RunFolder.of_external(runs, dataset.name, samples.name, samples.content)
    if samples.kind == "samples":
        seed = next((one.record.seed for one in stored_in(folder) if one.record is not None), samples.seed)
        if seed != samples.seed:
            raise UserError(f"--seed {samples.seed}: these very images are there as seed {seed} ({folder}), and another seed has "
                            f"other images; remove that first (ltgen-bench runs rm {folder.name}) where it was a mistake.")
    return _score(_Stored(folder, folder.samples(samples.sample_digest), lambda: samples.images,
                          SampleConfig(labels=samples.labels), samples.facts(dataset),
                          partial(samples.scores, folder, dataset)), settings, dataset, context)


def _score(samples: _Stored, settings: Sequence[EvaluateConfig], dataset: LongTailDataset, context: RunContext) -> list[Rescored]:
    distinct = {one: samples.scores(one) for one in (with_available_reference(own, dataset) for own in settings)}
    known = {one: files.are_current(context.extractor_weights, context.progress.say) for one, files in distinct.items()}
    for one, there in known.items():
        if not there:
            check_extractors(dataset, one, context)
    return [Rescored(samples.folder, *(files.read() if known[one] else _measured(samples, one, files, dataset, context)),
                     known=known[one]) for one, files in distinct.items()]


def _measured(samples: _Stored, settings: EvaluateConfig, files: ScoreFiles, dataset: LongTailDataset,
              context: RunContext) -> tuple[RunRecord, Scores]:
    started = datetime.now(UTC)
    with context.exclusively(samples.folder.lock()):
        with context.timed(files.cost):
            images = samples.load()
            scores = evaluate(images, dataset, settings, context, Origin(samples.sampling, samples.files.downstream))
        if not samples.files.sheet.is_file():
            draw_sample_sheet(images, dataset.class_names, dataset.class_counts, samples.files.sheet, context.progress.say)
        record = assemble_record(samples.facts, settings, scores, files, started, context)
        return samples.folder.keep(record, scores), scores
