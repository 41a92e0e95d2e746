"""Scores along one training: its end is the run itself, and training is not touched by them."""

import re
import shutil
import signal

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import DamagedError, Interrupted
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.data.load import load_dataset
from ltgen_bench.diffusion.guidance import Guidance
from ltgen_bench.experiments.curves import carry_out_curve, networks_of, positions
from ltgen_bench.experiments.pipeline import carry_out, read_run
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Loss
from ltgen_bench.records.curve import COSTS, load_curve
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import find_runs
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.checkpoint import load_checkpoint, write_tensors
from ltgen_bench.training.loop import Snapshots, train
from ltgen_bench.training.trainer import Trainer


@pytest.fixture(scope="module")
def plan_in(tiny_run, few_halvings):
    digits = load_dataset(DataConfig(name="digits-lt"))
    config = tiny_run(**{"evaluate.downstream": False, "evaluate.metrics": ["fid", "is"]})
    return lambda runs: make_plan(config, digits, runs, RunContext())


@pytest.fixture(scope="module")
def plain(plan_in, tmp_path_factory):
    """A finished run without a curve."""
    return carry_out(plan_in(tmp_path_factory.mktemp("plain")), RunContext())


@pytest.fixture(scope="module")
def halved(plan_in, tmp_path_factory):
    """(plan, curve): the same run, scored once on its way."""
    plan = plan_in(tmp_path_factory.mktemp("halved"))
    return plan, carry_out_curve(plan, 112, RunContext())[1]


def test_the_last_point_is_the_run_and_the_training_is_that_of_a_run_without_a_curve(plain, halved):
    plan, curve = halved
    run = read_run(plan)
    assert plan.folder.name == plain.plan.folder.name
    assert run.scores.table["value"].tolist() == pytest.approx(plain.scores.table["value"].tolist(), abs=0, nan_ok=True)
    places = [*positions(plan.config.train, 112), plan.config.train.budget_images]
    assert sorted(set(curve["images"])) == places == [112, 200]
    last = curve[curve["images"] == places[-1]].drop(columns=list(COSTS)).reset_index(drop=True)
    pd.testing.assert_frame_equal(last, run.scores.table)
    each = curve["flops"] / curve["images"]
    assert each.min() > 0
    assert each.tolist() == pytest.approx([each[0]] * len(each), rel=1e-12)
    assert (plan.folder.path / "curve.csv").is_file()
    first = curve[curve["images"] == places[0]]["value"].tolist()
    assert first != pytest.approx(last["value"].tolist(), nan_ok=True)


def test_after_the_fact_the_points_are_the_same(plain, halved):
    _, after = carry_out_curve(plain.plan, 112, RunContext())
    assert after["value"].tolist() == pytest.approx(halved[1]["value"].tolist(), abs=0, nan_ok=True)
    assert not (plain.plan.folder.path / "curve" / "train").exists()


def test_positions_are_ends_of_steps_below_the_budget(tiny_run):
    train = tiny_run().train  # 200 images in steps of 16
    assert positions(train, 50) == [64, 112, 160]
    assert positions(train, 16) == [16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192]
    assert positions(train, 5) == positions(train, 16), "no position twice"
    assert positions(train, 199) == positions(train, 200) == positions(train, 10**6) == []


class TestWhatIsThere:
    @pytest.fixture
    def nothing_is_made(self, monkeypatch):
        for name in ("train", "sample", "evaluate"):
            monkeypatch.setattr(f"ltgen_bench.experiments.pipeline.{name}", None)
        monkeypatch.setattr("ltgen_bench.experiments.curves.train", None)

    def test_a_finished_curve_is_read(self, halved, nothing_is_made):
        plan, curve = halved
        run, again = carry_out_curve(plan, 112, RunContext())
        pd.testing.assert_frame_equal(again, curve)
        pd.testing.assert_frame_equal(load_curve(plan.folder.path / "curve.csv"), curve)
        pd.testing.assert_frame_equal(load_curve(plan.scores.folder / "curve.csv"), curve)
        assert run.record.entry.budget_images == 200

    def test_the_points_are_no_runs_and_disturb_no_list_of_them(self, halved):
        plan, _ = halved
        (found,) = find_runs(plan.runs)
        assert (found.folder, found.record.entry.budget_images) == (plan.folder, 200)
        point = RunRecord.load(plan.folder.path / "curve" / "000000000112" / "scores" / plan.score_digest)
        assert point.entry.budget_images == 112
        assert point.train_seconds < found.record.train_seconds

    def test_other_samples_of_the_same_training_use_its_weights(self, halved, monkeypatch):
        plan, curve = halved
        config = plan.config.model_copy(update={"sample": plan.config.sample.model_copy(update={"omega": 2.0})})
        monkeypatch.setattr("ltgen_bench.experiments.curves.train", None)
        monkeypatch.setattr(Trainer, "step", None)
        other = make_plan(config, plan.dataset, plan.runs, RunContext())
        assert other.folder == plan.folder
        _, guided = carry_out_curve(other, 112, RunContext())
        assert guided["images"].tolist() == curve["images"].tolist()
        assert guided["value"].tolist() != pytest.approx(curve["value"].tolist())
        pd.testing.assert_frame_equal(load_curve(plan.scores.folder / "curve.csv"), curve)

    def test_more_positions_train_up_to_the_last_that_is_missing(self, halved, plan_in, tmp_path, monkeypatch, told):
        plan, curve = halved
        copied = plan_in(shutil.copytree(plan.runs, tmp_path / "copy"))
        seen, step = [], Trainer.step

        def counting(self):
            loss = step(self)
            seen.append(self.images_seen)
            return loss

        monkeypatch.setattr(Trainer, "step", counting)
        _, more = carry_out_curve(copied, 64, RunContext(progress=told))
        assert sorted(set(more["images"])) == [64, 128, 192, 200]
        assert seen[-1] == 192
        assert any("run is past 3 positions" in message for message in told.messages)
        assert more[more["images"] == 200]["value"].tolist() == curve[curve["images"] == 200]["value"].tolist()


