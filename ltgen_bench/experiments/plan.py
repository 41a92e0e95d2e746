"""A plan: a checked configuration with its data set, and the files that its digests name."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.network import check_network, network_shape
from ltgen_bench.evaluation.evaluator import check_extractors, with_available_reference
from ltgen_bench.evaluation.presets import is_resolved
from ltgen_bench.experiments.recipes import check_names
from ltgen_bench.experiments.workload import as_preset, long_stages, worth_training
from ltgen_bench.methods import METHODS, normalised, spelled_out
from ltgen_bench.records.run_folder import RunFolder, SampleFiles
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import Ranks
from ltgen_bench.sampling.chunks import Sampling
from ltgen_bench.sampling.draw import check_sampling
from ltgen_bench.sampling.samplers import check_sampler
from ltgen_bench.training.budgets import in_images


@dataclass(frozen=True)
class Plan:
    """A checked configuration with its data set. With `snapshot`, samples and scores are those of the averaged weights after so
    many training images; without, those of the end of training."""

    config: RunConfig
    dataset: LongTailDataset
    runs: Path
    snapshot: int | None = None

    @cached_property
    def train_digest(self) -> str:
        """The digest of what decides the training."""
        return self.config.train_digest(self.dataset.fingerprint, METHODS[self.config.method.name].code_digest)

    @property
    def sample_digest(self) -> str:
        return self.config.sample_digest(self.train_digest)

    @property
    def score_digest(self) -> str:
        return self.config.score_digest(self.sample_digest)

    @property
    def folder(self) -> RunFolder:
        """The folder of the run."""
        method, seed = self.config.method.name, self.config.seed
        return RunFolder.of_run(self.runs, self.dataset.name, method, self.train_digest, seed).at(self.snapshot)

    @property
    def samples(self) -> SampleFiles:
        return self.folder.samples(self.sample_digest)

    @property
    def scores(self) -> ScoreFiles:
        return self.folder.scores(self.score_digest)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.config.sample, self.dataset.image_shape, self.dataset.num_classes)

    @property
    def trained(self) -> bool:
        """Whether the training was finished before."""
        return self.config.train.budget_images in self.folder.positions()

    @property
    def sampled(self) -> bool:
        """Whether the samples were finished before."""
        return self.samples.images.is_file()

    @property
    def finished(self) -> bool:
        """Whether this run is finished, with these scores, and they are not outdated."""
        return self.scores.finished

    def is_current(self, context: RunContext) -> bool:
        """Return whether the scores exist, are undamaged and are what would be measured now.

        The main process decides: a network disk may show files to the others later.
        """
        return context.ranks.from_main(lambda: self.scores.are_current(context.extractor_weights, context.progress.say))

    @property
    def spelled_out(self) -> RunConfig:
        """The configuration with every setting of the method, also those at their defaults: what is printed and kept."""
        return self.config.model_copy(update={"method": spelled_out(self.config.method)})

    def trained_part(self) -> dict[str, Any]:
        """Settings that decide the training, as config.toml of the run folder holds them."""
        parts = {"seed", "data", "network", "process", "method", "train"}
        return {**self.spelled_out.model_dump(mode="json", exclude_none=True, include=parts),
                "fingerprint": self.dataset.fingerprint}


def make_plan(config: RunConfig, dataset: LongTailDataset, runs: Path, context: RunContext) -> Plan:
    """`config` with its method's settings in normal form, checked against the data. `UserError` where it cannot run.

    A budget in FLOPs or seconds becomes one in images, measured on this device where `runs` does not know it yet.
    """
    check_names(config)
    method = normalised(config.method)
    assert is_resolved(config.evaluate), "a plan has the evaluation settings of its preset (recipes.resolved_runs)"
    config = config.model_copy(update={"method": method, "evaluate": with_available_reference(config.evaluate, dataset)})
    config = as_preset(config, dataset)
    check_sampler(config.sample.sampler, config.process.name)  # a preset expects one of its own
    if config.sample.omega > 0 and not METHODS[method.name].guidable():
        raise UserError(f"sample.omega: {config.sample.omega:g} needs a null label, and {method.name} trains none, so its omega "
                        "is 0; guidance for plain DDPM is the method 'cfg'.")
    check_network(network_shape(config.network), dataset.image_shape)
    check_sampling(worth_training(config, dataset.num_classes).sample, dataset.image_shape, dataset.num_classes)
    config = in_images(config, dataset, runs, context)
    return Plan(worth_training(config, dataset.num_classes), dataset, runs)


def check_processes(plan: Plan, ranks: Ranks) -> None:
    """Raise `UserError` where processes of one run see other data or another code, or do not share the disk of the runs."""
    digests = sorted(set(ranks.all_gather(plan.train_digest)))
    if len(digests) > 1:
        raise UserError(f"the processes of this run would train {len(digests)} different things ({', '.join(digests)}): their "
                        "data, or a file that one of them was given, differ; let --data-root and such files be on a common disk.")
    ranks.check_shared_folder(plan.runs)


def check_before_training(plan: Plan, context: RunContext) -> None:
    """Check what could stop the run after hours of training, and say which stages take longer than that.

    Raises `UserError` where extractors are missing, or classes are too small for the half that is asked for.
    """
    check_extractors(plan.dataset, plan.config.evaluate, context)
    if plan.config.evaluate.half is not None:
        plan.dataset.half(plan.config.evaluate.half)
    for sentence in long_stages(plan.config, plan.dataset) if context.ranks.is_main else ():
        context.progress.say(sentence)
