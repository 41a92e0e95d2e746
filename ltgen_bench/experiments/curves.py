"""Curves of quality against images seen and against cost: scores of one run at several positions of its training.

The training writes a snapshot at each position; its digest and bits are those of a run without a curve. Afterwards each snapshot
is sampled and scored as the run itself is; the last point of the curve is the run. Where snapshots are missing, the training is
repeated up to the last of them, with the same bits, in a folder of its own.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from ltgen_bench.config.schema import RunConfig, TrainConfig
from ltgen_bench.core.errors import DamagedError
from ltgen_bench.core.files import set_aside
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.experiments.pipeline import Run, carry_out, read_run
from ltgen_bench.experiments.plan import Plan
from ltgen_bench.experiments.record_assembly import training_flops
from ltgen_bench.records.curve import Point, curve_table, save_curve
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.checkpoint import load_checkpoint, load_newest, restore
from ltgen_bench.training.loop import Snapshots, Trained, prepare_method, train
from ltgen_bench.training.trainer import Trainer


def positions(train: TrainConfig, every: int) -> list[int]:
    """Multiples of `every` images below the budget, each at the end of its step; the budget itself is the run's own end."""
    batch = train.batch_size
    ends = [-(-images // batch) * batch for images in range(every, train.budget_images, every)]
    return [images for images in dict.fromkeys(ends) if images < train.budget_images]


def carry_out_curve(plan: Plan, every: int, context: RunContext) -> tuple[Run, pd.DataFrame]:
    """Carry out `plan`, and score a snapshot after every `every` images; returns the run and the table of its curve.

    What is finished is read. Raises as `carry_out` does.
    """
    points = [replace(plan, snapshot=images) for images in positions(plan.config.train, every)]
    run = carry_out(plan, context, _snapshots(points))
    due = [point for point in points if not point.is_current(context)]
    if due:
        _repeat_training(due, context)
    networks = networks_of([point.folder.weights for point in due], plan.config, plan.dataset, plan.folder.train, context)
    for point in due:
        context.progress.say(f"the curve at {point.snapshot:,} of {plan.config.train.budget_images:,} images")
        carry_out(point, context, trained=next(networks))
    return run, context.ranks.from_main(lambda: _save(plan, [*map(read_run, points), run], context))


def _snapshots(points: Sequence[Plan], until: int | None = None) -> Snapshots:
    files = {point.snapshot: point.folder.weights for point in points if point.snapshot is not None}
    return Snapshots(files, until, points[0].folder.train if until is not None else None)


def _repeat_training(points: Sequence[Plan], context: RunContext) -> None:
    """Train again up to the last of the `points` whose snapshots are missing or damaged, to write these."""
    folder = points[0].folder
    with context.exclusively(folder.lock()):
        complete = context.ranks.from_main(lambda: _complete(points, context.progress))
        missing = [point for point in points if point.snapshot not in complete]
        if not missing:
            return
        until = max(point.snapshot or 0 for point in missing)
        past = f"{len(missing)} positions" if len(missing) > 1 else "a position"
        context.progress.say(f"the run is past {past} of its curve; training it again up to {until:,} images")
        second = folder.second_training(until)
        train(points[0].config, points[0].dataset, second, context, _snapshots(missing, until))
        context.ranks.barrier()
        context.on_main(lambda: shutil.rmtree(second.parent))


def _complete(points: Sequence[Plan], progress: Progress) -> list[int | None]:
    """The positions whose snapshots are there and undamaged. Damaged ones, and those without weights that sampling may need, are
    set aside."""
    there = [point for point in points if point.folder.weights.is_file()]
    newest = load_newest(there[0].folder.train, SILENT, aside=False) if there else None
    needed = [name for name in newest[0] if name.startswith(("ema.", "extra."))] if newest else []
    found = []
    for point in there:
        file = point.folder.weights
        cure = f"it is set aside as {file.name}.damaged, and training it again makes it anew"
        try:
            lacking = set(needed) - load_checkpoint(file, cure)[0].keys()
            fault = f"{file} lacks modules of the method that sampling may need; {cure}." if lacking else ""
        except DamagedError as error:
            fault = str(error)
        if fault:
            set_aside(file)
            progress.say(fault)
        else:
            found.append(point.snapshot)
    return found


def _save(plan: Plan, runs: Sequence[Run], context: RunContext) -> pd.DataFrame:
    """Write the curve of `runs`, the points in order and the run itself, beside its scores and into the run folder."""
    each = training_flops(plan, context)
    images = [run.plan.snapshot or plan.config.train.budget_images for run in runs]
    curve = curve_table([Point(seen, seen * each, run.record.train_seconds or 0.0, run.scores)
                         for seen, run in zip(images, runs, strict=True)])
    with plan.folder.lock():
        for files in (plan.scores, plan.folder.newest):
            save_curve(curve, files.curve)
    return curve


def networks_of(files: Sequence[Path], config: RunConfig, dataset: LongTailDataset, train_folder: Path,
                context: RunContext) -> Iterator[Trained]:
    """The network of each snapshot in `files`: one network, into which the weights of the next are loaded.

    `train_folder` has the auxiliary modules of the method. Raises `DamagedError` for a damaged file, or one without modules
    of the method.
    """
    method, _ = prepare_method(config, dataset, train_folder, context)
    trainer = Trainer(config, dataset, method, context.device)
    net = trainer.ema.net.to(memory_format=torch.channels_last)
    for file in files:
        cure = f"delete {file.parent} and repeat ltgen-bench run with --evaluate-every, which makes it again"
        tensors, info = load_checkpoint(file, cure)
        try:
            restore(tensors, trainer.sampled)
        except RuntimeError as error:
            odd = str(error).splitlines()[1].strip()
            raise DamagedError(f"{file} lacks weights of {method.name} ({odd}); {cure}.") from error
        yield Trained(method, net, info["images_seen"], info["seconds"], info["exact"])
