"""The one place where a record is assembled: from the facts of the samples and from their measurement."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ltgen_bench.config.schema import EvaluateConfig, ProcessConfig, TrainConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.plan import Plan
from ltgen_bench.methods.blame import blamed
from ltgen_bench.records.run_record import Entry, RunRecord, Stage
from ltgen_bench.records.score_files import ScoreFiles, revisions
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.device import hardware, read_cost, versions
from ltgen_bench.training.cost import flops_per_image
from ltgen_bench.training.loop import Trained
from ltgen_bench.training.trainer import resolve_precision


def assemble_record(facts: Mapping[str, Any], settings: EvaluateConfig, scores: Scores, files: ScoreFiles, started: datetime,
                    context: RunContext) -> RunRecord:
    """Assemble the record of scores under `settings`, begun at `started`. The cost of the evaluation is among their `files`.

    `facts` has the fields of the record that are known before the measurement: kind, data set, method, label, seed, digests of
    training and samples, entry, stages before the evaluation, and the configuration of these.
    """
    processes = {"processes": context.ranks.size} if context.ranks.size > 1 else {}
    return RunRecord(**{
        **facts, "score_digest": files.folder.name, "preset": scores.preset, "departures": scores.departures,
        "notes": scores.notes, "protocols": scores.protocols, "metrics": revisions(settings.metrics),
        "extractor_weights": scores.extractor_weights,
        "stages": [*facts["stages"], Stage(name="evaluate", **read_cost(files.cost))],
        "versions": versions(), "hardware": {**hardware(context.device), **processes},
        "started": started.isoformat(timespec="seconds"), "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {**facts["config"], "evaluate": settings.model_dump(mode="json")}, "command": context.command, "vouched": None})


def data_facts(dataset: LongTailDataset) -> dict[str, Any]:
    """The fields of a record that say what data the samples are compared with."""
    return {"dataset": dataset.name, "fingerprint": dataset.fingerprint,
            "split": "" if dataset.split is None else dataset.split.id, "imbalance_factor": dataset.imbalance_factor,
            "profile": dataset.profile, "class_names": list(dataset.class_names), "class_counts": dataset.class_counts,
            "groups": dataset.groups}


def run_facts(plan: Plan, trained: Trained, context: RunContext) -> dict[str, Any]:
    """The fields of a record of a run that are known when its samples are drawn."""
    config, settings, augment = plan.config, plan.config.method.settings, plan.config.train.augment
    train, sample = read_cost(plan.folder.train_cost), read_cost(plan.samples.cost)
    train["seconds"] = round(trained.seconds, 3)  # of the steps alone, interrupted sessions included
    told = {**settings, **({} if augment == TrainConfig().augment else {"augment": augment}),
            **({} if config.process == ProcessConfig() else {"process": config.process.name})}
    changed = ", ".join(f"{key}={value}" for key, value in told.items())
    entry = Entry(
        sampler=config.sample.sampler, steps=config.sample.steps, omega=config.sample.omega, sample_seed=config.sample.seed,
        images_per_class=config.sample.images_per_class, budget_images=trained.images_seen,
        batch_size=config.train.batch_size, network=config.network.preset, parameters=trained.net.parameter_count,
        precision=resolve_precision(config.train.precision, context.device), sample_precision=config.sample.precision,
        augment=augment, process=config.process.name, labels=config.sample.labels,
        train_flops_per_image=training_flops(plan, context))
    return {"method": config.method.name, "settings": settings, "seed": config.seed, "entry": entry,
            "label": f"{config.method.name} ({changed})" if changed else config.method.name,
            "train_digest": plan.train_digest, "sample_digest": plan.sample_digest, "deterministic": trained.exact,
            "stages": [Stage(name="train", **train), Stage(name="sample", **sample)],
            "config": plan.spelled_out.model_dump(mode="json"), **data_facts(plan.dataset)}


@blamed
def training_flops(plan: Plan, context: RunContext) -> float:
    """Floating-point operations of one training image, counted once for a run folder."""
    return plan.folder.flops_per_image(lambda: flops_per_image(plan.config, plan.dataset, context.device))
