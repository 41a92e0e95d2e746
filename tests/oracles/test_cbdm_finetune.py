"""Fine-tuning with CBDM: what it starts from, what starts anew there, and by which loss it goes on."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from ltgen_bench.core.errors import Interrupted, UserError
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods import METHODS, normalised
from ltgen_bench.methods.base import Batch, Loss
from ltgen_bench.methods.cbdm import CBDM, CBDMSettings
from ltgen_bench.methods.cbdm_finetune import CBDMFinetune, CBDMFinetuneSettings
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint, with_prefix
from ltgen_bench.training.cost import flops_per_image
from ltgen_bench.training.loop import Snapshots, build_method, train
from ltgen_bench.training.trainer import Trainer

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)
NAME = "cbdm-finetune"
BUDGET, START = 80, 48  # images, in steps of 8; share 0.6


@pytest.fixture
def tuned(make_config):
    """`tuned({"train.budget_images": 16})`: six steps of cfg, then four of fine-tuning, with dropout."""
    tiny = {"method.name": NAME, "method.base_share": 0.6, "train.budget_images": BUDGET, "network.dropout": 0.1}
    return lambda overrides=None: make_config({**tiny, **(overrides or {})})


@pytest.fixture
def plain(make_config):
    return make_config({"method.name": "cfg", "train.budget_images": START, "network.dropout": 0.1})


def trainer_of(config, dataset):
    return Trainer(config, dataset, build_method(config, dataset, CPU), CPU)


def final(folder):
    return load_checkpoint(checkpoints(folder)[0])


class ByLabel(nn.Module):
    """eps is one number for each label; the labels of every call are kept."""

    def __init__(self):
        super().__init__()
        self.number = nn.Parameter(torch.linspace(-1, 2, 4))
        self.calls = []

    def forward(self, x_t, t, labels, augment=None):
        self.calls.append(labels)
        return self.number[labels].view(-1, 1, 1, 1).expand_as(x_t)


class TestBase:
    def test_up_to_the_start_it_is_cfg_bit_for_bit(self, tuned, plain, tiny_dataset, tmp_path):
        train(plain, tiny_dataset, tmp_path / "cfg", RunContext())
        train(tuned(), tiny_dataset, tmp_path / "tuned", RunContext(), Snapshots(until=START))
        (first, seen), (second, _) = final(tmp_path / "cfg"), final(tmp_path / "tuned")
        assert seen["images_seen"] == START
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[name]) for name, value in first.items())

    def test_it_starts_from_exactly_the_averaged_weights_with_a_new_optimiser(self, tuned, tiny_dataset, monkeypatch):
        trainer = trainer_of(tuned(), tiny_dataset)
        for _ in range(START // 8):
            trainer.step()
        average = {name: value.clone() for name, value in trainer.ema.net.state_dict().items()}
        assert any(not torch.equal(value, average[name]) for name, value in trainer.net.state_dict().items())
        started, loss = [], CBDMFinetune.loss

        def watched(self, net, batch, draws):
            started.append({name: value.clone() for name, value in net.state_dict().items()})
            assert not trainer.optimizer.state
            return loss(self, net, batch, draws)

        monkeypatch.setattr(CBDMFinetune, "loss", watched)
        trainer.step()
        assert all(torch.equal(value, average[name]) for name, value in started[0].items())
        assert {float(state["step"]) for state in trainer.optimizer.state.values()} == {1.0}

    def test_the_warm_up_starts_anew(self, tuned, tiny_dataset):
        trainer = trainer_of(tuned(), tiny_dataset)  # a warm-up of 16 images to 2e-3
        rates = []
        for _ in range(BUDGET // 8):
            trainer.step()
            rates.append(trainer.optimizer.param_groups[0]["lr"])
        assert rates == [1e-3, *[2e-3] * 5, 1e-3, *[2e-3] * 3]

    def test_the_base_has_the_same_label_drop(self, make_problem):
        settings = CBDMFinetuneSettings(label_drop=0.3, label_drop_unit="sample")
        base, share = CBDMFinetune(settings, make_problem((20, 9, 4), SHAPE)).base()
        assert (base.name, base.settings.label_drop, base.settings.label_drop_unit, share) == ("cfg", 0.3, "sample", 0.8)

    def test_the_log_shows_both_parts(self, tuned, tiny_dataset, tmp_path):
        train(tuned({"method.label_drop": 0.0}), tiny_dataset, tmp_path, RunContext())
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        assert ["pull" in line for line in lines] == [False] * 6 + [True] * 4

    @pytest.mark.parametrize(("budget", "share", "start"), [
        (80, 0.8, 64), (80, 0.79, 64), (80, 0.01, 8), (80, 0.99, 72), (44, 0.8, 40), (16, 0.5, 8), (8, 0.8, 0)])
    def test_both_parts_are_whole_steps_and_at_least_one(self, budget, share, start, tuned, tiny_dataset):
        config = tuned({"train.budget_images": budget, "method.base_share": share})
        assert trainer_of(config, tiny_dataset).restart_at == start


class TestLoss:
    def test_it_is_that_of_cbdm_with_uniform_labels(self, make_problem, make_network):
        problem, net = make_problem((20, 9, 4), SHAPE), make_network(SHAPE, 3)
        batch = Batch(torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1, torch.arange(8) % 3)
        for position in range(0, 80, 8):
            draws = Draws(0, position, 8, CPU)
            own = CBDMFinetune(CBDMFinetuneSettings(), problem).loss(net, batch, draws)
            uniform = CBDM(CBDMSettings(auxiliary_labels="uniform"), problem).loss(net, batch, draws)
            assert torch.equal(own.total, uniform.total)

    def test_the_second_label_is_uniform_over_the_classes(self, make_problem):
        method = CBDMFinetune(CBDMFinetuneSettings(label_drop=0.0), make_problem((200, 9, 1), (1, 1, 1)))
        net = ByLabel()
        method.loss(net, Batch(torch.zeros(9000, 1, 1, 1), torch.zeros(9000, dtype=torch.int64)), Draws(0, 0, 9000, CPU))
        counts = np.bincount(net.calls[0][9000:], minlength=3)
        assert stats.chisquare(counts).pvalue > 1e-3


class StopAt:
    """A `Progress` that asks for a stop when so many images were seen."""

    def __init__(self, interruption, images):
        self.interruption, self.images, self.seen = interruption, images, 0

    def say(self, message):
        return None

    @contextmanager
    def stage(self, name, total, unit, done=0):
        self.seen = done
        yield self

    def advance(self, amount, note=""):
        self.seen += amount
        if self.seen == self.images:
            self.interruption.requested = signal.SIGINT


@pytest.mark.parametrize("images", [40, START, 56, 72])
def test_stopped_before_at_or_after_the_start_it_goes_on_bit_for_bit(images, tuned, tiny_dataset, tmp_path):
    train(tuned(), tiny_dataset, tmp_path / "whole", RunContext())
    interruption = Interruption()
    with pytest.raises(Interrupted, match=f"stopped at {images} of {BUDGET} images"):
        train(tuned(), tiny_dataset, tmp_path / "pieces",
              RunContext(progress=StopAt(interruption, images), interruption=interruption))
    trained = train(tuned(), tiny_dataset, tmp_path / "pieces", RunContext())
    assert trained.images_seen == BUDGET
    (first, _), (second, _) = final(tmp_path / "whole"), final(tmp_path / "pieces")
    assert all(torch.equal(value, second[name]) for name, value in first.items())


class TestBudget:
    def test_an_image_costs_the_mean_of_both_parts(self, tuned, make_config, tiny_dataset):
        cfg, cbdm, own = (flops_per_image(config, tiny_dataset, CPU) for config in (
            make_config({"method.name": "cfg"}), make_config({"method.name": "cbdm"}), tuned()))
        assert cbdm > 1.5 * cfg
        assert own == pytest.approx(0.6 * cfg + 0.4 * cbdm)

    def test_what_decides_the_base_is_in_the_digest(self, tuned):
        digests = {tuned({"method.base_share": share}).train_digest("data") for share in (0.5, 0.6)}
        assert len(digests) == 2

    def test_the_public_codes_values_are_the_defaults(self, make_config):
        spelled = {"method.name": NAME, "method.base_share": 0.8, "method.auxiliary_labels": "uniform"}
        assert normalised(make_config(spelled).method).settings == {}


@pytest.fixture
def start_from(monkeypatch, make_config, tiny_dataset):
    """`start_from(path)`: a trainer of a method that starts from the checkpoint `path`."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    def make(path, dataset=tiny_dataset, **overrides):
        class Tuned(METHODS["cbdm"]):
            name = "tuned"

            def initial_weights(self):
                return path

        METHODS._entries.pop("tuned", None)
        METHODS.add("tuned", Tuned)
        return trainer_of(make_config({"method.name": "tuned", "train.budget_images": BUDGET, **overrides}), dataset)

    return make


