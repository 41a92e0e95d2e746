"""run(config): load -> train -> sample -> evaluate -> record. Whoever reads this file knows the program."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ltgen_bench.config.schema import ProcessConfig, RunConfig, TrainConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import only_writer
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.network import check_network, network_shape
from ltgen_bench.evaluation.evaluator import Origin, check_extractors, evaluate, fitted
from ltgen_bench.evaluation.presets import is_resolved
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.recipes import check_names
from ltgen_bench.experiments.workload import as_preset, long_stages, worth_training
from ltgen_bench.methods import METHODS, normalised, spelled_out
from ltgen_bench.methods.blame import blamed
from ltgen_bench.records.current import revisions
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.run_record import SCHEMA_VERSION, Entry, RunRecord, Stage
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.report.pictures import attempt
from ltgen_bench.report.sheets import loss_curve, sample_sheet
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.device import hardware, read_cost, stage_cost, versions
from ltgen_bench.runtime.distributed import Ranks
from ltgen_bench.sampling.draw import Sampling, check_sampling, guidance_of, sample
from ltgen_bench.sampling.samplers import check_sampler
from ltgen_bench.training.budgets import in_images
from ltgen_bench.training.checkpoint import checkpoint_path
from ltgen_bench.training.cost import flops_per_image
from ltgen_bench.training.loop import Snapshots, Trained, train
from ltgen_bench.training.trainer import resolve_precision


@dataclass(frozen=True)
class Plan:
    """A checked configuration with its data, and the folders that its digests name."""

    config: RunConfig
    dataset: LongTailDataset
    runs: Path

    @property
    def train_digest(self) -> str:
        return self.config.train_digest(self.dataset.fingerprint, METHODS[self.config.method.name].code_digest)

    @property
    def sample_digest(self) -> str:
        return self.config.sample_digest(self.train_digest)

    @property
    def score_digest(self) -> str:
        return self.config.score_digest(self.sample_digest)

    @property
    def folder(self) -> Path:
        """runs/<data set>/<method>-<train digest>-s<seed>"""
        name = f"{self.config.method.name}-{self.train_digest}-s{self.config.seed}"
        return self.runs / self.dataset.name / name

    @property
    def sample_folder(self) -> Path:
        return self.folder / "samples" / self.sample_digest

    @property
    def score_folder(self) -> Path:
        return self.folder / "scores" / self.score_digest

    @property
    def finished(self) -> bool:
        """Whether this very run has been made before."""
        return ScoreFiles(self.score_folder).exist

    @property
    def spelled_out(self) -> RunConfig:
        """The configuration with every setting of the method, also those at their defaults: what is printed and kept."""
        return self.config.model_copy(update={"method": spelled_out(self.config.method)})

    def trained_part(self) -> dict[str, Any]:
        """What decides the training, as config.toml of the run folder holds it."""
        parts = {"seed", "data", "network", "process", "method", "train"}
        return {**self.spelled_out.model_dump(mode="json", exclude_none=True, include=parts),
                "fingerprint": self.dataset.fingerprint}


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies, its record and its scores."""

    plan: Plan
    record: RunRecord
    scores: Scores


def carry_out(plan: Plan, context: RunContext, snapshots: Mapping[int, Path] = MappingProxyType({})) -> Run:
    """The stages of a plan, each continued or read where an earlier call left something.

    `snapshots` maps positions (images seen) to files for the averaged weights there, should training come by. Every process of
    the run calls this with the same plan and a device of its own, and all return the run.
    """
    ranks, progress = context.ranks, context.progress
    same_for_all(plan, ranks)
    # the main process looks: a disk of the network may show it to others later
    if ranks.from_main(lambda: ScoreFiles(plan.score_folder).are_current(context.extractor_weights, progress.say)):
        return read_run(plan)
    config, dataset, folder = plan.config, plan.dataset, plan.folder
    started = datetime.now(UTC)
    check_extractors(dataset, config.evaluate, context)
    if config.evaluate.half is not None:
        dataset.half(config.evaluate.half)  # refuses classes that are too small, before hours of training
    for sentence in long_stages(config, dataset) if ranks.is_main else ():
        progress.say(sentence)
    with ranks.only_on_main(only_writer(folder)), context.interruption:
        if ranks.is_main:
            RunFolder(folder).claim(plan.trained_part(), progress.say)
        there = checkpoint_path(folder / "train", config.train.budget_images).is_file()
        with ranks.only_on_main(stage_cost(folder / "train" / "cost.json", context.device, progress.say, done=there)):
            trained = train(config, dataset, folder / "train", context, Snapshots(snapshots))
            if ranks.is_main:
                attempt("the loss curve", partial(loss_curve, folder / "train" / "log.jsonl", folder / "train" / "loss.png"),
                        progress.say)
        result = measured(plan, trained, started, context)
        if ranks.is_main:
            result = replace(result, record=RunFolder(folder).keep(result.record, result.scores))
        ranks.barrier()
    return result if ranks.is_main else read_run(plan)


def same_for_all(plan: Plan, ranks: Ranks) -> None:
    """A `UserError` where processes see other data or another code, or do not share the disk of the runs."""
    digests = sorted(set(ranks.all_gather(plan.train_digest)))
    if len(digests) > 1:
        raise UserError(f"the processes of this run would train {len(digests)} different things ({', '.join(digests)}): their "
                        "data, or a file that one of them was given, differ; let --data-root and such files be on a common disk.")
    ranks.check_shared_folder(plan.runs)


