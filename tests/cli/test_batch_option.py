"""`--batch` on the commands: what it sets, what it refuses, and that digests stay what they were."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import DDIMScheduler, UNet2DModel

from ltgen_bench.cli.evaluate_command import evaluate
from ltgen_bench.cli.grid_command import grid
from ltgen_bench.cli.run_command import run
from ltgen_bench.cli.run_options import overrides_of
from ltgen_bench.cli.sample_command import sample
from ltgen_bench.cli.search_command import search
from ltgen_bench.config.schema import RunConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.experiments.pipeline import carry_out
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.experiments.speed_probe import estimate
from ltgen_bench.export.diffusers_folder import read_network
from ltgen_bench.export.folder_samples import draw, is_drawn, make_drawing
from ltgen_bench.runtime import batch_size
from ltgen_bench.runtime.context import RunContext


def digests(**overrides):
    config = RunConfig.from_values({}, overrides=overrides)
    train = config.train_digest("0123456789abcdef")
    return train, config.sample_digest(train), config.score_digest(config.sample_digest(train))


class TestDigests:
    BEFORE = ("8455b006", "bf630fc9", "fbb81476")

    def test_a_recipe_without_a_word_of_it_keeps_its_digests(self):
        assert digests() == digests(**{"sample.batch_size": 250}) == self.BEFORE

    def test_auto_has_a_digest_of_its_own_whatever_is_found(self):
        assert digests(**{"sample.batch_size": "auto"}) == (self.BEFORE[0], "95b43b9e", "8a3a0831")

    @pytest.mark.parametrize("size", [1, 64, "auto"])
    def test_what_an_extractor_looks_at_at_once_is_in_no_digest(self, size):
        assert digests(**{"evaluate.batch_size": size}) == self.BEFORE

    @pytest.mark.parametrize("size", [0, -1, 2.5, "many", True])
    @pytest.mark.parametrize("key", ["sample.batch_size", "evaluate.batch_size"])
    def test_anything_else_is_refused_with_what_is_allowed(self, key, size):
        with pytest.raises(UserError, match=rf"{key}: .* or 'auto'|{key}: .*'auto'"):
            RunConfig.from_values({}, overrides={key: size})

    def test_a_recipe_with_auto_is_saved_and_read_again(self, tmp_path):
        config = RunConfig.from_values({}, overrides={"sample.batch_size": "auto"})
        (tmp_path / "auto.toml").write_text(config.to_toml())
        assert RunConfig.from_recipe(tmp_path / "auto.toml") == config


class TestTheOption:
    def overrides(self, *arguments):
        options = run.make_context("run", list(arguments)).params
        return overrides_of(options.pop("settings"), options)

    def test_it_is_for_drawing_and_for_looking_and_not_for_training(self):
        given = self.overrides("--batch", "32")
        assert {key: value for key, value in given.items() if "batch" in key} == {
            "sample.batch_size": 32, "evaluate.batch_size": 32}
        assert self.overrides("--batch", "auto")["sample.batch_size"] == "auto"
        assert not [key for key in self.overrides() if "batch" in key]

    def test_set_wins_for_one_of_them(self):
        given = self.overrides("--batch", "auto", "--set", "evaluate.batch_size=16")
        assert (given["sample.batch_size"], given["evaluate.batch_size"]) == ("auto", 16)

    @pytest.mark.parametrize("text", ["0", "-3", "many", "2.5", "AUTO", ""])
    def test_what_is_no_number_is_refused_in_a_sentence(self, text):
        with pytest.raises(UserError, match=f"--batch {text}: it is a whole number above 0, or auto for as many as"):
            self.overrides("--batch", text)

    @pytest.mark.parametrize("command", [run, grid, search, sample, evaluate])
    def test_every_command_that_draws_or_looks_has_it_and_says_what_it_does(self, command):
        text = " ".join(CliRunner().invoke(command, ["--help"], terminal_width=200).output.split())
        assert "--batch N|auto Batch size of" in text


class TestARun:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch):
        """Searches of a moment: what they find is not looked at here."""
        monkeypatch.setattr(batch_size, "SECONDS", 0.1)

    def test_a_run_with_auto_tells_its_number_and_is_shown_again(self, tiny_run, tiny_dataset, tmp_path, told):
        config = tiny_run(**{"sample.batch_size": "auto", "evaluate.downstream": False, "evaluate.metrics": ["fid"],
                             "evaluate.classifier_steps": 3})
        cpu = torch.device("cpu")
        plan = make_plan(config, tiny_dataset, tmp_path, RunContext(cpu))
        made = carry_out(plan, RunContext(cpu, progress=told))
        assert sum("are drawn at once, which is fastest here" in message for message in told.messages) == 1
        stored = json.loads((plan.samples.folder / "sampling.json").read_text())
        assert made.record.config["sample"]["batch_size"] == "auto"
        assert 1 <= stored["chunk_images"] <= 36
        told.messages.clear()
        assert carry_out(plan, RunContext(cpu, progress=told)).record == made.record
        assert told.messages == []

    def test_a_dry_run_estimates_with_auto(self, tiny_run, tiny_dataset, tmp_path):
        plan = make_plan(tiny_run(**{"sample.batch_size": "auto"}), tiny_dataset, tmp_path, RunContext())
        assert estimate(plan, torch.device("cpu")).sample_seconds > 0
        assert not plan.folder.path.exists()

    def test_images_of_a_stored_network_say_how_many_were_drawn_at_once(self, tiny_dataset, tmp_path, told):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            unet = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
                               norm_num_groups=8, down_block_types=("DownBlock2D", "DownBlock2D"), attention_head_dim=None,
                               up_block_types=("UpBlock2D", "UpBlock2D"), num_class_embeds=3)
        unet.save_pretrained(tmp_path / "net")
        DDIMScheduler().save_pretrained(tmp_path / "net")
        config = SampleConfig(sampler="ddim", steps=2, images_per_class=2, batch_size="auto")
        drawing, out = make_drawing(read_network(tmp_path / "net"), config, tiny_dataset), tmp_path / "samples.npz"
        draw(drawing, out, RunContext(progress=told))
        with np.load(out) as stored:
            assert 1 <= json.loads(str(stored["sampling"]))["chunk_images"] <= 6
        assert len(told.messages) == 1
        assert is_drawn(drawing, out), "the drawing is the same whatever number is found"
