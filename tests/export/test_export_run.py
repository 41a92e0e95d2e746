"""Trained networks as folders of diffusers, their cards, and sampling from such folders."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler, UNet2DModel
from safetensors.torch import load_file

from ltgen_bench.config.schema import RunConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import SampleSet
from ltgen_bench.data.load import load_dataset
from ltgen_bench.diffusion.guidance import Guidance
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.export.diffusers_folder import read_network
from ltgen_bench.export.folder_samples import draw, is_drawn, make_drawing
from ltgen_bench.export.run_export import export, find_trained, published
from ltgen_bench.methods.cbdm import CBDM
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling.chunks import Sampling
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.training.loop import train

SMALL = SampleConfig(sampler="ddim", steps=2, images_per_class=2, batch_size=7)


RUNS = {
    "cbdm": {},
    "ddpm": {"method": {"name": "ddpm"}, "sample.omega": 0.0},
    "a reserve": {"method": {"name": "cm"}},
    "an augmentation": {"method": {"name": "cfg"}, "train.augment": "ada", "sample.labels": "uniform"},
    "ancestral sampling": {"method": {"name": "cfg"}, "sample.sampler": "ddpm", "sample.steps": 4},
    "a flow": {"method": {"name": "cfg"}, "process.name": "flow", "sample.sampler": "euler", "sample.steps": 4},
    "heun": {"process.name": "flow", "sample.sampler": "heun", "sample.steps": 5},
    "heun, even": {"process.name": "flow", "sample.sampler": "heun", "sample.steps": 4},
}
FLOWS = ["a flow", "heun", "heun, even"]


class TestRoundTrip:
    @pytest.mark.parametrize("name", RUNS)
    def test_the_folder_gives_the_samples_of_the_run_bit_for_bit(self, made, name, tmp_path):
        done, exported = made(name, **RUNS[name])
        stored = read_network(exported.folder)
        drawing = make_drawing(stored, stored.facts.sample, None)
        assert exported.alone
        assert not is_drawn(drawing, tmp_path / "samples.npz")
        draw(drawing, tmp_path / "samples.npz", RunContext())
        mine, theirs = SampleSet.load(tmp_path / "samples.npz"), SampleSet.load(done.plan.samples.folder / "samples.npz")
        for key in ("images", "labels", "seeds"):
            np.testing.assert_array_equal(getattr(mine, key), getattr(theirs, key))
        assert len(np.unique(mine.images)) > 5, "nothing was drawn"
        assert is_drawn(drawing, tmp_path / "samples.npz")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["samples-sheet.png", "samples.npz"]

    @pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "class_embedding.safetensors", "ltgen_bench.json"])
    def test_one_bit_of_what_was_exported_is_noticed(self, made, tmp_path, name):
        _, exported = made("cbdm")
        folder = shutil.copytree(exported.folder, tmp_path / "net")
        file = folder / name
        data = bytearray(file.read_bytes())
        data[-5 if name.endswith("s") else data.index(b'"steps"') + 9] ^= 1
        file.write_bytes(data)
        with pytest.raises(UserError, match=rf"{name} (is not what was exported|is damaged)"):
            read_network(folder)
        (folder / "ltgen_bench.json").unlink()
        assert read_network(folder).facts is None, "another network is read as one from elsewhere"

    @pytest.mark.parametrize("name", RUNS)
    def test_predictions_are_those_of_the_run_bit_for_bit_with_labels_and_without(self, made, name):
        done, exported = made(name, **RUNS[name])
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder.path / "train", RunContext())
        net = read_network(exported.folder).net.to(memory_format=torch.channels_last)
        x_t = torch.randn(25, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        t, labels = torch.arange(25) * 40, torch.arange(25) % 11
        with torch.inference_mode():
            mine = net(x_t, t, labels)
            assert torch.equal(mine, trained.method.denoiser(trained.net, Guidance(0.0))(x_t, t, labels))
            assert not torch.equal(mine, net(x_t, t, (labels + 1) % 11))

    def test_the_null_row_is_zero_and_the_last(self, made):
        rows = load_file(made("cbdm")[1].folder / "class_embedding.safetensors")["weight"]
        assert rows.shape == (11, 32)
        assert not rows[10].any()
        assert rows[:10].abs().sum(1).min() > 0

    def test_diffusers_reads_the_averaged_weights(self, made):
        done, exported = made("cbdm")
        unet = UNet2DModel.from_pretrained(exported.folder, low_cpu_mem_usage=False)
        rows = load_file(exported.folder / "class_embedding.safetensors")["weight"]
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder.path / "train", RunContext())
        x_t = torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        t, labels = torch.arange(11) * 90, torch.arange(11)
        with torch.inference_mode():
            torch.testing.assert_close(unet(x_t, t, class_labels=rows[labels]).sample, trained.net(x_t, t, labels))

    def test_the_recipe_in_the_folder_is_that_of_the_run(self, made):
        done, exported = made("an augmentation", **RUNS["an augmentation"])
        again = make_plan(RunConfig.from_recipe(exported.folder / "recipe.toml"), done.plan.dataset, done.plan.runs, RunContext())
        assert (again.folder, again.sample_digest, again.score_digest) == (
            done.plan.folder, done.plan.sample_digest, done.plan.score_digest)


class TestWhatANetworkAloneGives:
    def test_guidance_by_another_network_is_not_in_the_folder_and_the_card_says_so(self, made, tmp_path):
        done, exported = made("classifier", **{"method": {"name": "classifier-guidance", "classifier_width": 8,
                                                          "classifier_share": 0.2}, "sample.omega": 1.0})
        text = (exported.folder / "README.md").read_text()
        assert not exported.alone
        assert "**The method `classifier-guidance` draws" in text
        assert "## Scores" not in text
        assert "omega *" not in text
        assert not (exported.folder / "samples.png").exists()
        stored = read_network(exported.folder)
        assert stored.facts.sample == done.plan.config.sample.model_copy(update={"omega": 0.0})
        with pytest.raises(UserError, match=r"sample\.omega: 1 needs a prediction"):
            make_drawing(stored, done.plan.config.sample, None)

    def test_any_denoiser_of_a_users_own_is_noticed(self, made, monkeypatch, tmp_path):
        done, _ = made("cbdm")
        usual = CBDM.denoiser
        monkeypatch.setattr(CBDM, "denoiser", lambda self, net, guidance: lambda x_t, t, labels:
                            1.01 * usual(self, net, Guidance(1.5 * guidance.omega))(x_t, t, labels))
        exported = export(find_trained(done.plan.runs, "cbdm"), tmp_path / "net", RunContext())
        assert (exported.alone, exported.facts.null_label, exported.facts.sample.omega) == (False, False, 0.0)

    def test_a_part_that_diffusers_lacks_is_a_sentence_and_no_folder(self, made, monkeypatch, tmp_path):
        done, _ = made("cbdm")
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder.path / "train", RunContext())
        trained.net.unet.more = torch.nn.Linear(2, 2)
        monkeypatch.setattr("ltgen_bench.export.run_export.train", lambda *args, **given: trained)
        with pytest.raises(UserError, match=r"diffusers' UNet2DModel lacks, .*: more\.weight"):
            export(find_trained(done.plan.runs, "cbdm"), tmp_path / "net", RunContext())
        assert list(tmp_path.iterdir()) == []

    def test_a_network_that_computes_something_else_is_refused(self, made, monkeypatch, tmp_path):
        done, _ = made("cbdm")
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder.path / "train", RunContext())
        trained.net.register_forward_hook(lambda module, args, output: output + 0.01)
        monkeypatch.setattr("ltgen_bench.export.run_export.train", lambda *args, **given: trained)
        with pytest.raises(UserError, match="computes something that diffusers' UNet2DModel"):
            export(find_trained(done.plan.runs, "cbdm"), tmp_path / "net", RunContext())
        assert list(tmp_path.iterdir()) == []


def example(folder):
    """The one Python program that the card prints."""
    [code] = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return code


@pytest.mark.parametrize(("name", "scheduler"), [
    ("a flow", FlowMatchEulerDiscreteScheduler), ("heun", FlowMatchHeunDiscreteScheduler)])
def test_a_plain_loop_of_diffusers_draws_the_images_of_a_flow(made, name, scheduler):
    """With the scheduler that the folder has, which is diffusers' own for flow matching."""
    done, exported = made(name, **RUNS[name])
    folder, config = exported.folder, done.plan.config.sample
    unet, timer = UNet2DModel.from_pretrained(folder), scheduler.from_pretrained(folder)
    assert json.loads((folder / "scheduler_config.json").read_text())["_class_name"] == scheduler.__name__
    rows = load_file(folder / "class_embedding.safetensors")["weight"]
    samples = SampleSet.load(done.plan.samples.folder / "samples.npz")
    x = torch.stack([torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(int(seed))) for seed in samples.seeds])
    timer.set_timesteps(config.steps // timer.order + timer.order - 1)
    assert len(timer.timesteps) == config.steps
    with torch.inference_mode():
        for t in timer.timesteps:
            own, null = (unet(x, t, class_labels=rows[labels]).sample for labels in
                         (torch.from_numpy(samples.labels), torch.full((len(x),), 10)))
            x = timer.step(own + config.omega * (own - null), t, x).prev_sample
    images = ((x.clamp(-1, 1) + 1) * 127.5).round()
    assert (images - torch.from_numpy(samples.images)).abs().max() <= 1
    assert config.omega > 0


class TestCard:
    @pytest.mark.parametrize("name", ["cbdm", "ddpm", *FLOWS])
    def test_its_example_works_as_printed_and_draws_what_the_sampler_draws(self, made, name, monkeypatch):
        done, exported = made(name, **RUNS[name])
        monkeypatch.chdir(exported.folder)
        space = {}
        exec(compile(example(exported.folder), "README.md", "exec"), space)
        (exported.folder / "images.png").unlink()
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder.path / "train", RunContext())
        denoiser = trained.method.denoiser(trained.net, Guidance(done.plan.config.sample.omega))
        scheduler = SAMPLERS[done.plan.config.sample.sampler].make(done.plan.config.sample.steps)
        x = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            for t in scheduler.timesteps:
                x = scheduler.step(denoiser(x, t.expand(10), torch.arange(10)), t, x).prev_sample
        torch.testing.assert_close(space["x"], x, rtol=1e-3, atol=1e-3)
        assert space["images"].shape == (10, 1, 8, 8)

    def test_it_says_what_the_network_is(self, made):
        done, exported = made("cbdm")
        text = (exported.folder / "README.md").read_text(encoding="utf-8")
        assert "predicts the velocity noise - x_0" in (made("heun", **RUNS["heun"])[1].folder / "README.md").read_text()
        for words in ("# cbdm on digits-lt", done.plan.dataset.fingerprint, done.plan.folder.name, "441 training images of 10",
                      "@inproceedings{qin2023cbdm", "CC BY 4.0", "predicts the noise of DDPM's linear schedule", "0: 0 (131)",
                      next(iter(done.record.protocols)), "# license:", "tau = 1.0", "![Samples"):
            assert words in text
        assert "condition vector" not in text

    def test_a_condition_of_an_augmentation_is_mentioned(self, made):
        text = (made("an augmentation", **RUNS["an augmentation"])[1].folder / "README.md").read_text(encoding="utf-8")
        assert "image was changed (`ada`)." in text
        assert "@inproceedings{karras2020ada" in text
        assert "--label-policy uniform" in text

    @pytest.mark.parametrize("name", ["a reserve", "an augmentation"])
    def test_only_what_is_there_is_counted(self, made, name):
        folder = made(name, **RUNS[name])[1].folder
        count = sum(tensor.numel() for file in folder.glob("*.safetensors") for tensor in load_file(file).values())
        assert f"`UNet2DModel` of {count:,} numbers" in (folder / "README.md").read_text(encoding="utf-8")

    def test_private_folders_do_not_leave(self):
        data = RunConfig.from_values({"data": {"name": "folder:/home/me/photos", "index_list": "/home/me/list.txt"}}).data
        assert (published(data).name, published(data).index_list) == ("folder:photos", "list.txt")
        assert published(RunConfig.from_values({"data": {"name": "npz:mine/a.npz"}}).data).name == "npz:mine/a.npz"


