"""What a method trains before its network: the same bits however often it is stopped, kept, read again, counted as training."""

import signal
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from ltgen_bench.core.errors import Interrupted, UserError
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import AuxiliaryTraining, Loss
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training import session
from ltgen_bench.training.auxiliary import AuxiliaryStepper
from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint
from ltgen_bench.training.loop import Snapshots, prepare_method, train, untrained_method
from ltgen_bench.training.trainer import Trainer

CPU = torch.device("cpu")


class Small(nn.Module):
    """Two layers with dropout."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 8), nn.Dropout(0.3), nn.Linear(8, 3))

    def forward(self, x, t):
        return self.layers(x.flatten(1))


@pytest.fixture
def name(monkeypatch):
    """A method that trains two modules before its network, 40 and 16 images of a budget of 32."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    class Preparing(METHODS["ddpm"]):
        name = "preparing"

        def prepare(self, trainer):
            self.first = trainer.fit("first", Small, self.own, AuxiliaryTraining(1.25, 8, 1e-2))
            self.second = trainer.fit("second", Small, self.own, AuxiliaryTraining(0.5, 16, 1e-2))

        def own(self, module, batch, draws):
            x_t, t, _ = self.noised(batch, draws)
            total = nn.functional.cross_entropy(module(x_t, t), batch.labels)
            return Loss(total, {"cross_entropy": total.detach()})

    METHODS.add("preparing", Preparing)
    return "preparing"


@pytest.fixture
def config(make_config, name):
    return make_config({"method.name": name, "train.budget_images": 32, "train.batch_size": 8})


class StopAt:
    """A `Progress` that asks for a stop when so many images of a stage were seen."""

    def __init__(self, interruption, stage, images):
        self.interruption, self.where, self.messages = interruption, (stage, images), []

    def say(self, message):
        self.messages.append(message)

    @contextmanager
    def stage(self, name, total, unit, done=0):
        outer, seen = self, [done]

        class Bar:
            def advance(self, amount, note=""):
                seen[0] += amount
                if (name, seen[0]) == outer.where:
                    outer.interruption.requested = signal.SIGINT

        yield Bar()


def newest(folder):
    return load_checkpoint(checkpoints(folder)[0])


def same(first, second):
    pairs = [(newest(first / part)[0], newest(second / part)[0]) for part in ("", "first", "second")]
    return all(torch.equal(value, other[key]) for own, other in pairs for key, value in own.items())


class TestBits:
    @pytest.mark.parametrize(("stage", "images"), [("first", 8), ("first", 40), ("second", 16), ("train", 16)])
    def test_stopped_anywhere_it_goes_on_bit_for_bit(self, stage, images, config, tiny_dataset, tmp_path):
        whole = train(config, tiny_dataset, tmp_path / "whole", RunContext())
        interruption = Interruption()
        progress = StopAt(interruption, stage, images)
        with pytest.raises(Interrupted) as stopped:
            train(config, tiny_dataset, tmp_path / "pieces", RunContext(progress=progress, interruption=interruption))
        of = "" if stage == "train" else f" of the {stage}"
        budget = {"first": 40, "second": 16, "train": 32}[stage]
        assert str(stopped.value) == f"stopped at {images} of {budget} images{of}; the position is saved"
        again = StopAt(Interruption(), "nowhere", 0)
        trained = train(config, tiny_dataset, tmp_path / "pieces", RunContext(progress=again))
        if images < budget:
            assert again.messages == [f"continuing at {images} of {budget} images{of}"]
        assert same(tmp_path / "whole", tmp_path / "pieces")
        assert trained.exact
        assert torch.equal(trained.method.first.layers[0].weight, whole.method.first.layers[0].weight)

    def test_the_seed_alone_decides_and_the_global_generators_are_left_alone(self, config, tiny_dataset, tmp_path):
        for folder, seed in (("a", 1), ("b", 2)):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                before = torch.get_rng_state()
                train(config, tiny_dataset, tmp_path / folder, RunContext())
                assert torch.equal(torch.get_rng_state(), before)
        assert same(tmp_path / "a", tmp_path / "b")
        train(config.model_copy(update={"seed": 1}), tiny_dataset, tmp_path / "c", RunContext())
        assert not torch.equal(newest(tmp_path / "a" / "first")[0]["net.layers.0.weight"],
                               newest(tmp_path / "c" / "first")[0]["net.layers.0.weight"])

    def test_modules_of_two_names_share_no_random_number(self, config, tiny_dataset):
        _, untrained = untrained_method(config, tiny_dataset, CPU)
        (_, first), (_, second) = untrained.requests
        assert not torch.equal(first.net.layers[0].weight, second.net.layers[0].weight)
        assert first.seed != second.seed

    def test_the_network_learns_what_it_would_learn_without(self, config, make_config, tiny_dataset, tmp_path):
        train(config, tiny_dataset, tmp_path / "own", RunContext())
        train(make_config({"train.budget_images": 32, "train.batch_size": 8}), tiny_dataset, tmp_path / "ddpm", RunContext())
        own, plain = newest(tmp_path / "own")[0], newest(tmp_path / "ddpm")[0]
        assert all(torch.equal(value, own[key]) for key, value in plain.items())


