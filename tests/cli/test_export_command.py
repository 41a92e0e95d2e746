"""`ltgen-bench export` and `sample` as a user types them: from a run to a network elsewhere, and to scores of its images."""

import json
import shlex
import shutil
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import DDIMScheduler, UNet2DModel

from ltgen_bench.cli import cli
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import SampleSet
from ltgen_bench.records.store import find_run

METHOD = """
from ltgen_bench.methods.ddpm import DDPM


class Mine(DDPM):
    name = "mine"
    summary = "as ddpm"
    source = "mine"
"""


@pytest.fixture
def ask(tmp_path, undisturbed, monkeypatch):
    """`ask("export ...")`: (stdout, stderr) of the command in an empty folder with one finished run under runs/."""
    shutil.copytree(undisturbed.plan.runs, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)

    def call(command):
        words = shlex.split(command)
        monkeypatch.setattr(sys, "argv", ["ltgen-bench", *words])
        result = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
        return result.stdout, result.stderr

    return call


def following(out):
    """The command that comes next, as the last line says."""
    return out.splitlines()[-1].removeprefix(" next      ltgen-bench ")


def test_each_command_leads_to_the_next_and_the_last_gives_the_scores_of_the_run(ask, undisturbed, tmp_path):
    out, _ = ask("export cbdm net")
    assert out.splitlines() == [" network   net", " how to    net/README.md",
                                " next      ltgen-bench sample net --out samples.npz"]
    out, told = ask(f"{following(out)} --device cpu")
    assert f"net ({undisturbed.plan.folder.name}): 12 images of each of 10 classes, dpm-solver++ 3, omega 0.5, seed 0" in told
    assert following(out).startswith("evaluate samples.npz --dataset digits-lt --name 'exported cbdm-")
    [record] = json.loads(ask(f"{following(out)} --metrics fid,recall --device cpu --json")[0])
    assert (record["kind"], record["seed"]) == ("samples", 0)
    scores = find_run(tmp_path / "runs", "exported-cbdm").scores.table
    both = scores.merge(undisturbed.scores.table, on=["metric", "scope", "class_name", "protocol"])
    assert len(both) == len(scores) == 7 + 17
    np.testing.assert_array_equal(both["value_x"], both["value_y"])


def test_a_second_call_shows_what_is_there(ask, monkeypatch):
    ask("export cbdm net")
    first, _ = ask("sample net --steps 2 --images-per-class 1")
    monkeypatch.setattr("ltgen_bench.export.folder_samples.sample", None)
    again, told = ask("sample net --steps 2 --images-per-class 1")
    assert again.splitlines()[0].startswith("drawn before; shown from net-")
    assert again.splitlines()[1:] == first.splitlines()
    assert told == ""


def test_options_say_how_it_is_sampled(ask, tmp_path):
    ask("export cbdm net")
    out, told = ask("sample net --dataset digits-lt --omega 2 --sampler ddim --steps 4 --images-per-class 3 --seed 7 "
                    "--set sample.labels=uniform --out a.npz")
    assert "30 images of random classes, ddim 4, omega 2, seed 7" in told
    assert following(out).endswith("--label-policy uniform")
    assert (tmp_path / "a-sheet.png").is_file()
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["images"].shape == (30, 8, 8, 1)
        assert json.loads(str(stored["about"]))["sample"]["omega"] == 2
    assert len(np.unique(SampleSet.load(tmp_path / "a.npz").seeds)) == 30


def test_a_network_from_elsewhere_is_sampled_and_scored(ask, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        unet = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
                           norm_num_groups=8, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
                           num_class_embeds=11)
    unet.save_pretrained(tmp_path / "theirs")
    DDIMScheduler().save_pretrained(tmp_path / "theirs")
    with pytest.raises(UserError, match="classes it knows"):
        ask("sample theirs")
    out, told = ask("sample theirs --dataset digits-lt --imbalance-factor 10 --steps 3 --images-per-class 5 --omega 1 "
                    "--out x.npz")
    assert "theirs: 5 images of each of 10 classes, dpm-solver++ 3, omega 1, seed 0" in told
    assert following(out) == "evaluate x.npz --dataset digits-lt --imbalance-factor 10 --name theirs"
    [record] = json.loads(ask(f"{following(out)} --metrics is --device cpu --json")[0])
    assert (record["label"], record["imbalance_factor"], record["entry"]["images_per_class"]) == ("theirs", 10.0, 5)


def test_a_method_of_ones_own_is_exported_with_its_file(ask, tmp_path, monkeypatch):
    from ltgen_bench.methods import METHODS

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    (tmp_path / "mine.py").write_text(METHOD)
    ask("run --method-file mine.py --budget-images 32 --images-per-class 1 --steps 2 --set evaluate.downstream=false "
        "--set 'evaluate.metrics=[\"is\"]' --device cpu")
    METHODS.remove("mine")
    with pytest.raises(UserError, match="unknown method 'mine'"):
        ask("export mine net")
    ask("export mine net --method-file mine.py")
    assert "ltgen-bench run --recipe recipe.toml --method-file FILE" in (tmp_path / "net" / "README.md").read_text()


@pytest.mark.parametrize(("command", "sentence"), [
    ("export nobody net", "run 'nobody' under runs"),
    ("export cbdm runs", "choose a new folder"),
    ("sample nothing", "ltgen-bench export RUN DIR"),
    ("sample runs", "runs has no config.json"),
    ("sample runs --sampler dimm", "'dimm'. Did you mean 'ddim'"),
    ("sample runs --set train.seed=1", "--set train.seed:"),
    ("sample runs --image-size 32", "--image-size:"),
    ("sample runs --dataset cifar11-lt", "unknown data set 'cifar11-lt'"),
])
def test_a_mistake_is_one_sentence(ask, command, sentence):
    with pytest.raises(UserError) as caught:
        ask(command)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_and_a_network_are_told_apart(ask, undisturbed, tmp_path):
    folder = f"runs/digits-lt/{undisturbed.plan.folder.name}"
    with pytest.raises(UserError, match=f"{folder} is a run; .*: ltgen-bench export {folder} DIR"):
        ask(f"sample {folder}")
    ask(f"export {folder} net")
    with pytest.raises(UserError, match="first: ltgen-bench sample net --out"):
        ask("evaluate net --dataset digits-lt")
    with pytest.raises(UserError, match=r"sample\.steps"):
        ask("sample net --steps 0")
    with pytest.raises(UserError, match=r"ddim takes every .* 3"):
        ask("sample net --sampler ddim --steps 3")
    assert not list(tmp_path.glob("*.unfinished")), "and nothing is left behind"
