"""The pipeline of a run: load_dataset -> train -> sample -> evaluate -> record."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from ltgen_bench.config.schema import ProcessConfig, TrainConfig
from ltgen_bench.data.images import SampleSet
from ltgen_bench.evaluation.evaluator import Origin, evaluate
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.plan import Plan, check_before_training, check_processes
from ltgen_bench.methods.blame import blamed
from ltgen_bench.records.current import revisions
from ltgen_bench.records.run_record import SCHEMA_VERSION, Entry, RunRecord, Stage
from ltgen_bench.report.pictures import attempt
from ltgen_bench.report.sheets import loss_curve, sample_sheet
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.device import hardware, read_cost, versions
from ltgen_bench.sampling.draw import sample
from ltgen_bench.sampling.solve import guidance_of
from ltgen_bench.training.cost import flops_per_image
from ltgen_bench.training.loop import NO_SNAPSHOTS, Snapshots, Trained, train
from ltgen_bench.training.trainer import resolve_precision


@dataclass(frozen=True)
class Run:
    """A finished run: its plan, its record and its scores."""

    plan: Plan
    record: RunRecord
    scores: Scores


@blamed
def carry_out(plan: Plan, context: RunContext, snapshots: Snapshots = NO_SNAPSHOTS, trained: Trained | None = None) -> Run:
    """Train, sample, evaluate and record; each stage is continued, or read where an earlier call finished it.

    The data set was loaded for the plan. `snapshots` says which averaged weights to keep on the way of the training; with
    `trained`, nothing is trained, and these weights are sampled from. Every process of the run calls this with the same plan
    and a device of its own, and all return the run. Raises `UserError` before any work where the plan cannot be carried out,
    `Interrupted` on Ctrl-C and SIGTERM, and `MachineError` where the machine fails; finished stages are kept.
    """
    check_processes(plan, context.ranks)
    if plan.is_current(context):
        return read_run(plan)
    config, dataset, folder, started = plan.config, plan.dataset, plan.folder, datetime.now(UTC)
    if trained is None:
        check_before_training(plan, context)
    with context.exclusively(folder.lock()):
        context.on_main(partial(folder.claim, plan.trained_part(), context.progress.say))

        if trained is None:
            with context.timed(folder.train_cost, finished=plan.trained):
                trained = train(config, dataset, folder.train, context, snapshots)
                context.on_main(partial(draw_loss_curve, plan, context))

        with context.timed(plan.samples.cost, finished=plan.sampled):
            guidance = guidance_of(config.sample, dataset.num_classes, context.device)
            denoiser = trained.method.denoiser(trained.net, guidance)
            samples = sample(denoiser, plan.sampling, plan.samples.folder, context)
            context.on_main(partial(draw_sample_sheet, plan, samples, context))

        with context.timed(plan.scores.cost):
            origin = Origin(config.sample, plan.samples.downstream)
            scores = evaluate(samples, dataset, config.evaluate, context, origin)

        record = context.ranks.from_main(lambda: folder.keep(make_record(plan, trained, scores, started, context), scores))
    return Run(plan, record, scores)


def read_run(plan: Plan) -> Run:
    """Read the record and scores of a finished run."""
    return Run(plan, *plan.scores.read())


def draw_loss_curve(plan: Plan, context: RunContext) -> None:
    """Draw the loss of a training over images seen, beside its log."""
    attempt("the loss curve", partial(loss_curve, plan.folder.log, plan.folder.loss_picture), context.progress.say)


def draw_sample_sheet(plan: Plan, samples: SampleSet, context: RunContext) -> None:
    """Draw a sheet with some samples of each class, beside the samples."""
    draw = partial(sample_sheet, samples.images, samples.labels, plan.dataset.class_names, plan.dataset.class_counts)
    attempt("the sheet of samples", partial(draw, plan.samples.sheet), context.progress.say)


@blamed
def training_flops(plan: Plan, context: RunContext) -> float:
    """Floating-point operations of one training image, counted once for a run folder."""
    return plan.folder.flops_per_image(lambda: flops_per_image(plan.config, plan.dataset, context.device))


def make_record(plan: Plan, trained: Trained, scores: Scores, started: datetime, context: RunContext) -> RunRecord:
    """Everything that a report needs beside the scores."""
    config, dataset = plan.config, plan.dataset
    processes = {"processes": context.ranks.size} if context.ranks.size > 1 else {}
    files = {"train": plan.folder.train_cost, "sample": plan.samples.cost, "evaluate": plan.scores.cost}
    costs = {name: read_cost(file) for name, file in files.items()}
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
        train_flops_per_image=training_flops(plan, context))
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
