"""The network of a run as a folder that diffusers reads, with everything that says what it is."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ltgen_bench.config.recipe_files import read_toml
from ltgen_bench.config.schema import DataConfig, RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import file_sha256, only_writer, refuse_full, whole_folder, write_text
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.load import load_dataset
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.draws import generator
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.experiments.curves import WEIGHTS, networks_of, place_of, positions_left
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.export.diffusers_folder import Facts, LabelledUNet, plain, write_network
from ltgen_bench.export.model_card import Described, card
from ltgen_bench.methods import METHODS, normalised
from ltgen_bench.methods.base import Method
from ltgen_bench.records.checked_scores import read_scores
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import find_run, find_runs, refuse_blank, stored_in
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.draw import from_uint8
from ltgen_bench.training.checkpoint import load_newest
from ltgen_bench.training.loop import Trained, train

CARD, RECIPE, SHEET = "README.md", "recipe.toml", "samples.png"
TRIED_TIMES = (0, 10, 100, 400, 700, 999)
CLOSE = 1e-4  # that two predictions of unit noise may differ by and be the same: other kernels, no other formula


@dataclass(frozen=True)
class TrainedRun:
    """The weights that a run ended with, or those after `images` training images, which it left behind for its curve.

    `record` is that of their newest scores under the run's own rules; None before any. `place` holds their samples and scores.
    """

    folder: Path
    config: RunConfig
    record: RunRecord | None
    images: int
    place: Path

    @property
    def name(self) -> str:
        """Method, digest of the training and seed, and between them the position where it is not the end."""
        run, _, seed = self.folder.name.rpartition("-s")
        return self.folder.name if self.place == self.folder else f"{run}-at-{self.images}-s{seed}"


@dataclass(frozen=True)
class Exported:
    """What was written where. `alone` says whether the network alone, with guidance by it, is all that the method samples by."""

    folder: Path
    facts: Facts
    alone: bool


def find_trained(runs: Path, name: str, at: int | None = None) -> TrainedRun:
    """The run called `name`, as `records.store.find_run` takes it, or a run folder anywhere; at the position `at`, or its end.

    Raises `UserError` where there is none, where its training is not finished, or left nothing behind at that position.
    """
    refuse_blank(name)
    place = Path(name)
    if (place / "config.toml").is_file():
        runs, name = place.resolve().parent.parent, str(place.resolve())
    found = find_run(runs, name)
    records = [one.record for one in find_runs(runs) if one.folder == found.folder and one.record is not None]
    if not (found.folder / "config.toml").is_file():
        raise UserError(f"{found.folder} holds scores of images from elsewhere, and no network.")
    record = _newest(records)
    config = RunConfig.from_values(record.config, where=f"the record of {found.folder}") if record else _as_trained(found.folder)
    if at is not None and at != config.train.budget_images:
        return _at(at, found.folder, config)
    if found.images_seen is None or found.images_seen < config.train.budget_images:
        raise UserError(f"{found.folder} has seen {found.images_seen or 0:,} of {config.train.budget_images:,} images; repeat "
                        "its ltgen-bench run to finish the training.")
    return TrainedRun(found.folder, config, record, config.train.budget_images, found.folder)


def _at(images: int, folder: Path, config: RunConfig) -> TrainedRun:
    """The weights of a run with this configuration after so many `images`."""
    left = positions_left(folder)
    if images not in left:
        there = f"there are those after {', '.join(map(str, left))}" if left else "it left none behind on its way"
        raise UserError(f"--at {images}: {folder} has no weights after {images:,} images; {there}; ltgen-bench run with "
                        "--evaluate-every makes some.")
    place = place_of(folder, images)
    record = _newest([one.record for one in stored_in(place) if one.record is not None])
    config = RunConfig.from_values(record.config, where=f"the record of {place}") if record else config
    return TrainedRun(folder, config, record, images, place)


def _newest(records: Sequence[RunRecord]) -> RunRecord | None:
    """The newest under the run's own rules, or of all where there is none."""
    own = [one for one in records if not one.preset and one.config.get("evaluate", {}).get("half") is None] or records
    return max(own, key=lambda one: one.finished, default=None)