class TestKept:
    def test_what_is_finished_is_read(self, config, tiny_dataset, tmp_path, monkeypatch):
        before = train(config, tiny_dataset, tmp_path, RunContext())
        monkeypatch.setattr(AuxiliaryStepper, "step", None)
        monkeypatch.setattr(Trainer, "step", None)
        after = train(config, tiny_dataset, tmp_path, RunContext())
        for one in ("first", "second"):
            weights = (getattr(trained.method, one).state_dict() for trained in (before, after))
            assert all(torch.equal(a, b) for a, b in zip(*map(dict.values, weights), strict=True))
        assert after.seconds == before.seconds
        assert not list(tmp_path.rglob(".checkpoint-*"))

    def test_a_training_beside_it_reads_what_the_run_keeps(self, config, tiny_dataset, tmp_path, monkeypatch):
        train(config, tiny_dataset, tmp_path / "run", RunContext())
        monkeypatch.setattr(AuxiliaryStepper, "step", None)
        train(config, tiny_dataset, tmp_path / "beside", RunContext(), Snapshots(until=16, auxiliary=tmp_path / "run"))
        assert newest(tmp_path / "beside")[1]["images_seen"] == 16
        assert not (tmp_path / "beside" / "first").exists()

    def test_a_broken_file_is_told_and_trained_again_to_the_same_bits(self, config, tiny_dataset, tmp_path, told):
        train(config, tiny_dataset, tmp_path / "whole", RunContext())
        train(config, tiny_dataset, tmp_path / "broken", RunContext())
        for path in checkpoints(tmp_path / "broken" / "first"):
            path.write_bytes(path.read_bytes()[:200])
        train(config, tiny_dataset, tmp_path / "broken", RunContext(progress=told))
        assert "is damaged" in told.messages[0]
        assert same(tmp_path / "whole", tmp_path / "broken")

    def test_that_of_another_run_is_refused(self, config, tiny_dataset, tmp_path):
        train(config, tiny_dataset, tmp_path, RunContext())
        with pytest.raises(UserError, match=r"first holds the training \w+-s0-first"):
            train(config.model_copy(update={"seed": 3}), tiny_dataset, tmp_path, RunContext())

    def test_an_untrained_trainer_trains_and_writes_nothing(self, config, tiny_dataset, monkeypatch):
        monkeypatch.setattr(AuxiliaryStepper, "step", None)
        monkeypatch.setattr(session, "append_text", None)
        method, untrained = untrained_method(config, tiny_dataset, CPU, images=4)
        assert [share for share, _ in untrained.requests] == [1.25, 0.5]
        assert {fitting.train.batch_size for _, fitting in untrained.requests} == {4}
        assert isinstance(method.first, Small)


class TestCost:
    def test_its_seconds_are_seconds_of_training(self, config, tiny_dataset, tmp_path):
        trained = train(config, tiny_dataset, tmp_path, RunContext())
        parts = [newest(tmp_path / place)[1]["seconds"] for place in ("", "first", "second")]
        assert all(seconds > 0 for seconds in parts)
        assert trained.seconds == pytest.approx(sum(parts))
        _, auxiliary = prepare_method(config, tiny_dataset, tmp_path, RunContext())
        assert auxiliary.seconds == pytest.approx(sum(parts[1:]))

    def test_weights_kept_on_the_way_tell_the_seconds_of_both(self, config, tiny_dataset, tmp_path):
        train(config, tiny_dataset, tmp_path, RunContext(), Snapshots({8: tmp_path / "kept.safetensors"}))
        early = load_checkpoint(tmp_path / "kept.safetensors")[1]["seconds"]
        before = sum(newest(tmp_path / place)[1]["seconds"] for place in ("first", "second"))
        assert before < early < before + newest(tmp_path)[1]["seconds"]

    def test_schedules_are_shortened_as_its_budget_is(self, config, tiny_dataset):
        _, untrained = untrained_method(config, tiny_dataset, CPU)
        (_, first), (_, second) = untrained.requests
        assert (first.train.budget_images, second.train.budget_images) == (40, 16)
        assert (first.train.warmup_images, second.train.warmup_images) == (20, 8)
        assert (first.train.ema_halflife_images, second.train.ema_halflife_images) == (50, 20)
        assert first.precision == "float32"

    def test_a_share_of_a_tiny_budget_is_still_a_step(self, make_config, name, tiny_dataset):
        _, untrained = untrained_method(make_config({"method.name": name, "train.budget_images": 2}), tiny_dataset, CPU)
        assert [fitting.train.budget_images for _, fitting in untrained.requests] == [8, 16]


def test_first_weights_of_what_a_method_adds_are_of_the_seed_alone(monkeypatch, make_config, tiny_dataset):
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    class Adding(METHODS["ddpm"]):
        name = "adding"

        def adapt_network(self, net):
            net.added = nn.Linear(2, 2)
            return net

        def extra_modules(self):
            return nn.ModuleDict({"head": nn.Linear(16, 1)})

    METHODS.add("adding", Adding)
    found = []
    for seed, caller in ((0, 1), (0, 2), (1, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(caller)
            before = torch.get_rng_state()
            config = make_config({"method.name": "adding", "seed": seed})
            trainer = Trainer(config, tiny_dataset, untrained_method(config, tiny_dataset, CPU)[0], CPU)
            assert torch.equal(torch.get_rng_state(), before), "the global generator is as it was"
        found.append((trainer.net.added.weight, trainer.extra["head"].weight))
    for first, again, other in zip(*found, strict=True):
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