class TestCheckpointOfAnotherTraining:
    """`initial_weights`, the hook of a method that starts from a file."""

    @pytest.fixture
    def checkpoint(self, plain, tiny_dataset, tmp_path):
        train(plain, tiny_dataset, tmp_path / "first", RunContext())
        return checkpoints(tmp_path / "first")[0]

    def test_weights_are_the_average_and_its_images_count(self, checkpoint, start_from):
        trainer = start_from(checkpoint)
        average = with_prefix(load_checkpoint(checkpoint)[0], "ema.")
        for net in (trainer.net, trainer.ema.net):
            assert all(torch.equal(value, average[name]) for name, value in net.state_dict().items())
        assert trainer.images_seen == START
        trainer.step()
        assert trainer.learning_rate(trainer.images_seen) == 1e-3, "the warm-up is of this training"

    def test_a_whole_training_goes_on_from_it(self, checkpoint, start_from, make_config, tiny_dataset, tmp_path, told):
        start_from(checkpoint)  # registers the method
        config = make_config({"method.name": "tuned", "train.budget_images": BUDGET})
        assert train(config, tiny_dataset, tmp_path / "own", RunContext(progress=told)).images_seen == BUDGET
        assert [(stage["total"], stage["done"]) for stage in told.stages] == [(BUDGET, BUDGET)]

    def test_a_missing_one_is_one_sentence(self, start_from, tmp_path):
        with pytest.raises(UserError, match=r"checkpoint .*nowhere\.safetensors to start from\.$"):
            start_from(tmp_path / "nowhere.safetensors")

    @pytest.mark.parametrize("damage", [lambda data: data[:300], lambda data: b"", lambda data: data[:-1000],
                                        lambda data: data[:-1] + bytes([data[-1] ^ 1])])
    def test_a_half_written_one_is_one_sentence(self, damage, checkpoint, start_from):
        checkpoint.write_bytes(damage(checkpoint.read_bytes()))
        with pytest.raises(UserError, match=r"checkpoint of a training \([^\n]*\)\.$"):
            start_from(checkpoint)

    def test_a_file_of_something_else_is_one_sentence(self, start_from, tmp_path):
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
        with pytest.raises(UserError, match="is no whole checkpoint of a training"):
            start_from(tmp_path / "other.safetensors")

    @pytest.mark.parametrize("foreign", ["network", "classes"])
    def test_one_of_another_network_is_one_sentence(self, foreign, checkpoint, start_from, make_dataset, tiny_dataset):
        other = {"network.channels": [16, 16]} if foreign == "network" else {}
        dataset = make_dataset((9, 5, 4, 2)) if foreign == "classes" else tiny_dataset
        with pytest.raises(UserError, match=r"classes or image sizes \([^\n]*\)\.$"):
            start_from(checkpoint, dataset, **other)

    def test_one_that_has_seen_the_whole_budget_is_one_sentence(self, checkpoint, start_from):
        with pytest.raises(UserError, match="seen 48 images, which count"):
            start_from(checkpoint, **{"train.budget_images": 48})


def test_a_user_can_fine_tune_any_base_by_any_loss(monkeypatch, make_config, tiny_dataset, tmp_path):
    """The hook alone: classes as they occur first, all equally often afterwards."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    drawn = []

    class Balanced(METHODS["ddpm"]):
        name = "balanced"

        def base(self):
            return METHODS["ddpm"](None, self.problem), 0.5

        def class_weights(self):
            return torch.tensor([0.0, 0.0, 1.0])

        def loss(self, net, batch, draws):
            drawn.append(set(batch.labels.tolist()))
            mse = net(batch.x_0, batch.labels, batch.labels).square().mean()
            return Loss(mse, {"mse": mse.detach()})

    METHODS.add("balanced", Balanced)
    train(make_config({"method.name": "balanced", "train.budget_images": 64}), tiny_dataset, tmp_path, RunContext())
    assert drawn == [{2}] * 4
    assert final(tmp_path)[1]["images_seen"] == 64