def test_damaged_weights_of_a_position_are_trained_again_with_the_same_bits(halved, tmp_path, told):
    plan, curve = halved
    copied = make_plan(plan.config, plan.dataset, shutil.copytree(plan.runs, tmp_path / "copy"), RunContext())
    [weights] = copied.folder.path.glob("curve/*/weights.safetensors")
    before = {name: tensor.clone() for name, tensor in load_checkpoint(weights)[0].items()}  # which else is the file's
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    for name in ("samples", "scores"):
        shutil.rmtree(weights.parent / name)
    _, again = carry_out_curve(copied, 112, RunContext(progress=told))
    assert "weights.safetensors is damaged" in "".join(told.messages)
    assert again["value"].tolist() == pytest.approx(curve["value"].tolist(), abs=0, nan_ok=True)
    after = load_checkpoint(weights)[0]
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


class Headed(METHODS["ddpm"]):
    """Its denoiser needs a module that is trained with the network."""

    name = "headed"

    def extra_modules(self):
        self.head = torch.nn.Linear(1, 1)
        return torch.nn.ModuleDict({"head": self.head})

    def loss(self, net, batch, draws):
        x_t, t, noise = self.noised(batch, draws)
        return Loss((self.head(net(x_t, t, batch.labels)[..., None])[..., 0] - noise).square().mean())

    def denoiser(self, net, guidance):
        return lambda x_t, t, labels: self.head(net(x_t, t, labels)[..., None])[..., 0]


def test_a_denoiser_finds_its_modules_as_they_were_at_the_position(make_config, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(METHODS, "_entries", {**METHODS._entries, "headed": Headed})
    config = make_config({"method.name": "headed", "train.learning_rate": 0.01, "train.warmup_images": 0})
    kept = tmp_path / "run" / "curve" / "16" / "weights.safetensors"
    train(config, tiny_dataset, tmp_path / "run" / "train", RunContext(), Snapshots({16: kept}))
    there = train(config, tiny_dataset, tmp_path / "beside", RunContext(), Snapshots(until=16))

    def predicted(trained):
        x_t, t = torch.ones(2, *tiny_dataset.image_shape), torch.tensor([10, 500])
        with torch.inference_mode():
            return trained.method.denoiser(trained.net, Guidance(0.0))(x_t, t, torch.tensor([0, 1]))

    def left():
        return next(networks_of([kept], config, tiny_dataset, tmp_path / "run", RunContext(interruption=Interruption())))

    assert torch.equal(predicted(left()), predicted(there))
    tensors, info = load_checkpoint(kept)
    write_tensors(kept, {name: value for name, value in tensors.items() if name.startswith("ema.")}, info)
    with pytest.raises(DamagedError, match=r"weights of headed.*head.*evaluate-every"):
        left()


@pytest.mark.parametrize("at", [80, 144], ids=["before the point", "behind it"])
def test_an_interrupted_curve_goes_on_and_ends_alike(plan_in, halved, tmp_path, monkeypatch, at):
    plan, step = plan_in(tmp_path), Trainer.step

    def stopped(self):
        loss = step(self)
        if self.images_seen == at:
            signal.raise_signal(signal.SIGINT)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        with pytest.raises(Interrupted, match=f"stopped at {at} of 200 images; the position is saved"):
            carry_out_curve(plan, 112, RunContext())
    monkeypatch.setattr("ltgen_bench.experiments.curves.train", None)  # nothing is trained again
    _, curve = carry_out_curve(plan, 112, RunContext())
    assert curve["value"].tolist() == pytest.approx(halved[1]["value"].tolist(), abs=0, nan_ok=True)


def test_the_command_writes_and_shows_it(tmp_path, tiny_run):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tiny_run(**{"evaluate.downstream": False, "evaluate.metrics": ["fid"]}).to_toml())
    arguments = ["run", "--recipe", str(recipe), "--runs", str(tmp_path / "runs"), "--threads", "1"]
    done = CliRunner().invoke(cli, [*arguments, "--evaluate-every", "100"], catch_exceptions=False)
    assert "during training" in done.stdout
    assert re.search(r"^ +112 +\S+e9 ", done.stdout, re.MULTILINE)
    (file,) = (tmp_path / "runs").glob("digits-lt/*/curve.csv")
    assert set(load_curve(file)["images"]) == {112, 200}
    refused = CliRunner().invoke(cli, [*arguments, "--evaluate-every", "0"])
    assert "range x>=1" in refused.stderr