class TestFinding:
    def test_a_run_without_scores_is_exported_with_the_sampling_of_its_recipe(self, tiny_run, tmp_path):
        config = tiny_run(**{"train.budget_images": 32, "method": {"name": "cfg"}})
        plan = make_plan(config, load_dataset(config.data), tmp_path / "runs", RunContext())
        plan.folder.claim(plan.trained_part(), print)
        train(plan.config, plan.dataset, plan.folder.path / "train", RunContext())
        exported = export(find_trained(tmp_path / "runs", str(plan.folder)), tmp_path / "net", RunContext())
        assert exported.facts.sample == RunConfig.from_recipe("baselines/digits-lt/cfg.toml").sample
        assert exported.facts.null_label
        assert "## Scores" not in (tmp_path / "net" / "README.md").read_text()
        kept = (plan.folder.path / "config.toml").read_text()
        (plan.folder.path / "config.toml").write_text(kept.replace(plan.dataset.fingerprint, "0" * 16))
        with pytest.raises(UserError, match=r"fingerprint 0{16} there"):
            export(find_trained(tmp_path / "runs", str(plan.folder)), tmp_path / "other", RunContext())

    def test_an_unfinished_training_is_refused(self, made, tmp_path):
        done, _ = made("cbdm")
        folder = tmp_path / "runs" / "digits-lt" / done.plan.folder.name
        shutil.copytree(done.plan.folder, folder)
        [newest] = folder.glob("train/checkpoint-*200.safetensors")
        newest.rename(newest.with_name("checkpoint-000000000064.safetensors"))
        with pytest.raises(UserError, match="seen 64 of 200 images"):
            find_trained(tmp_path / "runs", "cbdm")

    def test_a_folder_with_files_is_not_written_into(self, made, tmp_path):
        done, _ = made("cbdm")
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(UserError, match="choose a new folder"):
            export(find_trained(done.plan.runs, "cbdm"), tmp_path, RunContext())
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


