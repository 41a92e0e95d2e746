"""Quality against images seen and against cost: the scores of one run at several positions of its training.

Training leaves what sampling needs of each position behind as it comes by (averaged weights, and modules of the method), and is
not touched otherwise: digest and bits are those of a run without a curve. Afterwards each position is sampled and scored as the
run itself is. Its last point is the run. A run that is past a position is trained again up to there, beside itself, with the
same bits.

    <run folder>/curve/<images seen>/   weights, samples/<digest>, scores/<digest>
    <run folder>/curve/train/           training again, while it lasts
    <run folder>/curve.csv              of the newest scores, and scores/<digest>/curve.csv of each
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

from ltgen_bench.config.schema import RunConfig, TrainConfig
from ltgen_bench.core.errors import DamagedError
from ltgen_bench.core.files import only_writer, set_aside
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.experiments.pipeline import Plan, Run, carry_out, measured, read_run, training_flops
from ltgen_bench.records.curve import Point, curve_table, save_curve
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.checkpoint import load_checkpoint, load_newest, restore_sampled
from ltgen_bench.training.loop import Snapshots, Trained, prepare_method, train
from ltgen_bench.training.trainer import Trainer

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class PointPlan(Plan):
    """A plan whose samples and scores are of the weights after `images` training images."""

    images: int

    @property
    def place(self) -> Path:
        return self.weights.parent

    @property
    def weights(self) -> Path:
        return RunFolder(self.folder).at(self.images).weights

    @property
    def sample_folder(self) -> Path:
        return self.place / "samples" / self.sample_digest

    @property
    def score_folder(self) -> Path:
        return self.place / "scores" / self.score_digest


def positions(train: TrainConfig, every: int) -> list[int]:
    """Multiples of `every` images below the budget, each at the end of its step; the budget itself is the run's own end."""
    batch = train.batch_size
    ends = [-(-images // batch) * batch for images in range(every, train.budget_images, every)]
    return [images for images in dict.fromkeys(ends) if images < train.budget_images]


def carry_out_curve(plan: Plan, every: int, context: RunContext) -> tuple[Run, pd.DataFrame]:
    """The run of `plan` (`carry_out`), and the table of its scores after every `every` images (`curve_table`).

    What is finished is read. Raises as `carry_out` does.
    """
    points = [PointPlan(plan.config, plan.dataset, plan.runs, images) for images in positions(plan.config.train, every)]
    run = carry_out(plan, context, {point.images: point.weights for point in points})
    ranks, progress = context.ranks, context.progress
    with ranks.only_on_main(only_writer(plan.folder)), context.interruption:
        states = ranks.from_main(lambda: [ScoreFiles(point.score_folder).are_current(context.extractor_weights, progress.say)
                                          for point in points])
        due = [point for point, current in zip(points, states, strict=True) if not current]
        there = ranks.from_main(lambda: _whole(due, progress))
        _train_again([point for point in due if point.images not in there], context)
        _score(due, context)
        ranks.barrier()
        each = training_flops(plan, context.device)
        runs = [*((point.images, read_run(point)) for point in points), (plan.config.train.budget_images, run)]
        curve = curve_table([Point(images, images * each, one.record.train_seconds or 0.0, one.scores) for images, one in runs])
        for folder in (plan.score_folder, plan.folder) if ranks.is_main else ():
            save_curve(curve, ScoreFiles(folder).curve)
    return run, curve


def _whole(points: list[PointPlan], progress: Progress) -> list[int]:
    """The positions whose weights are there and whole. What is damaged, or lacks what sampling may need, is set aside."""
    there = [point for point in points if point.weights.is_file()]
    newest = load_newest(there[0].folder / "train", SILENT, aside=False) if there else None
    needed = [name for name in newest[0] if name.startswith(("ema.", "extra."))] if newest else []
    found = []
    for point in there:
        cure = f"it is set aside as {WEIGHTS}.damaged, and training it again makes it anew"
        try:
            lacking = set(needed) - load_checkpoint(point.weights, cure)[0].keys()
            fault = f"{point.weights} lacks modules of the method that sampling may need; {cure}." if lacking else ""
        except DamagedError as error:
            fault = str(error)
        if fault:
            set_aside(point.weights)
            progress.say(fault)
        else:
            found.append(point.images)
    return found


def _train_again(points: list[PointPlan], context: RunContext) -> None:
    """Averaged weights of positions that training has left behind, from a training of its own that ends with the last."""
    if not points:
        return
    last = points[-1]
    past = f"{len(points)} positions" if len(points) > 1 else "a position"
    context.progress.say(f"the run is past {past} of its curve; training it again up to {last.images:,} images")
    folder = last.folder / "curve" / "train"
    train(last.config, last.dataset, folder / str(last.images), context,
          Snapshots({point.images: point.weights for point in points}, last.images, auxiliary=last.folder / "train"))
    context.ranks.barrier()
    if context.ranks.is_main:
        shutil.rmtree(folder)


def _score(points: list[PointPlan], context: RunContext) -> None:
    """Samples, scores and a record of each point, in its own folder."""
    if not points:
        return
    config = points[0].config
    networks = networks_of([point.weights for point in points], config, points[0].dataset, points[0].folder, context)
    for point in points:
        started = datetime.now(UTC)
        context.progress.say(f"the curve at {point.images:,} of {config.train.budget_images:,} images")
        result = measured(point, next(networks), started, context)
        if context.ranks.is_main:
            ScoreFiles(point.score_folder).write(result.record, result.scores)


def networks_of(files: Sequence[Path], config: RunConfig, dataset: LongTailDataset, run_folder: Path,
                context: RunContext) -> Iterator[Trained]:
    """What training had come to where it left each of these files behind: one network, which the next weights are put into.

    Raises `DamagedError` for a file that is not what was written, or lacks modules of the method.
    """
    method, _ = prepare_method(config, dataset, run_folder / "train", context)
    trainer = Trainer(config, dataset, method, context.device)
    net = trainer.ema.net.to(memory_format=torch.channels_last)
    for file in files:
        cure = f"delete {file.parent} and repeat ltgen-bench run with --evaluate-every, which makes it again"
        tensors, info = load_checkpoint(file, cure)
        try:
            restore_sampled(tensors, trainer.ema, trainer.extra)
        except RuntimeError as error:
            odd = str(error).splitlines()[1].strip()
            raise DamagedError(f"{file} lacks weights of {method.name} ({odd}); {cure}.") from error
        yield Trained(method, net, info["images_seen"], info["seconds"], info["exact"])
