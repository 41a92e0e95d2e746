"""Trained networks as folders of diffusers, their cards, and sampling from such folders."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from ltgen_bench.config.schema import RunConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import SampleSet
from ltgen_bench.data.load import load_dataset
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.experiments.pipeline import claim, make_plan, run
from ltgen_bench.export.diffusers_folder import read_network
from ltgen_bench.export.folder_samples import draw, is_drawn, make_drawing
from ltgen_bench.export.run_export import export, find_trained, published
from ltgen_bench.methods.cbdm import CBDM
from ltgen_bench.sampling.draw import Sampling
from ltgen_bench.training.loop import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tiny_run, tmp_path_factory):
    """`made(name, **overrides)`: (a finished tiny run, what it was exported to), made once."""
    known = {}

    def make(name, **overrides):
        if name not in known:
            less = {"evaluate.metrics": ["is"], "evaluate.downstream": False, "sample.images_per_class": 3}
            config = tiny_run(**{**less, **overrides})
            place = tmp_path_factory.mktemp(name)
            done = run(config, runs=place / "runs", device="cpu")
            known[name] = done, export(find_trained(place / "runs", done.plan.folder.name), place / "net")
        return known[name]

    return make


RUNS = {
    "cbdm": {},
    "ddpm": {"method": {"name": "ddpm"}, "sample.omega": 0.0},
    "a reserve": {"method": {"name": "cm"}},
    "an augmentation": {"method": {"name": "cfg"}, "train.augment": "ada", "sample.labels": "uniform"},
    "ancestral sampling": {"method": {"name": "cfg"}, "sample.sampler": "ddpm", "sample.steps": 4},
}


class TestRoundTrip:
    @pytest.mark.parametrize("name", RUNS)
    def test_the_folder_gives_the_samples_of_the_run_bit_for_bit(self, made, name, tmp_path):
        done, exported = made(name, **RUNS[name])
        stored = read_network(exported.folder)
        drawing = make_drawing(stored, stored.facts.sample, None)
        assert exported.alone
        assert not is_drawn(drawing, tmp_path / "samples.npz")
        draw(drawing, tmp_path / "samples.npz", device=CPU)
        mine, theirs = SampleSet.load(tmp_path / "samples.npz"), SampleSet.load(done.plan.sample_folder / "samples.npz")
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
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder / "train")
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
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder / "train")
        x_t = torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        t, labels = torch.arange(11) * 90, torch.arange(11)
        with torch.inference_mode():
            torch.testing.assert_close(unet(x_t, t, class_labels=rows[labels]).sample, trained.net(x_t, t, labels))

    def test_the_recipe_in_the_folder_is_that_of_the_run(self, made):
        done, exported = made("an augmentation", **RUNS["an augmentation"])
        again = make_plan(RunConfig.from_recipe(exported.folder / "recipe.toml"), done.plan.dataset, done.plan.runs)
        assert (again.folder, again.sample_digest, again.score_digest) == (
            done.plan.folder, done.plan.sample_digest, done.plan.score_digest)


class TestWhatANetworkAloneGives:
    def test_guidance_by_another_network_is_not_in_the_folder_and_the_card_says_so(self, made, tmp_path):
        done, exported = made("classifier", **{"method": {"name": "classifier-guidance", "classifier_width": 8,
                                                          "classifier_share": 0.2}, "sample.omega": 1.0})
        text = (exported.folder / "README.md").read_text()
        assert not exported.alone
        assert "**The method `classifier-guidance` draws its images by more than this network.**" in text
        assert "## Scores" not in text
        assert "omega *" not in text
        assert not (exported.folder / "samples.png").exists()
        stored = read_network(exported.folder)
        assert stored.facts.sample == done.plan.config.sample.model_copy(update={"omega": 0.0})
        with pytest.raises(UserError, match=r"sample\.omega: 1 needs a prediction without a label"):
            make_drawing(stored, done.plan.config.sample, None)

    def test_any_denoiser_of_a_users_own_is_noticed(self, made, monkeypatch, tmp_path):
        done, _ = made("cbdm")
        usual = CBDM.denoiser
        monkeypatch.setattr(CBDM, "denoiser", lambda self, net, guidance: lambda x_t, t, labels:
                            1.01 * usual(self, net, Guidance(1.5 * guidance.omega))(x_t, t, labels))
        exported = export(find_trained(done.plan.runs, "cbdm"), tmp_path / "net")
        assert (exported.alone, exported.facts.null_label, exported.facts.sample.omega) == (False, False, 0.0)

    def test_a_part_that_diffusers_lacks_is_a_sentence_and_no_folder(self, made, monkeypatch, tmp_path):
        done, _ = made("cbdm")
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder / "train")
        trained.net.unet.more = torch.nn.Linear(2, 2)
        monkeypatch.setattr("ltgen_bench.export.run_export.train", lambda *args, **given: trained)
        with pytest.raises(UserError, match=r"parts that diffusers' UNet2DModel lacks, .*: more\.weight, more\.bias\."):
            export(find_trained(done.plan.runs, "cbdm"), tmp_path / "net")
        assert list(tmp_path.iterdir()) == []

    def test_a_network_that_computes_something_else_is_refused(self, made, monkeypatch, tmp_path):
        done, _ = made("cbdm")
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder / "train")
        trained.net.register_forward_hook(lambda module, args, output: output + 0.01)
        monkeypatch.setattr("ltgen_bench.export.run_export.train", lambda *args, **given: trained)
        with pytest.raises(UserError, match="computes something that diffusers' UNet2DModel with its weights does not"):
            export(find_trained(done.plan.runs, "cbdm"), tmp_path / "net")
        assert list(tmp_path.iterdir()) == []


def example(folder):
    """The one Python program that the card prints."""
    [code] = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return code


class TestCard:
    @pytest.mark.parametrize("name", ["cbdm", "ddpm"])
    def test_its_example_works_as_printed_and_draws_what_the_sampler_draws(self, made, name, monkeypatch):
        done, exported = made(name, **RUNS[name])
        monkeypatch.chdir(exported.folder)
        space = {}
        exec(compile(example(exported.folder), "README.md", "exec"), space)
        (exported.folder / "images.png").unlink()
        trained = train(done.plan.config, done.plan.dataset, done.plan.folder / "train")
        denoiser = trained.method.denoiser(trained.net, Guidance(done.plan.config.sample.omega))
        scheduler = type(space["scheduler"]).from_config(space["scheduler"].config)
        scheduler.set_timesteps(done.plan.config.sample.steps)
        x = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            for t in scheduler.timesteps:
                x = scheduler.step(denoiser(x, t.expand(10), torch.arange(10)), t, x).prev_sample
        torch.testing.assert_close(space["x"], x, rtol=1e-3, atol=1e-3)
        assert space["images"].shape == (10, 1, 8, 8)

    def test_it_says_what_the_network_is(self, made):
        done, exported = made("cbdm")
        text = (exported.folder / "README.md").read_text(encoding="utf-8")
        for words in ("# cbdm on digits-lt", done.plan.dataset.fingerprint, done.plan.folder.name, "441 training images of 10",
                      "@inproceedings{qin2023cbdm", "CC BY 4.0", "predicts the noise of DDPM's linear schedule", "0: 0 (131)",
                      next(iter(done.record.protocols)), "# license:", "tau = 1.0", "![Samples"):
            assert words in text
        assert "condition vector" not in text

    def test_a_condition_of_an_augmentation_is_mentioned(self, made):
        text = (made("an augmentation", **RUNS["an augmentation"])[1].folder / "README.md").read_text(encoding="utf-8")
        assert "In training a condition vector told the network how an image was changed (`ada`)." in text
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
        plan = make_plan(config, load_dataset(config.data), tmp_path / "runs")
        claim(plan)
        train(plan.config, plan.dataset, plan.folder / "train")
        exported = export(find_trained(tmp_path / "runs", str(plan.folder)), tmp_path / "net")
        assert exported.facts.sample == RunConfig.from_recipe("baselines/digits-lt/cfg.toml").sample
        assert exported.facts.null_label
        assert "## Scores" not in (tmp_path / "net" / "README.md").read_text()
        kept = (plan.folder / "config.toml").read_text()
        (plan.folder / "config.toml").write_text(kept.replace(plan.dataset.fingerprint, "0" * 16))
        with pytest.raises(UserError, match=r"fingerprint 0{16} there"):
            export(find_trained(tmp_path / "runs", str(plan.folder)), tmp_path / "other")

    def test_an_unfinished_training_is_refused(self, made, tmp_path):
        done, _ = made("cbdm")
        folder = tmp_path / "runs" / "digits-lt" / done.plan.folder.name
        shutil.copytree(done.plan.folder, folder)
        [newest] = folder.glob("train/checkpoint-*200.safetensors")
        newest.rename(newest.with_name("checkpoint-000000000064.safetensors"))
        with pytest.raises(UserError, match="has seen 64 of 200 images; repeat its ltgen-bench run"):
            find_trained(tmp_path / "runs", "cbdm")

    def test_a_folder_with_files_is_not_written_into(self, made, tmp_path):
        done, _ = made("cbdm")
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(UserError, match="is there and not empty; choose a new folder"):
            export(find_trained(done.plan.runs, "cbdm"), tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture
def theirs(made, tmp_path):
    """An exported folder to be spoilt."""
    shutil.copytree(made("cbdm")[1].folder, tmp_path / "net")
    return tmp_path / "net"


@pytest.fixture
def make_foreign(tmp_path):
    """`make_foreign(num_class_embeds, scheduler)`: a plain class-conditional U-Net of diffusers with random weights."""

    def make(rows, scheduler=None, folder="foreign", **config):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            unet = UNet2DModel(sample_size=8, in_channels=1, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=8,
                               down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
                               attention_head_dim=None, **{"out_channels": 1, "num_class_embeds": rows, **config})
        place = tmp_path / folder
        unet.save_pretrained(place)
        (scheduler or DDIMScheduler()).save_pretrained(place)
        return place, unet.eval()

    return make


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


SMALL = SampleConfig(sampler="ddim", steps=2, images_per_class=2, batch_size=7)


class TestForeignNetworks:
    def test_a_last_row_beyond_the_classes_is_no_label(self, make_foreign, tiny_dataset):
        folder, unet = make_foreign(4)
        drawing = make_drawing(read_network(folder), SMALL.model_copy(update={"omega": 1.5}), tiny_dataset)
        x_t, t, labels = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2)), torch.arange(5), torch.arange(5) % 3
        with torch.inference_mode():
            found = guided(drawing.network.net, Guidance(1.5), drawing.network.net.rows - 1)(x_t, t, labels)
            cond, null = unet(x_t, t, class_labels=labels).sample, unet(x_t, t, class_labels=torch.full((5,), 3)).sample
        torch.testing.assert_close(found, 2.5 * cond - 1.5 * null)

    def test_without_such_a_row_there_is_no_guidance(self, make_foreign, tiny_dataset, tmp_path):
        stored = read_network(make_foreign(3)[0])
        draw(make_drawing(stored, SMALL, tiny_dataset), tmp_path / "samples.npz", device=CPU)
        assert SampleSet.load(tmp_path / "samples.npz").labels.tolist() == [0, 1, 2, 0, 1, 2]
        with pytest.raises(UserError, match=r"needs a prediction without a label, .* draw with --omega 0"):
            make_drawing(stored, SMALL.model_copy(update={"omega": 0.5}), tiny_dataset)

    def test_an_embedding_beside_it_serves_a_network_of_anybody(self, make_foreign, tiny_dataset, tmp_path):
        inside, unet = make_foreign(4)
        beside, other = make_foreign(None, folder="beside", class_embed_type="identity")
        state = unet.state_dict()
        save_file({"weight": state.pop("class_embedding.weight")}, beside / "class_embedding.safetensors")
        other.load_state_dict(state)
        other.save_pretrained(beside)
        config = SMALL.model_copy(update={"omega": 1.0})
        for folder in (inside, beside):
            draw(make_drawing(read_network(folder), config, tiny_dataset), folder / "out.npz", device=CPU)
        mine, its = (SampleSet.load(folder / "out.npz").images for folder in (inside, beside))
        np.testing.assert_array_equal(mine, its)
        assert len(np.unique(mine)) > 5

    def test_the_layout_of_pipelines_is_read_too(self, make_foreign, tiny_dataset, tmp_path):
        folder, _ = make_foreign(3)
        for name in ("unet/config.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"):
            place = tmp_path / "pipeline" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / place.name, place)
        assert read_network(tmp_path / "pipeline").digest == read_network(folder).digest

    @pytest.mark.parametrize(("scheduler", "sentence"), [
        (DDPMScheduler(beta_end=0.012), r"beta_end 0\.012 where 0\.02 is needed, since"),
        (DDPMScheduler(beta_schedule="squaredcos_cap_v2"), "beta_schedule squaredcos_cap_v2 where linear is needed"),
        (DDIMScheduler(prediction_type="v_prediction", num_train_timesteps=500),
         "num_train_timesteps 500 where 1000 is needed; prediction_type v_prediction where epsilon is needed"),
        (DDIMScheduler(rescale_betas_zero_snr=True), "rescale_betas_zero_snr True where False"),
        (DDPMScheduler(trained_betas=[0.1] * 1000), r"trained_betas \[0\.1, .{0,40} where None is needed"),
    ])
    def test_another_schedule_or_prediction_is_one_sentence(self, make_foreign, scheduler, sentence):
        with pytest.raises(UserError, match=sentence) as caught:
            read_network(make_foreign(3, scheduler)[0])
        assert "\n" not in str(caught.value)

    def test_a_schedule_of_an_older_diffusers_is_read(self, make_foreign):
        folder, _ = make_foreign(3)
        values = json.loads((folder / "scheduler_config.json").read_text())
        old = {key: values[key] for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")}
        (folder / "scheduler_config.json").write_text(json.dumps(old))
        assert read_network(folder).net.rows == 3
        del old["beta_end"]
        (folder / "scheduler_config.json").write_text(json.dumps(old))
        with pytest.raises(UserError, match=r"beta_end is not stated where 0\.02 is needed"):
            read_network(folder)

    def test_a_pickle_is_never_read(self, make_foreign, monkeypatch):
        folder, unet = make_foreign(3)
        (folder / "diffusion_pytorch_model.safetensors").unlink()
        with pytest.raises(UserError, match=r"has no diffusion_pytorch_model\.safetensors\."):
            read_network(folder)
        torch.save(unet.state_dict(), folder / "diffusion_pytorch_model.bin")
        monkeypatch.setattr("torch.load", None)
        with pytest.raises(UserError, match=r"model\.bin is a pickle, which can run code, and is not read; where you trust it"):
            read_network(folder)

    @pytest.mark.parametrize(("config", "sentence"), [
        ({"num_class_embeds": None}, "the network takes no class labels; needed is num_class_embeds, or class_embed_type"),
        ({"class_embed_type": "timestep"}, "the network takes no class labels"),
        ({"class_embed_type": "identity"}, r"class_embedding\.safetensors is missing, and holds .* a row of 32 numbers"),
        ({"_class_name": "UNet2DConditionModel"}, "is of UNet2DConditionModel; only UNet2DModel can be sampled here"),
        ({"out_channels": 2}, "1 channels go in and 2 come out"),
        ({"block_out_channels": [8, 24]}, "does not fit .*missing, too many or of another shape are"),
        ({"block_out_channels": [8, 17]}, r"config\.json: diffusers makes no network of it"),
        ({"num_class_embeds": "many"}, r"config\.json: diffusers makes no network of it"),
    ])
    def test_what_is_no_such_network_is_one_sentence(self, make_foreign, config, sentence):
        folder, unet = make_foreign(3)
        if config.get("class_embed_type") == "identity":
            state = unet.state_dict()
            del state["class_embedding.weight"]
            save_file(state, folder / "diffusion_pytorch_model.safetensors")
        change(folder / "config.json", **config)
        with pytest.raises(UserError, match=sentence) as caught:
            read_network(folder)
        assert "\n" not in str(caught.value)

    def test_classes_and_images_must_be_those_of_the_data(self, make_foreign, tiny_dataset, make_dataset):
        stored = read_network(make_foreign(6)[0])
        with pytest.raises(UserError, match="knows 6 labels, and there are 3 classes: allowed are 3, or 4 with a last one"):
            make_drawing(stored, SMALL, tiny_dataset)
        with pytest.raises(UserError, match="does not say which classes it knows; name its data set, as in --dataset cifar10-lt"):
            make_drawing(stored, SMALL, None)
        coloured = make_dataset((9, 4, 2, 2, 2), (3, 16, 16))
        with pytest.raises(UserError, match="images of 8 x 8 with 1 channel, and those of tiny are 16 x 16 with 3 channels"):
            make_drawing(stored, SMALL, coloured)

    def test_images_of_another_size_are_another_drawing(self, make_foreign, make_dataset, tmp_path):
        """Where the data set decides the size, since the network does not say one."""
        folder, _ = make_foreign(3)
        change(folder / "config.json", sample_size=None)
        stored = read_network(folder)
        small, large = (make_drawing(stored, SMALL, make_dataset(shape=(1, side, side))) for side in (8, 16))
        assert small.digest != large.digest
        draw(small, tmp_path / "samples.npz", device=CPU)
        assert is_drawn(small, tmp_path / "samples.npz")
        with pytest.raises(UserError, match="other settings; name another"):
            is_drawn(large, tmp_path / "samples.npz")


class TestSpoiltFolders:
    @pytest.mark.parametrize(("spoil", "sentence"), [
        (lambda net: (net / "config.json").unlink(), r"has no config\.json, so it is no network of diffusers"),
        (lambda net: (net / "config.json").write_text("{"), r"config\.json could not be read as JSON"),
        (lambda net: (net / "config.json").write_text("[]"), r"config\.json holds list where an object is needed"),
        (lambda net: (net / "scheduler_config.json").unlink(), "is missing, and without it the noise schedule .* is not known"),
        (lambda net: change(net / "ltgen_bench.json", seed="x"), r"ltgen_bench\.json has 1 problem"),
        (lambda net: (net / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 99), "not a readable file of safetensors"),
        (lambda net: save_file({"weight": torch.zeros(11, 5)}, net / "class_embedding.safetensors"),
         r"needed is a tensor `weight` with a row of 32 numbers for each label; it is of shape \[11, 5\]"),
        (lambda net: save_file({"w": torch.zeros(11, 32)}, net / "class_embedding.safetensors"), "for each label; it is none"),
        (lambda net: save_file({"weight": torch.full((11, 32), torch.nan)}, net / "class_embedding.safetensors"),
         "holds numbers that are not finite, in weight"),
    ])
    def test_each_fault_is_told(self, theirs, spoil, sentence):
        spoil(theirs)
        with pytest.raises(UserError, match=sentence):
            read_network(theirs)

    def test_other_classes_than_those_of_the_data_are_told(self, theirs, make_dataset):
        with pytest.raises(UserError, match=r"was trained on other classes \(0, 1, 2, \.\.\.\) than those of tiny; leave out"):
            make_drawing(read_network(theirs), SMALL, make_dataset((3,) * 10))


class TestOut:
    def test_an_interrupted_drawing_goes_on_and_has_the_same_bits(self, theirs, tmp_path, monkeypatch):
        drawing = make_drawing(read_network(theirs), SMALL, None)
        draw(drawing, tmp_path / "whole.npz", device=CPU)
        usual, drawn = Sampling.draw, []

        def third_fails(self, denoiser, numbers):
            drawn.append(numbers)
            if len(drawn) == 3:
                raise KeyboardInterrupt
            return usual(self, denoiser, numbers)

        monkeypatch.setattr(Sampling, "draw", third_fails)
        with pytest.raises(KeyboardInterrupt):
            draw(drawing, tmp_path / "parts.npz", device=CPU)
        assert not (tmp_path / "parts.npz").exists()
        draw(drawing, tmp_path / "parts.npz", device=CPU)
        assert drawn == [range(7), range(7, 14), range(14, 20), range(14, 20)]
        assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
        assert not list(tmp_path.glob("*.unfinished"))

    def test_a_file_of_something_else_stays(self, theirs, tmp_path):
        drawing, out = make_drawing(read_network(theirs), SMALL, None), tmp_path / "out.npz"
        draw(drawing, out, device=CPU)
        other = make_drawing(drawing.network, SMALL.model_copy(update={"steps": 4}), None)
        with pytest.raises(UserError, match="is there, with samples of another network or other settings; name another"):
            is_drawn(other, out)
        np.savez(out, images=np.zeros(3))
        with pytest.raises(UserError, match="is there, and is no file of samples that this command wrote; name another"):
            is_drawn(drawing, out)
        with pytest.raises(UserError, match=r"samples are written as \.npz; name a file that ends so"):
            is_drawn(drawing, tmp_path / "out.png")
        (tmp_path / "folder.npz").mkdir()
        with pytest.raises(UserError, match="is a folder; name a file in it"):
            is_drawn(drawing, tmp_path / "folder.npz")