class TestOut:
    def test_an_interrupted_drawing_goes_on_and_has_the_same_bits(self, theirs, tmp_path, monkeypatch):
        drawing = make_drawing(read_network(theirs), SMALL, None)
        draw(drawing, tmp_path / "whole.npz", RunContext())
        usual, drawn = Sampling.draw, []

        def third_fails(self, denoiser, numbers, device):
            drawn.append(numbers)
            if len(drawn) == 3:
                raise KeyboardInterrupt
            return usual(self, denoiser, numbers, device)

        monkeypatch.setattr(Sampling, "draw", third_fails)
        with pytest.raises(KeyboardInterrupt):
            draw(drawing, tmp_path / "parts.npz", RunContext())
        assert not (tmp_path / "parts.npz").exists()
        draw(drawing, tmp_path / "parts.npz", RunContext())
        assert drawn == [range(7), range(7, 14), range(14, 20), range(14, 20)]
        assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
        assert not list(tmp_path.glob("*.unfinished"))

    def test_a_file_of_something_else_stays(self, theirs, tmp_path):
        drawing, out = make_drawing(read_network(theirs), SMALL, None), tmp_path / "out.npz"
        draw(drawing, out, RunContext())
        other = make_drawing(drawing.network, SMALL.model_copy(update={"steps": 4}), None)
        with pytest.raises(UserError, match="samples of another network"):
            is_drawn(other, out)
        np.savez(out, images=np.zeros(3))
        with pytest.raises(UserError, match="samples that this command wrote"):
            is_drawn(drawing, out)
        with pytest.raises(UserError, match=r"samples are written as \.npz"):
            is_drawn(drawing, tmp_path / "out.png")
        (tmp_path / "folder.npz").mkdir()
        with pytest.raises(UserError, match="folder; name a file"):
            is_drawn(drawing, tmp_path / "folder.npz")