def _as_trained(folder: Path) -> RunConfig:
    """The configuration of a run without scores: its training, and sampling as the recipe of its method has it."""
    values = read_toml(folder / "config.toml")
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
    refuse_full(folder, "choose a new folder")
    dataset = load_dataset(run.config.data, data_root=data_root, progress=context.progress)
    made_with = run.record.fingerprint if run.record is not None else read_toml(run.folder / "config.toml").get("fingerprint")
    if made_with is not None and dataset.fingerprint != made_with:
        raise UserError(f"the images of {dataset.name} are not those that {run.folder.name} was made with: fingerprint "
                        f"{made_with} there, {dataset.fingerprint} now.")
    with only_writer(run.folder), context.interruption:
        trained = _trained(run, dataset, context)
        network = plain(trained.net)
        tried = _Trial(dataset, run.config.process.name)
        if not tried.same_network(trained.net, network):
            raise UserError(f"the network of {run.config.method.name} computes something that diffusers' UNet2DModel with its "
                            "weights does not, so it cannot be exported.")
        alone = tried.same_samples(trained.method, trained.net, network, run.config.sample.omega)
        facts = _facts(run, dataset, null_label=alone and trained.method.has_null_label, alone=alone)
        with whole_folder(folder, "choose a new folder") as unfinished:
            write_network(network, facts, unfinished)
            _write_rest(run, dataset, network, facts, alone, unfinished)
            for file in unfinished.iterdir():
                file.chmod(0o644)  # safetensors makes its files private to the user
    return Exported(folder, facts, alone)


def _trained(run: TrainedRun, dataset: LongTailDataset, context: RunContext) -> Trained:
    config = run.config.model_copy(update={"method": normalised(run.config.method)})  # as the digest of the training was made
    if run.place == run.folder:
        newest = load_newest(run.folder / "train", context.progress)
        if newest is None or newest[1]["images_seen"] < config.train.budget_images:
            raise UserError(f"{run.folder} has no whole checkpoint of the end of its training any more; repeat its ltgen-bench "
                            "run to train the rest again, and export it then.")
        return train(config, dataset, run.folder / "train", context)
    return next(networks_of([run.place / WEIGHTS], config, dataset, run.folder, context))


class _Trial:
    """Whether two ways lead to the same predictions, tried out on noise: no method has to say so of itself."""

    def __init__(self, dataset: LongTailDataset, process: str) -> None:
        self.null, count = dataset.num_classes, len(TRIED_TIMES)
        self.t = torch.tensor(TRIED_TIMES)
        noise = torch.randn(count, *dataset.image_shape, generator=generator(0))
        images = torch.from_numpy(dataset.train.images[np.arange(count) % len(dataset.train)])
        self.x_t = PROCESSES[process]().add_noise(from_uint8(images), self.t, noise)
        self.labels = torch.arange(count) % dataset.num_classes

    def same_network(self, net: ConditionalUNet, network: LabelledUNet) -> bool:
        """Whether `network` predicts as `net` does, with labels and without."""
        nulls = torch.full_like(self.labels, self.null)
        with torch.inference_mode():
            return all(torch.allclose(net(self.x_t, self.t, labels), network(self.x_t, self.t, labels), rtol=CLOSE, atol=CLOSE)
                       for labels in (self.labels, nulls))

    def same_samples(self, method: Method, net: ConditionalUNet, network: LabelledUNet, omega: float) -> bool:
        """Whether what `method` samples by is classifier-free guidance with `network`: at no guidance, at 1, and at `omega`."""
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
    sheets = [] if record is None else [run.place / "samples" / record.sample_digest / SHEET]
    for sheet in filter(Path.is_file, sheets):
        shutil.copyfile(sheet, folder / SHEET)
    scores = None if record is None else read_scores(record, run.place / "scores" / record.score_digest)
    described = Described(run.config, run.images, record, scores, dataset, facts, network.parameter_count, alone,
                          {file.name: file_sha256(file) for file in sorted(folder.glob("*.safetensors"))},
                          sheet=SHEET if (folder / SHEET).is_file() else None)
    write_text(folder / CARD, card(described))
