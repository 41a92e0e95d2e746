"""The pipeline of a run: load_dataset -> train -> sample -> evaluate -> record."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from ltgen_bench.evaluation.evaluator import Origin, evaluate
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.plan import Plan, check_before_training, check_processes
from ltgen_bench.experiments.record_assembly import assemble_record, run_facts
from ltgen_bench.methods.blame import blamed
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.report.pictures import attempt
from ltgen_bench.report.sheets import draw_sample_sheet, loss_curve
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling.draw import sample
from ltgen_bench.sampling.solve import guidance_of
from ltgen_bench.training.loop import NO_SNAPSHOTS, Snapshots, Trained, train


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
    `trained`, for a plan without current scores, nothing is trained, and these weights are sampled from. Every process of the
    run calls this with the same plan and a device of its own, and all return the run. Raises `UserError` before any work where
    the plan cannot be carried out, `Interrupted` on Ctrl-C and SIGTERM, and `MachineError` where the machine fails; finished
    stages are kept.
    """
    check_processes(plan, context.ranks)
    if trained is None and plan.is_current(context):
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
            context.on_main(partial(draw_sample_sheet, samples, dataset.class_names, dataset.class_counts, plan.samples.sheet,
                                    context.progress.say))

        with context.timed(plan.scores.cost):
            origin = Origin(config.sample, plan.samples.downstream)
            scores = evaluate(samples, dataset, config.evaluate, context, origin)

        record = context.ranks.from_main(lambda: folder.keep(assemble_record(
            run_facts(plan, trained, context), config.evaluate, scores, plan.scores, started, context), scores))
    return Run(plan, record, scores)


def read_run(plan: Plan) -> Run:
    """Read the record and scores of a finished run."""
    return Run(plan, *plan.scores.read())


def draw_loss_curve(plan: Plan, context: RunContext) -> None:
    """Draw the loss of a training over images seen, beside its log."""
    attempt("the loss curve", partial(loss_curve, plan.folder.log, plan.folder.loss_picture), context.progress.say)
