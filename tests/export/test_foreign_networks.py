"""Networks of other programs, as folders of diffusers, and folders that are damaged."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
)
from safetensors.torch import save_file

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import SampleSet
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.export.diffusers_folder import read_network
from ltgen_bench.export.folder_samples import draw, is_drawn, make_drawing
from ltgen_bench.runtime.context import RunContext


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
        draw(make_drawing(stored, SMALL, tiny_dataset), tmp_path / "samples.npz", RunContext())
        assert SampleSet.load(tmp_path / "samples.npz").labels.tolist() == [0, 1, 2, 0, 1, 2]
        with pytest.raises(UserError, match="draw with --omega 0"):
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
            draw(make_drawing(read_network(folder), config, tiny_dataset), folder / "out.npz", RunContext())
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
        (DDPMScheduler(beta_end=0.012), r"beta_end 0\.012 where 0\.02"),
        (DDPMScheduler(beta_schedule="squaredcos_cap_v2"), "beta_schedule squaredcos_cap_v2 where linear"),
        (DDIMScheduler(prediction_type="v_prediction", num_train_timesteps=500),
         "num_train_timesteps 500 where 1000"),
        (DDIMScheduler(rescale_betas_zero_snr=True), "rescale_betas_zero_snr True where False"),
        (DDPMScheduler(trained_betas=[0.1] * 1000), r"trained_betas \[0\.1, .{0,40} where None"),
        (FlowMatchEulerDiscreteScheduler(num_train_timesteps=500), "num_train_timesteps 500 where 1000 .* velocity"),
        (FlowMatchEulerDiscreteScheduler(invert_sigmas=True), "invert_sigmas True where False"),
    ])
    def test_another_schedule_or_prediction_is_one_sentence(self, make_foreign, scheduler, sentence):
        with pytest.raises(UserError, match=sentence) as caught:
            read_network(make_foreign(3, scheduler)[0])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(shift=3.0), FlowMatchHeunDiscreteScheduler()])
    def test_a_flow_is_known_by_its_scheduler_and_drawn_by_its_samplers(self, make_foreign, scheduler, tiny_dataset, tmp_path):
        stored = read_network(make_foreign(3, scheduler)[0])
        assert stored.process == "flow"
        with pytest.raises(UserError, match="take heun or euler"):
            make_drawing(stored, SMALL, tiny_dataset)
        drawing = make_drawing(stored, SMALL.model_copy(update={"sampler": "heun", "steps": 3}), tiny_dataset)
        draw(drawing, tmp_path / "out.npz", RunContext())
        assert len(np.unique(SampleSet.load(tmp_path / "out.npz").images)) > 5

    def test_a_schedule_of_an_older_diffusers_is_read(self, make_foreign):
        folder, _ = make_foreign(3)
        values = json.loads((folder / "scheduler_config.json").read_text())
        old = {key: values[key] for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")}
        (folder / "scheduler_config.json").write_text(json.dumps(old))
        assert read_network(folder).net.rows == 3
        del old["beta_end"]
        (folder / "scheduler_config.json").write_text(json.dumps(old))
        with pytest.raises(UserError, match="beta_end is not stated"):
            read_network(folder)

    def test_a_pickle_is_never_read(self, make_foreign, monkeypatch):
        folder, unet = make_foreign(3)
        (folder / "diffusion_pytorch_model.safetensors").unlink()
        with pytest.raises(UserError, match=r"has no diffusion_pytorch_model\.safetensors\."):
            read_network(folder)
        torch.save(unet.state_dict(), folder / "diffusion_pytorch_model.bin")
        monkeypatch.setattr("torch.load", None)
        with pytest.raises(UserError, match="pickle, which can run code"):
            read_network(folder)

    @pytest.mark.parametrize(("config", "sentence"), [
        ({"num_class_embeds": None}, "needed is num_class_embeds, or class_embed_type"),
        ({"class_embed_type": "timestep"}, "the network takes no class labels"),
        ({"class_embed_type": "identity"}, r"class_embedding\.safetensors is missing, and holds"),
        ({"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel; only UNet2DModel"),
        ({"out_channels": 2}, "1 channels"),
        ({"block_out_channels": [8, 24]}, r"fit .*missing, too many"),
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
        with pytest.raises(UserError, match="set, as in --dataset cifar10-lt"):
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
        draw(small, tmp_path / "samples.npz", RunContext())
        assert is_drawn(small, tmp_path / "samples.npz")
        with pytest.raises(UserError, match="other settings; name another"):
            is_drawn(large, tmp_path / "samples.npz")


class TestSpoiltFolders:
    @pytest.mark.parametrize(("spoil", "sentence"), [
        (lambda net: (net / "config.json").unlink(), "network of diffusers"),
        (lambda net: (net / "config.json").write_text("{"), "read as JSON"),
        (lambda net: (net / "config.json").write_text("[]"), r"config\.json holds list"),
        (lambda net: (net / "scheduler_config.json").unlink(), "without it the noise schedule"),
        (lambda net: change(net / "ltgen_bench.json", seed="x"), r"ltgen_bench\.json has 1 problem"),
        (lambda net: (net / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 99), "not a readable file of safetensors"),
        (lambda net: save_file({"weight": torch.zeros(11, 5)}, net / "class_embedding.safetensors"),
         r"shape \[11, 5\]"),
        (lambda net: save_file({"w": torch.zeros(11, 32)}, net / "class_embedding.safetensors"), "label; it is none"),
        (lambda net: save_file({"weight": torch.full((11, 32), torch.nan)}, net / "class_embedding.safetensors"),
         "holds numbers"),
    ])
    def test_each_fault_is_told(self, theirs, spoil, sentence):
        spoil(theirs)
        with pytest.raises(UserError, match=sentence):
            read_network(theirs)

    def test_other_classes_than_those_of_the_data_are_told(self, theirs, make_dataset):
        with pytest.raises(UserError, match=r"classes \(0, 1, 2"):
            make_drawing(read_network(theirs), SMALL, make_dataset((3,) * 10))
