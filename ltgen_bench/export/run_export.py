"""The network of a run as a folder that diffusers reads, with everything that says what it is."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ltgen_bench.config.schema import DataConfig, RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import atomic_folder, file_sha256, refuse_non_empty, write_text
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.load import load_dataset
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.draws import generator
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.experiments.curves import networks_of
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.export.diffusers_folder import Facts, LabelledUNet, plain, write_network
from ltgen_bench.export.model_card import Described, card
from ltgen_bench.methods import METHODS, normalised
from ltgen_bench.methods.base import Method
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.score_files import read_scores
from ltgen_bench.records.store import find_run_anywhere, newest_plain, stored_in
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.pixel_values import from_uint8
from ltgen_bench.training.checkpoint import load_newest
from ltgen_bench.training.loop import Trained, train

CARD, RECIPE = "README.md", "recipe.toml"
TRIED_TIMES = (0, 10, 100, 400, 700, 999)
CLOSE = 1e-4  # that two predictions of unit noise may differ by and be the same: other kernels, no other formula


@dataclass(frozen=True)
class TrainedRun:
    """The weights at the end of a run, or those of a snapshot: `images` training images were seen.

    `folder` has the samples and scores of these weights. `record` is that of their newest scores under the run's own settings;
    None before any.
    """

    folder: RunFolder
    config: RunConfig
    record: RunRecord | None
    images: int

    @property
    def name(self) -> str:
        """Method, digest of the training and seed, and between them the position where it is not the end."""
        run, _, seed = self.folder.name.rpartition("-s")
        return self.folder.name if self.folder.snapshot is None else f"{run}-at-{self.images}-s{seed}"


@dataclass(frozen=True)
class Exported:
    """What was written where. `alone` says whether the network alone, with guidance by it, is all that the method samples by."""

    folder: Path
    facts: Facts
    alone: bool


def find_trained(runs: Path, name: str, at: int | None = None) -> TrainedRun:
    """Find the run called `name`, as `records.store.find_run` takes it, or a run folder anywhere; its end, or the snapshot `at`.

    Raises `UserError` where there is none, where its training is not finished, or has no snapshot at that position.
    """
    folder = find_run_anywhere(runs, name).folder
    if not folder.is_run:
        raise UserError(f"{folder} holds scores of external samples, and no network.")
    record = _newest_record(folder)
    config = _recorded(record, folder) if record else _as_trained(folder)
    if at is not None and at != config.train.budget_images:
        there = folder.snapshots()
        if at not in there:
            known = f"there are those after {', '.join(map(str, there))}" if there else "it left none behind on its way"
            raise UserError(f"--at {at}: {folder} has no weights after {at:,} images; {known}; ltgen-bench run with "
                            "--evaluate-every makes some.")
        folder = folder.at(at)
        record = _newest_record(folder)
        return TrainedRun(folder, _recorded(record, folder) if record else config, record, at)
    seen = folder.images_seen or 0
    if seen < config.train.budget_images:
        raise UserError(f"{folder} has seen {seen:,} of {config.train.budget_images:,} images; repeat its ltgen-bench run to "
                        "finish the training.")
    return TrainedRun(folder, config, record, config.train.budget_images)


def _newest_record(folder: RunFolder) -> RunRecord | None:
    return newest_plain([one.record for one in stored_in(folder) if one.record is not None])


def _recorded(record: RunRecord, folder: RunFolder) -> RunConfig:
    return RunConfig.from_values(record.config, where=f"the record of {folder}")


def _as_trained(folder: RunFolder) -> RunConfig:
    """The configuration of a run without scores: its training, and sampling as the recipe of its method has it."""
    values = folder.read_config()
    trained = RunConfig.from_values({key: value for key, value in values.items() if key != "fingerprint"}, where=str(folder))
    images = {"data.image_size": trained.data.image_size, "data.columns": trained.data.columns,
              "process.name": trained.process.name}
    recipe = resolve_recipe(recipe=None, method=trained.method.name, dataset=trained.data.name,
                            overrides={key: value for key, value in images.items() if value is not None})
    return trained.model_copy(update={"sample": recipe.sample})


@exact_float32()
def export(run: TrainedRun, folder: Path, context: RunContext, data_root: Path = Path("data")) -> Exported:
    """Write the averaged network of `run` into the new `folder`, with its embedding, scheduler, recipe and card.

    The folder appears when it is whole. Raises `UserError` for a folder that is there and not empty, data that are not the
    run's, a method that is not known, and a network that no `UNet2DModel` computes.
    """
    METHODS.check(run.config.method.name)
    folder = folder.resolve()
    refuse_non_empty(folder, "choose a new folder")
    dataset = load_dataset(run.config.data, data_root=data_root, progress=context.progress)
    made_with = run.record.fingerprint if run.record is not None else run.folder.read_config().get("fingerprint")
    if made_with is not None and dataset.fingerprint != made_with:
        raise UserError(f"the images of {dataset.name} are not those that {run.folder.name} was made with: fingerprint "
                        f"{made_with} there, {dataset.fingerprint} now.")
    with run.folder.lock(), context.interruption:
        trained = _trained(run, dataset, context)
        network = plain(trained.net)
        tried = _Trial(dataset, run.config.process.name)
        if not tried.same_network(trained.net, network):
            raise UserError(f"the network of {run.config.method.name} computes something that diffusers' UNet2DModel with its "
                            "weights does not, so it cannot be exported.")
        alone = tried.same_samples(trained.method, trained.net, network, run.config.sample.omega)
        facts = _facts(run, dataset, null_label=alone and trained.method.has_null_label, alone=alone)
        with atomic_folder(folder, "choose a new folder") as unfinished:
            write_network(network, facts, unfinished)
            _write_rest(run, dataset, network, facts, alone, unfinished)
            for file in unfinished.iterdir():
                file.chmod(0o644)  # safetensors makes its files private to the user
    return Exported(folder, facts, alone)


def _trained(run: TrainedRun, dataset: LongTailDataset, context: RunContext) -> Trained:
    config = run.config.model_copy(update={"method": normalised(run.config.method)})  # as the digest of the training was made
    if run.folder.snapshot is None:
        newest = load_newest(run.folder.train, context.progress)
        if newest is None or newest[1]["images_seen"] < config.train.budget_images:
            raise UserError(f"{run.folder} has no whole checkpoint of the end of its training any more; repeat its ltgen-bench "
                            "run to train the rest again, and export it then.")
        return train(config, dataset, run.folder.train, context)
    return next(networks_of([run.folder.weights], config, dataset, run.folder.train, context))


class _Trial:
    """Comparison of the predictions of two networks on noise."""

    def __init__(self, dataset: LongTailDataset, process: str) -> None:
        self.null, count = dataset.num_classes, len(TRIED_TIMES)
        self.t = torch.tensor(TRIED_TIMES)
        noise = torch.randn(count, *dataset.image_shape, generator=generator(0))
        images = torch.from_numpy(dataset.train.images[np.arange(count) % len(dataset.train)])
        self.x_t = PROCESSES[process]().add_noise(from_uint8(images), self.t, noise)
        self.labels = torch.arange(count) % dataset.num_classes

    def same_network(self, net: ConditionalUNet, network: LabelledUNet) -> bool:
        """Return whether `network` predicts as `net` does, with and without labels."""
        nulls = torch.full_like(self.labels, self.null)
        with torch.inference_mode():
            return all(torch.allclose(net(self.x_t, self.t, labels), network(self.x_t, self.t, labels), rtol=CLOSE, atol=CLOSE)
                       for labels in (self.labels, nulls))

    def same_samples(self, method: Method, net: ConditionalUNet, network: LabelledUNet, omega: float) -> bool:
        """Return whether `method` samples by classifier-free guidance of `network`: at no guidance, at 1, and at `omega`."""
        strengths = {0.0, omega, 1.0 if method.guidable() else 0.0}
        with torch.inference_mode():
            return all(torch.allclose(method.denoiser(net, Guidance(one))(self.x_t, self.t, self.labels),
                                      guided(network, Guidance(one), self.null)(self.x_t, self.t, self.labels),
                                      rtol=CLOSE, atol=CLOSE) for one in strengths)


def _facts(run: TrainedRun, dataset: LongTailDataset, *, null_label: bool, alone: bool) -> Facts:
    sample = run.config.sample if alone else run.config.sample.model_copy(update={"omega": 0.0})
    return Facts(name=run.name, seed=run.config.seed, data=published(run.config.data), class_names=dataset.class_names,
                 class_counts=tuple(dataset.class_counts), null_label=null_label, sample=sample)


def published(data: DataConfig) -> DataConfig:
    """`data` with absolute paths cut to their last part: what is exported is often published, and folders are private."""
    prefix, colon, path = data.name.partition(":")
    name = f"{prefix}:{Path(path).name}" if colon and Path(path).expanduser().is_absolute() else data.name
    lists = {key: Path(value).name for key in ("split", "index_list", "test_list")
             if (value := getattr(data, key)) is not None and Path(value).is_absolute()}
    return data.model_copy(update={"name": name, **lists})


def _write_rest(run: TrainedRun, dataset: LongTailDataset, network: LabelledUNet, facts: Facts, alone: bool,
                folder: Path) -> None:
    source = run.config.source.replace(run.config.data.name, facts.data.name)  # which may name the folder, too
    recipe = run.config.model_copy(update={"data": facts.data, "source": source})
    write_text(folder / RECIPE, recipe.to_toml())
    record = run.record if alone else None  # of samples that this network alone does not give
    sheet = None if record is None else run.folder.samples(record.sample_digest).sheet
    if sheet is not None and sheet.is_file():
        shutil.copyfile(sheet, folder / sheet.name)
    scores = None if record is None else read_scores(record, run.folder.scores(record.score_digest).table)
    described = Described(run.config, run.images, record, scores, dataset, facts, network.parameter_count, alone,
                          {file.name: file_sha256(file) for file in sorted(folder.glob("*.safetensors"))},
                          sheet=sheet.name if sheet is not None and sheet.is_file() else None)
    write_text(folder / CARD, card(described))