@blamed
def measured(plan: Plan, trained: Trained, started: datetime, context: RunContext) -> Run:
    """Samples of `trained`, their scores and the record of it all, in the folders of the plan but for the record."""
    config, dataset, ranks, progress = plan.config, plan.dataset, context.ranks, context.progress
    drawn = (plan.sample_folder / "samples.npz").is_file()
    with ranks.only_on_main(stage_cost(plan.sample_folder / "cost.json", context.device, progress.say, done=drawn)):
        denoiser = trained.method.denoiser(trained.net, guidance_of(config.sample, dataset.num_classes, context.device))
        samples = sample(denoiser, Sampling(config.sample, dataset.image_shape, dataset.num_classes), plan.sample_folder, context)
        if ranks.is_main:
            attempt("the sheet of samples", partial(sample_sheet, samples.images, samples.labels, dataset.class_names,
                                                    dataset.class_counts, plan.sample_folder / "samples.png"), progress.say)
    with ranks.only_on_main(stage_cost(plan.score_folder / "cost.json", context.device, progress.say)):
        scores = evaluate(samples, dataset, config.evaluate, context,
                          Origin(config.sample, plan.sample_folder / "downstream"))
    return Run(plan, ranks.from_main(lambda: make_record(plan, trained, scores, started, context)), scores)


@blamed
def training_flops(plan: Plan, device: torch.device) -> float:
    """Floating-point operations of one training image, counted once for a run folder."""
    return RunFolder(plan.folder).flops_per_image(lambda: flops_per_image(plan.config, plan.dataset, device))


def make_plan(config: RunConfig, dataset: LongTailDataset, runs: Path, context: RunContext) -> Plan:
    """`config` with its method's settings in normal form, checked against the data. `UserError` where it cannot run.

    A budget in FLOPs or seconds becomes one in images, measured on this device where `runs` does not know it yet.
    """
    check_names(config)
    method = normalised(config.method)
    assert is_resolved(config.evaluate), "a plan has the evaluation settings of its preset (recipes.resolved_runs)"
    config = config.model_copy(update={"method": method, "evaluate": fitted(config.evaluate, dataset)})
    config = as_preset(config, dataset)
    check_sampler(config.sample.sampler, config.process.name)  # a preset expects one of its own
    if config.sample.omega > 0 and not METHODS[method.name].guidable():
        raise UserError(f"sample.omega: {config.sample.omega:g} needs a null label, and {method.name} trains none, so its omega "
                        "is 0; guidance for plain DDPM is the method 'cfg'.")
    check_network(network_shape(config.network), dataset.image_shape)
    check_sampling(worth_training(config, dataset.num_classes).sample, dataset.image_shape, dataset.num_classes)
    config = in_images(config, dataset, runs, context)
    return Plan(worth_training(config, dataset.num_classes), dataset, runs)


def read_run(plan: Plan) -> Run:
    """The record and scores of a finished run."""
    return Run(plan, *ScoreFiles(plan.score_folder).read())


def make_record(plan: Plan, trained: Trained, scores: Scores, started: datetime, context: RunContext) -> RunRecord:
    """Everything that a report needs beside the scores."""
    config, dataset = plan.config, plan.dataset
    processes = {"processes": context.ranks.size} if context.ranks.size > 1 else {}
    places = {"train": plan.folder / "train", "sample": plan.sample_folder, "evaluate": plan.score_folder}
    costs = {name: read_cost(place / "cost.json") for name, place in places.items()}
    costs["train"]["seconds"] = round(trained.seconds, 3)  # of the steps alone, interrupted sessions included
    stages = [Stage(name=name, **cost) for name, cost in costs.items()]  # type: ignore[arg-type]
    settings, augment = config.method.settings, config.train.augment
    told = {**settings, **({} if augment == TrainConfig().augment else {"augment": augment}),
            **({} if config.process == ProcessConfig() else {"process": config.process.name})}
    changed = ", ".join(f"{key}={value}" for key, value in told.items())
    entry = Entry(
        sampler=config.sample.sampler, steps=config.sample.steps, omega=config.sample.omega, sample_seed=config.sample.seed,
        images_per_class=config.sample.images_per_class, budget_images=trained.images_seen,
        batch_size=config.train.batch_size, network=config.network.preset, parameters=trained.net.parameter_count,
        precision=resolve_precision(config.train.precision, context.device), sample_precision=config.sample.precision,
        augment=augment, process=config.process.name, labels=config.sample.labels,
        train_flops_per_image=training_flops(plan, context.device))
    return RunRecord(
        schema_version=SCHEMA_VERSION, dataset=dataset.name, method=config.method.name, settings=settings,
        label=f"{config.method.name} ({changed})" if changed else config.method.name, seed=config.seed,
        train_digest=plan.train_digest, sample_digest=plan.sample_digest, score_digest=plan.score_digest,
        fingerprint=dataset.fingerprint, split="" if dataset.split is None else dataset.split.id, preset=scores.preset,
        departures=scores.departures, notes=scores.notes, imbalance_factor=dataset.imbalance_factor, profile=dataset.profile,
        class_names=list(dataset.class_names), class_counts=dataset.class_counts, groups=dataset.groups, entry=entry,
        protocols=scores.protocols, metrics=revisions(config.evaluate.metrics), extractor_weights=scores.extractor_weights,
        stages=stages, versions=versions(),
        hardware={**hardware(context.device), **processes}, deterministic=trained.exact,
        started=started.isoformat(timespec="seconds"), finished=datetime.now(UTC).isoformat(timespec="seconds"),
        config=plan.spelled_out.model_dump(mode="json"), command=context.command)
