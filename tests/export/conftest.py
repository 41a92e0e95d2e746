"""Networks of tiny runs, exported once."""

import pytest


@pytest.fixture(scope="session")
def made(tiny_run, tmp_path_factory):
    """`made(name, **overrides)`: (a finished tiny run, what it was exported to), made once."""
    from ltgen_bench.api import run
    from ltgen_bench.export.run_export import export, find_trained
    from ltgen_bench.runtime.context import RunContext

    known = {}

    def make(name, **overrides):
        if name not in known:
            less = {"evaluate.metrics": ["is"], "evaluate.downstream": False, "sample.images_per_class": 3}
            config = tiny_run(**{**less, **overrides})
            place = tmp_path_factory.mktemp(name)
            done = run(config, runs=place / "runs", device="cpu")
            known[name] = done, export(find_trained(place / "runs", done.plan.folder.name), place / "net", RunContext())
        return known[name]

    return make


@pytest.fixture
def theirs(made, tmp_path):
    """An exported folder to be changed."""
    import shutil

    shutil.copytree(made("cbdm")[1].folder, tmp_path / "net")
    return tmp_path / "net"


@pytest.fixture
def make_foreign(tmp_path):
    """`make_foreign(num_class_embeds, scheduler)`: a plain class-conditional U-Net of diffusers with random weights."""
    import torch
    from diffusers import DDIMScheduler, UNet2DModel

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
